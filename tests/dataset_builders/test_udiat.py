import numpy as np
import pytest
from source_files import lay

from dataset_builders.images import encode_png
from dataset_builders.schema import SourceError
from dataset_builders.udiat import UDIAT

GREY = np.tile(np.arange(30, dtype=np.uint8) * 8, (20, 1))
LESION = np.zeros((20, 30), np.uint8)
LESION[5:10, 4:9] = 255
IMAGE, MASK = encode_png(GREY), encode_png(LESION)
PAIR = {"original/000001.png": IMAGE, "GT/000001.png": MASK}


def read_one(root, contents):
    (item,) = UDIAT().index(lay(root, contents)).items
    return UDIAT().read(item)


@pytest.mark.parametrize("outer", ["", "BUS/", "my data/Yap2018/"])
def test_numbers_may_be_missing_and_outer_folders_are_free(tmp_path, outer):
    contents = {
        f"{outer}{folder}/{number:06}.png": data
        for number in (310, 2, 100)
        for folder, data in {"original": IMAGE, "GT": MASK}.items()
    }
    listing = UDIAT().index(lay(tmp_path, contents | {f"{outer}DatasetB.xlsx": b"not read"}))
    assert [item.source_id for item in listing.items] == ["000002", "000100", "000310"]
    assert [item.group for item in listing.items] == ["000002", "000100", "000310"]
    assert {item.task for item in listing.items} == {"BC"}
    assert [file.parent.name for file in listing.items[0].files] == ["original", "GT"]


def test_mask_is_what_lies_above_the_middle(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 30).astype(np.uint8), (20, 1))
    sample = read_one(tmp_path, PAIR | {"GT/000001.png": encode_png(ramp)})
    assert np.array_equal(sample.mask, ramp >= 128)
    assert ramp[sample.mask].min() < 140  # the ramp comes close to the threshold on both sides
    assert ramp[~sample.mask].max() > 116


def test_grey_file_is_kept_and_colour_becomes_luma(tmp_path):
    for name, data in {"grey": IMAGE, "rgb": encode_png(np.dstack([GREY] * 3))}.items():
        sample = read_one(tmp_path / name, PAIR | {"original/000001.png": data})
        assert np.array_equal(sample.image, GREY)
        assert sample.encoded == data

    red = np.zeros((20, 30, 3), np.uint8)
    red[..., 0] = 200
    sample = read_one(tmp_path / "red", PAIR | {"original/000001.png": encode_png(red)})
    assert (sample.image == 60).all()  # 0.299 of 200
    assert sample.encoded is None


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"original/000002.png": IMAGE}, "'000002.png': its 'GT' is missing"),
        ({"GT/000002.png": MASK}, "'000002.png': its 'original' is missing"),
        ({"again/GT/000001.png": IMAGE}, "two different files of one name; keep one"),
    ],
)
def test_incomplete_pairs_are_refused(tmp_path, contents, words):
    with pytest.raises(SourceError) as error:
        UDIAT().index(lay(tmp_path, PAIR | contents))
    assert words in str(error.value)


def test_another_layout_is_answered_with_the_right_one_and_how_to_get_it(tmp_path):
    with pytest.raises(SourceError) as error:
        UDIAT().index(lay(tmp_path, {"UDIAT/000001_Benign_image.png": IMAGE}))
    assert "'original/000001.png' and 'GT/000001.png'" in str(error.value)
    assert "sign the release agreement" in str(error.value)
    assert "e-mail it to the author named at its end" in str(error.value)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"GT/000001.png": encode_png(LESION[:, :-1])}, "30x20 but its mask is 29x20"),
        ({"GT/000001.png": encode_png(LESION // 255)}, "mask is empty"),
        ({"GT/000001.png": MASK[:-20]}, "'000001.png': truncated"),
        ({"original/000001.png": IMAGE[:40]}, "'000001.png': truncated"),
    ],
)
def test_bad_pixels_are_refused(tmp_path, contents, words):
    with pytest.raises(SourceError) as error:
        read_one(tmp_path, PAIR | contents)
    assert words in str(error.value)
