from pathlib import PurePosixPath

import cv2
import numpy as np
import pytest
from source_files import lay

from dataset_builders.acquire import Finder
from dataset_builders.busi import BUSI
from dataset_builders.images import decode, encode_png
from dataset_builders.schema import SourceError

GREY = encode_png(np.full((20, 30, 3), 90, np.uint8))
LESION = np.zeros((20, 30), np.uint8)
LESION[5:10, 4:9] = 255
MASK = encode_png(LESION)
PAIR = {"benign/benign (1).png": GREY, "benign/benign (1)_mask.png": MASK}


def read_one(root, contents):
    (item,) = BUSI().index(lay(root, contents)).items
    return BUSI().read(item)


@pytest.fixture
def real(sample_root, tmp_path):
    listing = BUSI().index(Finder(sample_root, tmp_path).find(BUSI()))
    return listing, {item.source_id: item for item in listing.items}


def test_real_images_are_listed_in_order_without_the_normal_ones(real):
    listing, _ = real
    assert [item.source_id for item in listing.items] == [
        *(f"benign ({number})" for number in (1, 4, 6, 25, 54, 195, 433)),
        *(f"malignant ({number})" for number in (1, 53, 145)),
    ]
    assert {item.task for item in listing.items} == {"BC"}
    assert listing.skipped == {"normal": "2 images without a lesion"}


@pytest.mark.parametrize(
    ("name", "shape", "area"),
    [
        ("benign (1)", (471, 562), 984),
        ("benign (4)", (465, 555), 1984 + 624),  # the second mask is RGBA
        ("benign (25)", (583, 770), 3256 + 2568),
        ("benign (54)", (468, 616), 19141 + 1609),  # RGBA too
        ("benign (195)", (611, 729), 67597 + 62334 + 26427 - 19),  # three, touching in 19 px
        ("malignant (1)", (598, 449), 90995),
        ("malignant (53)", (471, 569), 569 + 15312),
    ],
)
def test_real_lesions_are_merged(real, name, shape, area):
    sample = BUSI().read(real[1][name])
    assert sample.mask.shape == sample.image.shape == shape
    assert sample.mask.sum() == area


def test_one_real_picture_in_two_classes_is_one_group(real):
    _, items = real
    benign, malignant = (BUSI().read(items[name]) for name in ("benign (433)", "malignant (145)"))
    assert np.array_equal(benign.image, malignant.image)
    assert (benign.mask.sum(), malignant.mask.sum()) == (3186, 4112)
    assert benign.item.group == malignant.item.group == "scene22"
    assert items["benign (195)"].group == "benign (195)"


def test_scenes_that_were_found_to_be_one_are_one_group(tmp_path):
    """Benign 114 and 116 lie in groups 1 and 7 of the older table."""
    names = ["benign (114)", "benign (116)", "benign (117)"]
    files = {
        PurePosixPath(f"benign/{name}{end}"): tmp_path
        for name in names
        for end in (".png", "_mask.png")
    }
    groups = {item.source_id: item.group for item in BUSI().index(files).items}
    assert groups["benign (114)"] == groups["benign (116)"] == "scene1"
    assert groups["benign (117)"] != "scene1"


def test_real_grey_file_is_kept_and_colour_becomes_luma(real):
    _, items = real
    grey = BUSI().read(items["benign (1)"])
    assert grey.encoded == items["benign (1)"].files[0].read_bytes()
    assert np.array_equal(decode("busi", "", grey.encoded), grey.image)

    colour = BUSI().read(items["benign (6)"])
    rgb = decode("busi", "", items["benign (6)"].files[0].read_bytes(), colour=True)
    assert (rgb != rgb[..., :1]).any()
    assert colour.encoded is None
    assert np.abs(colour.image - rgb @ [0.299, 0.587, 0.114]).max() < 1


@pytest.mark.slow
def test_whole_source(raw_pack, tmp_path):
    listing = BUSI().index(Finder(raw_pack, tmp_path).find(BUSI()))
    assert len(listing.items) == 647
    assert listing.skipped == {"normal": "133 images without a lesion"}
    assert len({item.group for item in listing.items}) == 497
    for item in listing.items:
        BUSI().read(item)


@pytest.mark.parametrize("outer", ["", "archive/Dataset_BUSI_with_GT/", "data/mine/"])
def test_outer_folders_are_free_and_the_order_of_files_does_not_matter(tmp_path, outer):
    numbers = [10, 9, 101]
    files = lay(
        tmp_path,
        {
            f"{outer}benign/benign ({number}){end}.png": data
            for number in numbers
            for end, data in {"": GREY, "_mask": MASK}.items()
        },
    )
    listing = BUSI().index(files)
    assert [item.source_id for item in listing.items] == [f"benign ({n})" for n in (9, 10, 101)]
    assert BUSI().index(dict(reversed(files.items()))) == listing


def test_every_encoding_of_a_mask_gives_the_same(tmp_path):
    transparent = np.dstack([LESION, LESION, LESION, 255 - LESION])  # alpha says the contrary
    encodings = {
        "bit": cv2.imencode(".png", LESION, [cv2.IMWRITE_PNG_BILEVEL, 1])[1],
        "grey": MASK,
        "faint": encode_png(LESION // 255),
        "rgb": encode_png(np.dstack([LESION] * 3)),
        "rgba": cv2.imencode(".png", transparent)[1],
    }
    for name, data in encodings.items():
        sample = read_one(tmp_path / name, PAIR | {"benign/benign (1)_mask.png": bytes(data)})
        assert np.array_equal(sample.mask, LESION > 0), name


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"benign (2).png": GREY}, "'benign (2).png': its '_mask.png' is missing"),
        ({"benign (2)_mask.png": MASK}, "'benign (2)_mask.png': its '.png' is missing"),
        ({"benign (2).png": GREY, "benign (2)_mask_1.png": MASK}, "its '_mask.png' is missing"),
        ({"copy/benign (1).png": MASK}, "two different files of one name; keep one"),
    ],
)
def test_incomplete_pairs_are_refused(tmp_path, contents, words):
    with pytest.raises(SourceError) as error:
        BUSI().index(lay(tmp_path, PAIR | contents))
    assert words in str(error.value)


def test_without_any_lesion_the_layout_is_explained(tmp_path):
    normal = {"normal/normal (1).png": GREY, "normal/normal (1)_mask.png": GREY}
    with pytest.raises(SourceError, match=r"2 files: none lies like 'benign/benign \(1\).png'"):
        BUSI().index(lay(tmp_path, normal))


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"benign/benign (1)_mask.png": encode_png(LESION[:-1])}, "30x20 but its mask is 30x19"),
        ({"benign/benign (1)_mask_1.png": encode_png(LESION[:1])}, "masks of one image differ"),
        ({"benign/benign (1)_mask.png": encode_png(LESION * 0)}, "mask is empty"),
        ({"benign/benign (1)_mask.png": MASK[:-20]}, "'benign (1)_mask.png': truncated"),
        ({"benign/benign (1).png": GREY[:-20]}, "'benign (1).png': truncated"),
        ({"benign/benign (1).png": b""}, "'benign (1).png': the file is empty"),
    ],
)
def test_bad_pixels_are_refused(tmp_path, contents, words):
    with pytest.raises(SourceError) as error:
        read_one(tmp_path, PAIR | contents)
    assert words in str(error.value)
