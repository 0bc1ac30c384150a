"""Frames of DICOM files, as a viewer shows them."""

import cv2
import numpy as np
import pydicom
import pytest
from dicom_files import header, rewrite, write_dicom, write_jpeg_dicom, write_report
from pixels import COLOUR, DEEP, GREY, RNG, one, stretched
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import MPEG4HP41, DeflatedExplicitVRLittleEndian, JPEGLSLossless

from benchmark.pictures.frames import PictureError
from benchmark.pictures.reading import read


def test_monochrome_2_is_as_stored_and_1_is_inverted(tmp_path):
    path = write_dicom(tmp_path / "a", GREY[None], "MONOCHROME2")
    np.testing.assert_array_equal(one(path), GREY)
    path = write_dicom(tmp_path / "b", GREY[None], "MONOCHROME1")
    np.testing.assert_array_equal(one(path), 255 - GREY)


def test_frames_of_a_film(tmp_path):
    film = RNG.integers(0, 256, (4, 6, 10, 3), np.uint8)
    np.testing.assert_array_equal(read(write_dicom(tmp_path / "a", film, "RGB")), film)


def test_colour_by_plane(tmp_path):
    planes = np.ascontiguousarray(COLOUR.transpose(2, 0, 1))
    path = write_dicom(
        tmp_path / "a", COLOUR[None], "RGB", PlanarConfiguration=1, PixelData=planes.tobytes()
    )
    np.testing.assert_array_equal(one(path), COLOUR)


def test_luma_and_chroma_become_rgb(tmp_path):
    smooth = cv2.GaussianBlur(COLOUR, (0, 0), 3)
    ybr = cv2.cvtColor(smooth, cv2.COLOR_RGB2YCrCb)[:, :, [0, 2, 1]]
    found = one(write_dicom(tmp_path / "a", ybr[None], "YBR_FULL"))
    np.testing.assert_allclose(found.astype(int), smooth, atol=2)
    film = np.stack([smooth, smooth[::-1]])[:, :, :30]
    found = read(write_jpeg_dicom(tmp_path / "b", film))
    np.testing.assert_allclose(np.stack(found).astype(int), film, atol=12)


def test_a_palette_of_16_bits(tmp_path):
    indices = GREY % 7
    table = RNG.integers(0, 65_536, (3, 7)).astype(np.uint16)
    names = ("Red", "Green", "Blue")
    descriptors = {f"{name}PaletteColorLookupTableDescriptor": [7, 0, 16] for name in names}
    data = {
        f"{name}PaletteColorLookupTableData": row.tobytes()
        for name, row in zip(names, table, strict=True)
    }
    path = write_dicom(tmp_path / "a", indices[None], "PALETTE COLOR", **descriptors, **data)
    np.testing.assert_array_equal(one(path), (table >> 8)[:, indices].transpose(1, 2, 0))


def test_deep_values_without_a_window_are_stretched(tmp_path):
    signed = (DEEP.astype(np.int32) - 20_000).astype(np.int16)
    path = write_dicom(
        tmp_path / "a", signed[None], "MONOCHROME2", RescaleSlope=2, RescaleIntercept=-1000
    )
    np.testing.assert_array_equal(one(path), stretched(signed))


@pytest.mark.parametrize(
    ("function", "low", "high"),
    # PS3.3 C.11.2.1.2.1: below c - 0.5 - (w - 1) / 2 all is black, above the other end white
    [(None, 900, 1099), ("LINEAR", 900, 1099), ("LINEAR_EXACT", 900, 1100)],
)
def test_a_window_says_what_is_black_and_white(tmp_path, function, low, high):
    values = np.array([[-300, 900, 1000, 1050], [1099, 1100, 1101, 3000]], np.int16)
    fields = {"VOILUTFunction": function} if function else {}
    path = write_dicom(
        tmp_path / "a", values[None] - 500, "MONOCHROME2", WindowCenter=[1000, 40],
        WindowWidth=[200, 80], RescaleSlope=1, RescaleIntercept=500, **fields,
    )  # fmt: skip
    right = np.interp(values, [low, high], [0, 255])
    np.testing.assert_allclose(one(path).astype(float), right, atol=0.5001)  # halves either way


def test_a_window_like_an_s(tmp_path):
    values = np.array([[-4000, 100, 150, 4000]], np.int16)
    path = write_dicom(
        tmp_path / "a", values[None], "MONOCHROME2", WindowCenter=100, WindowWidth=50,
        VOILUTFunction="SIGMOID",
    )  # fmt: skip
    np.testing.assert_array_equal(one(path), [[0, 128, 250, 255]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: write_report(p), r"it holds no image \(modality SR\)"),
        (
            lambda p: deflated(write_dicom(p, GREY[None], "MONOCHROME2")),
            "the whole file is deflated; convert it with `dcmconv",
        ),
        (lambda p: coded(p, MPEG4HP41), "no decoder for MPEG-4 .* is installed; .*`ffmpeg`"),
        pytest.param(
            lambda p: coded(p, JPEGLSLossless),
            "no decoder for JPEG-LS .* pip install 'pylibjpeg",
            marks=pytest.mark.skipif(
                get_decoder(JPEGLSLossless).is_available, reason="its decoder is installed"
            ),
        ),
        (
            lambda p: rewrite(write_dicom(p, GREY[None], "MONOCHROME2"), Rows=400),
            r"it cannot be read as DICOM \(.*; get the file again",
        ),
        (lambda p: p.write_bytes(bytes(128) + b"DICM" + bytes(50)), "it cannot be read as DICOM"),
    ],
    ids=["report", "deflated", "MPEG", "JPEG-LS", "truncated", "empty"],
)
def test_a_dicom_without_a_readable_picture(tmp_path, change, message):
    path = tmp_path / "a.dcm"
    change(path)
    with pytest.raises(PictureError, match=f"{path}: {message}"):
        read(path)


def deflated(path):
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)


def coded(path, syntax):
    dataset = header(GREY[None], "MONOCHROME2", syntax)
    dataset.PixelData = encapsulate([b"frame"])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
