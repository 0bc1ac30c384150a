"""Frames of every format: the pixels that a data set would hold, or one clear line of error."""

import gzip
import struct
import zlib

import cv2
import nibabel
import numpy as np
import pytest
from dicom_files import write_dicom
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pixels import COLOUR, DEEP, GREY, RNG, one, stretched

from benchmark.dataset import square
from benchmark.pictures import frames
from benchmark.pictures.frames import PictureError, eight_bits, in_colour
from benchmark.pictures.reading import read
from dataset_builders.acquire import Finder
from dataset_builders.sources import SOURCES
from dataset_builders.tasks import TASKS


def save(path, pixels, mode=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def save_nifti(path, values, slope=None, affine=None):
    volume = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    if slope is not None:
        volume.header.set_slope_inter(*slope)
    nibabel.save(volume, path)
    return path


# real pictures


@pytest.mark.parametrize("name", ["busi", "hc18", "camus", "mmotu", "tn3k", "tg3k", "ddti"])
def test_a_source_s_own_file_gives_the_data_set_s_pixels(name, sample_root, tmp_path):
    source = SOURCES[name]
    files = Finder(sample_root, tmp_path).find(source)
    items = [item for item in source.index(files).items if item.files[0].suffix != ".mhd"]
    assert items
    for item in {item.files[0]: item for item in items}.values():
        colour = TASKS[item.task].colour
        pixels = in_colour(one(item.files[0]), colour=colour)
        right = source.read(item).image
        np.testing.assert_array_equal(pixels, right, err_msg=item.id)


@pytest.mark.parametrize("ending", ["avi", "mhd", "mat", "xlsx"])
def test_other_files_of_the_sources_are_refused_by_name(sample_root, ending):
    path = min(sample_root.rglob(f"*.{ending}"))
    with pytest.raises(PictureError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: it is no PNG, JPEG, TIFF, BMP, NIfTI or DICOM file; convert it to one of these"
    )


# PNG, JPEG, BMP, TIFF


@pytest.mark.parametrize("ending", ["png", "bmp", "tif"])
def test_lossless_pictures_keep_their_pixels(tmp_path, ending):
    np.testing.assert_array_equal(one(save(tmp_path / f"grey.{ending}", GREY)), GREY)
    np.testing.assert_array_equal(one(save(tmp_path / f"colour.{ending}", COLOUR)), COLOUR)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_compressed_tiff(tmp_path, compression):
    path = save(tmp_path / "a.tif", COLOUR, compression=compression)
    np.testing.assert_array_equal(one(path), COLOUR)


def test_jpeg_is_decoded_as_for_the_data_set(tmp_path):
    path = save(tmp_path / "a.jpg", COLOUR, quality=90)
    mode = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    right = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), mode)
    np.testing.assert_array_equal(one(path), right)


def test_an_orientation_tag_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter
    path = save(tmp_path / "a.jpg", GREY, exif=exif)
    assert one(path).shape == GREY.shape


def test_transparency_is_left_out(tmp_path):
    alpha = np.dstack([COLOUR, RNG.integers(0, 256, GREY.shape, np.uint8)])
    np.testing.assert_array_equal(one(save(tmp_path / "a.png", alpha)), COLOUR)
    alpha[:, :, 3] = 255
    np.testing.assert_array_equal(one(save(tmp_path / "a.tif", alpha)), COLOUR)


def test_a_palette_is_looked_up(tmp_path):
    indexed = Image.fromarray(COLOUR).quantize(16)
    pixels = one(save(tmp_path / "a.png", indexed))
    np.testing.assert_array_equal(pixels, np.asarray(indexed.convert("RGB")))


def test_one_bit_is_black_and_white(tmp_path):
    for ending in ("png", "tif", "bmp"):
        pixels = one(save(tmp_path / f"a.{ending}", GREY > 99))
        np.testing.assert_array_equal(pixels, np.where(GREY > 99, 255, 0))


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_stretched(tmp_path, ending):
    np.testing.assert_array_equal(one(save(tmp_path / f"a.{ending}", DEEP)), stretched(DEEP))
    path = tmp_path / f"colour.{ending}"
    deep = RNG.integers(0, 65_536, COLOUR.shape).astype(np.uint16)
    cv2.imwrite(str(path), deep[:, :, ::-1])
    np.testing.assert_array_equal(one(path), stretched(deep))


def test_pages_of_a_tiff_are_frames_stretched_by_one_rule(tmp_path):
    pages = [DEEP, DEEP[:7] // 2]
    first, *others = map(Image.fromarray, pages)
    path = save(tmp_path / "a.tif", first, save_all=True, append_images=others)
    found = read(path)
    for pixels, page in zip(found, pages, strict=True):
        np.testing.assert_array_equal(pixels, stretched(page, int(pages[1].min()), int(DEEP.max())))


def test_the_content_counts_and_not_the_name(tmp_path):
    path = save(tmp_path / "a.png", COLOUR)
    np.testing.assert_array_equal(one(path.rename(tmp_path / "a.dcm")), COLOUR)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused_without_noise(tmp_path, capfd, ending, share):
    path = save(tmp_path / f"a.{ending}", np.tile(COLOUR, (5, 5, 1)))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PictureError, match=rf"a.{ending}: it cannot be read as .* get the file"):
        read(path)
    assert capfd.readouterr() == ("", "")  # libraries print what they find


