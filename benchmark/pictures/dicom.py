"""DICOM: every frame of a file as its header wants it shown."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.common import PhotometricInterpretation as Photometric
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID

from benchmark.pictures.frames import PictureError, Pixels, Values, check_size, eight_bits


def read_dicom(path: Path) -> list[Pixels]:
    """Frames of MONOCHROME1 and 2, RGB, YBR or PALETTE COLOR, windowed where the file says how.

    Raises:
        PictureError: no image in it, too large, or compressed in a way that needs a decoder.
        Exception: of pydicom or any other kind, for a damaged file.
    """
    syntax = read_file_meta_info(path).TransferSyntaxUID
    if syntax.is_deflated:
        # it would be inflated whole before its size is known
        raise PictureError(path, "the whole file is deflated", "convert it with `dcmconv +te`")
    header = pydicom.dcmread(path, stop_before_pixels=True)
    if "Rows" not in header or "Columns" not in header:
        kind = header.get("Modality", "unknown")
        raise PictureError(path, f"it holds no image (modality {kind})", "leave it out")
    count = int(header.get("NumberOfFrames") or 1)
    check_size(path, header.Columns, header.Rows, header.Columns * header.Rows * count)
    if not _has_decoder(syntax):
        raise PictureError(
            path,
            f"no decoder for {syntax.name} is installed",
            "pip install 'pylibjpeg[all]' brings those of JPEG and JPEG 2000; "
            "else convert it, with `dcmdjpeg` or `ffmpeg`",
        )
    frames = eight_bits([_shown(frame, header) for frame in iter_pixels(path)])
    if header.PhotometricInterpretation == Photometric.MONOCHROME1:  # the least value is white
        return [255 - frame for frame in frames]
    return frames


def _has_decoder(syntax: UID) -> bool:
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:  # films in MPEG
        return False


def _shown(frame: Values, header: pydicom.Dataset) -> Values:
    """A frame through its palette, or rescaled and windowed."""
    if header.PhotometricInterpretation == Photometric.PALETTE_COLOR:
        colours: Values = apply_color_lut(frame, header)[:, :, :3]
        return colours >> 8 if colours.dtype == np.uint16 else colours
    if header.SamplesPerPixel > 1:  # pydicom has made RGB of YBR
        return frame
    values = apply_modality_lut(frame, header)
    if "WindowCenter" in header and "WindowWidth" in header:
        return _windowed(values, header)
    return apply_voi(values, header)


def _windowed(values: Values, header: pydicom.Dataset) -> Values:
    """From 0 to 255 through the first window (DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3)."""
    centre, width = (
        float(np.atleast_1d(header[name].value)[0]) for name in ("WindowCenter", "WindowWidth")
    )
    function = header.get("VOILUTFunction") or "LINEAR"
    if function == "SIGMOID":
        share = 1 / (1 + np.exp(-4 * (values - centre) / width))
    elif function == "LINEAR_EXACT":
        share = (values - centre) / width + 0.5
    else:
        share = (values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5
    shown: Values = np.rint(255 * share.clip(0, 1))
    return shown
