"""Pictures of any format that clinics and data sets use, read as frames of 8 bits.

    PNG, JPEG, BMP     one frame
    TIFF               each page
    NIfTI              each plane across the third axis, at each time of the fourth
    DICOM              each frame

What a file is follows from its first bytes, whatever its name says. Pixels are those that a data
set would hold: no orientation tag is applied, transparency is left out, and NIfTI is transposed so
that its first axis runs across. Deeper values are brought to 8 bits by `frames.eight_bits`.
"""

import gzip
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
from PIL import Image

from benchmark.pictures.dicom import read_dicom
from benchmark.pictures.frames import PictureError, Pixels, Values, check_size, eight_bits

HEAD = 352  # bytes that tell what a file is: a NIfTI header and its mark


def read(path: Path) -> list[Pixels]:
    """The frames of a file.

    Raises:
        PictureError: no picture of a known format, damaged, or too large to be one.
    """
    name = sniff(path)
    if name is None:
        raise PictureError(path, f"it is no {KNOWN} file", "convert it to one of these")
    try:
        return READERS[name](path)
    except PictureError:
        raise
    except Exception as error:  # a damaged file may raise anything, from struct.error to EOFError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(
            path, f"it cannot be read as {name} ({reason})", "get the file again, or convert it"
        ) from error


def sniff(path: Path) -> str | None:
    """Name of a file's format, a key of `READERS`; None if it is none of them.

    Raises:
        PictureError: there is no such file, or it may not be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
        if head.startswith(b"\x1f\x8b"):  # gzip
            with gzip.open(path) as file:
                head = file.read(HEAD)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PictureError(path, f"it cannot be opened ({reason})", "check the file") from error
    matches = (name for name, at, mark in SIGNATURES if head[at : at + len(mark)] == mark)
    return next(matches, None)


def _single(path: Path) -> list[Pixels]:
    """PNG, JPEG, BMP."""
    image = cv2.imdecode(np.frombuffer(_checked(path), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("truncated or damaged")
    return eight_bits([_rgb(image)])


def _tiff(path: Path) -> list[Pixels]:
    data = np.frombuffer(_checked(path), np.uint8)
    done, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED)
    if not done:
        raise ValueError("of a kind that OpenCV does not know")
    return eight_bits([_rgb(page) for page in pages])


def _checked(path: Path) -> bytes:
    """The file, once Pillow has found it whole: of a damaged one OpenCV prints lines of its own."""
    data = path.read_bytes()
    with Image.open(BytesIO(data), formats=("PNG", "JPEG", "BMP", "TIFF")) as image:
        total = 0
        for page in range(getattr(image, "n_frames", 1) if image.format == "TIFF" else 1):
            image.seek(page)
            width, height = image.size
            total += width * height
            check_size(path, width, height, total)
            image.load()
    return data


def _rgb(image: Values) -> Values:
    """OpenCV's order of channels as ours, without transparency."""
    return image if image.ndim == 2 else image[:, :, 2::-1]


def _nifti(path: Path) -> list[Pixels]:
    volume: Any = nibabel.load(path)
    if not 2 <= len(volume.shape) <= 4:
        raise PictureError(
            path, f"its shape is {volume.shape}", "a picture has 2 axes, a volume or film 3 or 4"
        )
    width, height, *others = volume.shape
    check_size(path, width, height, width * height * int(np.prod(others)))
    values = np.asanyarray(volume.dataobj).reshape(width, height, -1, order="F")
    if values.dtype.names:  # R, G, B
        values = np.stack([values[name] for name in values.dtype.names[:3]], axis=-1)
    return eight_bits([values[:, :, plane].swapaxes(0, 1) for plane in range(values.shape[2])])


# format -> what reads it
READERS: dict[str, Callable[[Path], list[Pixels]]] = {
    "PNG": _single,
    "JPEG": _single,
    "BMP": _single,
    "TIFF": _tiff,
    "NIfTI": _nifti,
    "DICOM": read_dicom,
}
# format, where its mark begins, and the mark
SIGNATURES = (
    ("PNG", 0, b"\x89PNG\r\n\x1a\n"),
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("BMP", 0, b"BM"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("TIFF", 0, b"II+\0"),  # BigTIFF
    ("TIFF", 0, b"MM\0+"),
    ("NIfTI", 344, b"n+1\0"),
    ("NIfTI", 4, b"n+2\0"),
    ("DICOM", 128, b"DICM"),
)
# In a folder, a file with such a name is a picture, or it is reported; others may be one.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".nii", ".nii.gz", ".dcm", ".dicom")
KNOWN = "PNG, JPEG, TIFF, BMP, NIfTI or DICOM"