def test_nothing_and_nonsense(tmp_path):
    with pytest.raises(PictureError, match=r"none.png: it cannot be opened \(No such file"):
        read(tmp_path / "none.png")
    for content in (b"", b"usbench" * 99, b"\x1f\x8b broken"):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(PictureError, match=r"it is no PNG|it cannot be opened"):
            read(tmp_path / "a.png")


# too large


def test_a_bomb_is_refused_by_its_header(tmp_path):
    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    content = zlib.compress(bytes(100_000))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
    )  # fmt: skip
    with pytest.raises(PictureError, match=r"cannot be read as PNG \(Image size .* exceeds limit"):
        read(tmp_path / "a.png")


def test_a_frame_or_a_file_over_the_limit_is_refused(tmp_path, monkeypatch):
    volume = save_nifti(tmp_path / "a.nii", np.zeros((10, 10, 30), np.uint8))
    pages = save(
        tmp_path / "a.tif", Image.fromarray(GREY), save_all=True,
        append_images=[Image.fromarray(GREY)] * 4,
    )  # fmt: skip
    film = write_dicom(tmp_path / "a.dcm", np.zeros((30, 10, 10), np.uint8), "MONOCHROME2")
    monkeypatch.setattr(frames, "MAX_FILE_PIXELS", 2_000)
    for path in (volume, pages, film):
        with pytest.raises(PictureError, match=r"at most .* are read at once; cut it"):
            read(path)
    monkeypatch.setattr(frames, "MAX_PIXELS", 99)
    for path in (volume, pages, film):
        with pytest.raises(PictureError, match="px is larger than any ultrasound image"):
            read(path)


def test_a_nifti_of_zeros_is_refused_before_it_is_inflated(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((30_000, 30_000, 4))
    with gzip.open(tmp_path / "a.nii.gz", "wb") as file:
        file.write(header.binaryblock + bytes(1_000))
    with pytest.raises(PictureError, match="30000x30000 px is larger"):
        read(tmp_path / "a.nii.gz")


# NIfTI


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_a_nifti_picture_is_transposed(tmp_path, ending):
    path = save_nifti(tmp_path / f"a.{ending}", GREY.T.astype(np.float32))
    np.testing.assert_array_equal(one(path), GREY)


def test_planes_and_times_of_a_nifti_are_frames(tmp_path):
    values = RNG.integers(0, 256, (9, 8, 3, 2), np.uint8)
    found = read(save_nifti(tmp_path / "a.nii", values))
    right = [values[:, :, plane, time].T for time in range(2) for plane in range(3)]
    np.testing.assert_array_equal(found, right)


def test_a_nifti_s_scale_is_applied_before_stretching(tmp_path):
    values = np.arange(40, dtype=np.int16).reshape(8, 5)
    path = save_nifti(tmp_path / "a.nii", values, slope=(7.5, -100))
    np.testing.assert_array_equal(one(path), stretched(values.T))


def test_fractions_are_stretched_and_not_cut(tmp_path):
    values = GREY.T.astype(np.float32) / 255
    np.testing.assert_array_equal(one(save_nifti(tmp_path / "a.nii", values)), stretched(GREY))


def test_a_nifti_in_colour(tmp_path):
    values = np.ascontiguousarray(COLOUR.transpose(1, 0, 2)).view(
        [("R", "u1"), ("G", "u1"), ("B", "u1")]
    )
    np.testing.assert_array_equal(one(save_nifti(tmp_path / "a.nii", values[:, :, 0])), COLOUR)


def test_a_nifti_that_is_no_picture(tmp_path):
    path = save_nifti(tmp_path / "a.nii", np.zeros((4, 4, 1, 1, 3), np.uint8))
    with pytest.raises(PictureError, match=r"its shape is \(4, 4, 1, 1, 3\); a picture has 2 axes"):
        read(path)
    path = save_nifti(tmp_path / "b.nii", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(PictureError, match=r"b.nii: .*values that are no finite numbers"):
        read(path)


# 8 bits


@given(st.lists(st.integers(0, 60_000), min_size=2, max_size=12))
def test_stretching_keeps_the_order_and_uses_the_whole_range(values):
    array = np.array(values, np.uint16)[None]
    (found,) = eight_bits([array])
    if max(values) <= 255:
        np.testing.assert_array_equal(found, array)
        return
    order = np.argsort(array[0], kind="stable")
    assert (np.diff(found[0][order].astype(int)) >= 0).all()
    if min(values) < max(values):
        assert (found.min(), found.max()) == (0, 255)
    else:
        assert not found.any()


def test_grey_is_repeated_for_a_task_in_colour():
    pixels = in_colour(GREY, colour=True)
    np.testing.assert_array_equal(pixels, np.dstack([GREY] * 3))
    np.testing.assert_array_equal(in_colour(pixels, colour=False), GREY)
    assert square(pixels, 32).shape == (3, 32, 32)
