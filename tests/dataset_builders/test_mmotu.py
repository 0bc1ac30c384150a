from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
from source_files import lay

from dataset_builders.acquire import Finder
from dataset_builders.grouping import same_scene, table
from dataset_builders.images import decode, encode_png
from dataset_builders.mmotu import MMOTU
from dataset_builders.schema import SourceError

RGB = np.zeros((20, 30, 3), np.uint8)
RGB[..., 0], RGB[..., 2] = 200, 40
IMAGE = bytes(cv2.imencode(".JPG", RGB[..., ::-1])[1])
TUMOUR = np.zeros((20, 30), np.uint8)
TUMOUR[5:10, 4:9] = 1
COLOURED = encode_png(TUMOUR[..., None] * np.array([0, 0, 64], np.uint8))  # teratoma
PAIR = {"images/598.JPG": IMAGE, "annotations/598.PNG": COLOURED}


def read_one(root, contents):
    (item,) = MMOTU().index(lay(root, contents)).items
    return MMOTU().read(item)


def names_only(numbers, outer="OTU_2d"):
    """Files that nobody opens: listing needs names only."""
    return {
        PurePosixPath(path): Path(path)
        for number in numbers
        for path in (f"{outer}/images/{number}.JPG", f"{outer}/annotations/{number}.PNG")
    }


@pytest.fixture
def real(sample_root, tmp_path):
    return Finder(sample_root, tmp_path).find(MMOTU())


def test_real_images_are_listed_in_order(real):
    listing = MMOTU().index(real)
    numbers = [1, 2, 3, 182, 183, 366, 368, 598, 700, 1290, 1291, 1400]
    assert [item.source_id for item in listing.items] == [str(number) for number in numbers]
    assert {item.task for item in listing.items} == {"OT"}
    assert listing.skipped == {}


@pytest.mark.parametrize(
    ("name", "shape", "area"),
    [
        ("1", (537, 959), 26936),
        ("366", (535, 959), 4634),
        ("598", (604, 566), 98768),
        ("700", (557, 958), 169483),
        ("1290", (532, 958), 121827),
        ("1400", (538, 483), 14659),
    ],
)
def test_real_masks_agree_in_all_three_forms(real, name, shape, area):
    forms = {f"{name}{end}.PNG" for end in ("", "_binary", "_binary_binary")}
    masks = []
    for form in forms:
        files = {path: file for path, file in real.items() if path.name not in forms - {form}}
        (item,) = (item for item in MMOTU().index(files).items if item.source_id == name)
        assert item.files[1].name == form
        masks.append(MMOTU().read(item).mask)
    assert masks[0].shape == shape
    assert masks[0].sum() == area
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])


def test_real_images_stay_in_colour_with_their_bytes(real):
    items = {item.source_id: item for item in MMOTU().index(real).items}
    sample = MMOTU().read(items["1290"])
    assert sample.image.shape == (532, 958, 3)
    assert sample.encoded == items["1290"].files[0].read_bytes()
    assert np.array_equal(decode("mmotu", "", sample.encoded, colour=True), sample.image)
    # a colour bar at the left edge runs from red at its top to blue below
    red, blue = (sample.image[..., channel].astype(int) for channel in (0, 2))
    assert (red - blue)[20:60, :25].max() > 100
    assert (blue - red)[60:110, :25].max() > 100


def test_real_neighbours_across_the_official_split_are_one_group(real):
    groups = {item.source_id: item.group for item in MMOTU().index(real).items}
    assert groups["1290"] == groups["1291"] == "scene1290"
    assert groups["182"] == groups["183"] == "scene0182"
    assert groups["366"] == groups["368"] == "scene0366"
    assert groups["1"] == "1"


@pytest.mark.slow
def test_whole_source(raw_pack, tmp_path):
    listing = MMOTU().index(Finder(raw_pack, tmp_path).find(MMOTU()))
    assert len(listing.items) == 1469
    for item in listing.items:
        MMOTU().read(item)


