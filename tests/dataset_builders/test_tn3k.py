"""TN3K: two series with the same numbers, JPEG masks, copies with parts missing."""

from pathlib import PurePosixPath

import cv2
import numpy as np
import pytest

from dataset_builders.acquire import Finder
from dataset_builders.schema import SourceError
from dataset_builders.tn3k import TN3K

SOURCE = TN3K()


@pytest.fixture
def real(sample_root, tmp_path):
    return SOURCE.index(Finder(sample_root, tmp_path).find(SOURCE))


def write(root, name, pixels):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)
    return path


def files_in(root):
    return {
        PurePosixPath(path.relative_to(root).as_posix()): path
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def archive(tmp_path):
    """One image of either series, both called 0000."""
    for part, grey in (("trainval", 60), ("test", 90)):
        write(tmp_path, f"tn3k/{part}-image/0000.jpg", np.full((20, 30), grey, np.uint8))
        mask = np.zeros((20, 30), np.uint8)
        mask[5:15, 5:25] = 255
        write(tmp_path, f"tn3k/{part}-mask/0000.jpg", mask)
    return tmp_path


def test_both_series_keep_their_names(real):
    assert [item.source_id for item in real.items] == [
        "test/0378",
        "test/0395",
        *(f"trainval/{number:04}" for number in (0, 1, 2, 3, 4, 5, 6, 10, 15)),
    ]
    assert {item.task for item in real.items} == {"TN"}
    assert len({item.group for item in real.items}) == 11


def test_masks_whose_images_are_missing_are_left_out_and_said(real):
    assert real.skipped == {"test-mask": "6 files without partner: 0000, 0001, 0002, ..."}


def test_jpeg_masks_are_cut_at_half(real):
    areas = {}
    for item in real.items:
        sample = SOURCE.read(item)
        levels = cv2.imread(str(item.files[1]), cv2.IMREAD_GRAYSCALE)
        assert 18 <= len(np.unique(levels)) <= 29
        assert not ((levels >= 30) & (levels <= 225)).any()  # so that 127 is as good as any
        areas[item.source_id] = int(sample.mask.sum())
        assert (levels == 255).sum() < areas[item.source_id]
    assert areas["trainval/0003"] == 8241
    assert areas["test/0378"] == 837


def test_an_image_with_two_nodules(real):
    sample = SOURCE.read(next(i for i in real.items if i.source_id == "trainval/0003"))
    assert sample.image.shape == sample.mask.shape == (371, 311)
    assert cv2.connectedComponents(sample.mask.astype(np.uint8))[0] - 1 == 2


def test_the_original_bytes_are_kept(real):
    for item in real.items:
        sample = SOURCE.read(item)
        assert sample.encoded == item.files[0].read_bytes()
        decoded = cv2.imdecode(np.frombuffer(sample.encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert (decoded == sample.image).all()


@pytest.mark.parametrize("outer", ["", "datasets/tn3k/", "Thyroid Dataset/tn3k/"])
def test_outer_folders_are_free(archive, outer):
    files = {
        PurePosixPath(outer + str(path.relative_to("tn3k"))): file
        for path, file in files_in(archive).items()
    }
    listing = SOURCE.index(files)
    assert [item.id for item in listing.items] == ["TN/tn3k/test/0000", "TN/tn3k/trainval/0000"]
    assert [SOURCE.read(item).image[0, 0] for item in listing.items] == [90, 60]
    assert [SOURCE.read(item).mask.sum() for item in listing.items] == [200, 200]


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["tn3k/trainval-image/0000.jpg"],
        ["trainval-image/12.jpg", "trainval-mask/12.jpg"],  # four digits are right
        ["tg3k/0000.jpg"],
    ],
)
def test_no_pair_at_all_states_the_layout(names, tmp_path):
    files = {PurePosixPath(name): tmp_path / name for name in names}
    with pytest.raises(SourceError, match=r"none lies like trainval-image/0000\.jpg"):
        SOURCE.index(files)


def only(root, name):
    return next(item for item in SOURCE.index(files_in(root)).items if item.source_id == name)


def test_a_mask_of_another_size(archive):
    write(archive, "tn3k/test-mask/0000.jpg", np.full((20, 31), 255, np.uint8))
    with pytest.raises(SourceError, match="image is 30x20 but its mask is 31x20"):
        SOURCE.read(only(archive, "test/0000"))


def test_an_empty_mask(archive):
    write(archive, "tn3k/test-mask/0000.jpg", np.full((20, 30), 127, np.uint8))
    with pytest.raises(SourceError, match="mask is empty"):
        SOURCE.read(only(archive, "test/0000"))


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_a_truncated_file_is_named_with_its_folder(archive, kind):
    path = archive / f"tn3k/test-{kind}/0000.jpg"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=f"'test-{kind}/0000.jpg': truncated"):
        SOURCE.read(only(archive, "test/0000"))