def test_groups_of_the_complete_source():
    items = MMOTU().index(names_only(range(1, 1470))).items
    groups = {int(item.source_id): item.group for item in items}
    for row in table("mmotu_near_duplicates.csv"):
        assert groups[int(row["id_a"])] == groups[int(row["id_b"])]
    for one, other in same_scene("mmotu"):
        assert groups[int(one)] == groups[int(other)]
    assert groups[636] == groups[638] == groups[840]
    # 888 resembles 891, 890 resembles 892; 889 lies between them
    assert {groups[number] for number in range(888, 893)} == {"scene0888"}
    assert {groups[number] for number in (192, 193, 194, 195, 446)} == {"scene0192"}
    # 4 apart is not taken for one exam
    assert groups[1198] == groups[1202] == "scene1198"
    assert [groups[number] for number in (1199, 1200, 1201)] == ["1199", "1200", "1201"]
    assert [groups[number] for number in (191, 196, 445, 887, 893)] == [
        *("191", "196", "445", "887", "893")
    ]
    assert len(set(groups.values())) == 1325


@pytest.mark.parametrize("outer", ["OTU_2d", "MMOTU/OTU_2d", "archive/OTU_2d"])
def test_outer_folders_are_free_and_the_order_of_files_does_not_matter(outer):
    files = names_only([10, 9, 100], outer)
    listing = MMOTU().index(files)
    assert [item.source_id for item in listing.items] == ["9", "10", "100"]
    assert MMOTU().index(dict(reversed(files.items()))) == listing


@pytest.mark.parametrize("folder", ["OTU_3d", "dataset/OTU_CEUS"])
def test_contrast_images_of_the_same_names_are_left_out(folder):
    listing = MMOTU().index(names_only([1, 2]) | names_only([1, 2, 3], folder))
    assert [item.source_id for item in listing.items] == ["1", "2"]
    assert {item.files[0].parts[0] for item in listing.items} == {"OTU_2d"}
    assert listing.skipped == {"OTU_3d": "contrast-enhanced images"}


@pytest.mark.parametrize("class_colour", [(64, 0, 0), (0, 0, 64), (64, 64, 64), (0, 128, 0)])
def test_any_channel_of_a_coloured_mask_counts(tmp_path, class_colour):
    mask = encode_png(TUMOUR[..., None] * np.array(class_colour, np.uint8))
    sample = read_one(tmp_path, PAIR | {"annotations/598.PNG": mask})
    assert np.array_equal(sample.mask, TUMOUR > 0)


def test_binary_mask_of_zero_and_one_comes_first(tmp_path):
    binary = encode_png(TUMOUR)
    damaged = encode_png(np.zeros((256, 256, 3), np.uint8))
    for end in ("_binary", "_binary_binary"):
        contents = {"annotations/598.PNG": damaged, f"annotations/598{end}.PNG": binary}
        sample = read_one(tmp_path / end, PAIR | contents)
        assert np.array_equal(sample.mask, TUMOUR > 0)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"images/7.JPG": IMAGE}, "'7.JPG': no mask '7.PNG' in annotations/; get it again"),
        ({"annotations/7_binary.PNG": COLOURED}, "'7_binary.PNG': its '.JPG' is missing"),
        ({"more/images/598.JPG": COLOURED}, "two different files of one name; keep one"),
    ],
)
def test_incomplete_pairs_are_refused(tmp_path, contents, words):
    with pytest.raises(SourceError) as error:
        MMOTU().index(lay(tmp_path, PAIR | contents))
    assert words in str(error.value)


def test_the_figshare_form_is_answered_with_the_right_one():
    files = [
        "dataset/OTU_2D/train/train_image/1.JPG",
        "dataset/OTU_2D/train/train_label/label/1.PNG",
        "dataset/OTU_CEUS/image/1.JPG",
    ]
    with pytest.raises(
        SourceError, match=r"none lies like 'OTU_2d/images/1.JPG'.*not the figshare"
    ):
        MMOTU().index({PurePosixPath(path): Path(path) for path in files})


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (
            {"annotations/598.PNG": encode_png(np.full((256, 256, 3), 64, np.uint8))},
            "'598.JPG', '598.PNG': image is 30x20 but its mask is 256x256",
        ),
        ({"annotations/598.PNG": encode_png(RGB * 0)}, "mask is empty"),
        ({"annotations/598.PNG": COLOURED[:-20]}, "'598.PNG': truncated"),
        ({"images/598.JPG": IMAGE[:-2]}, "'598.JPG': truncated"),
    ],
)
def test_bad_pixels_are_refused(tmp_path, contents, words):
    with pytest.raises(SourceError) as error:
        read_one(tmp_path, PAIR | contents)
    assert words in str(error.value)
