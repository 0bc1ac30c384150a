"""DDTI: two forms of the same pictures, cases as groups, marks that cannot be used."""

import json
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest

from dataset_builders.acquire import Finder
from dataset_builders.ddti import DDTI
from dataset_builders.grouping import table
from dataset_builders.schema import SourceError

SOURCE = DDTI()


def found(raw, scratch):
    return Finder(raw, scratch).find(SOURCE)


def original_only(files):
    return {path: file for path, file in files.items() if "1_or_data" not in path.parts}


@pytest.fixture
def real(sample_root, tmp_path):
    return SOURCE.index(found(sample_root, tmp_path))


@pytest.fixture
def original(sample_root, tmp_path):
    return SOURCE.index(original_only(found(sample_root, tmp_path)))


def named(listing, name):
    return SOURCE.read(next(item for item in listing.items if item.source_id == name))


def test_the_637_form_is_preferred_and_grouped_by_case(real):
    assert {item.source_id: item.group for item in real.items} == {
        "1": "case1",
        "2": "case1",  # the same picture twice
        "71": "case150",
        "100": "case172",
        "101": "case173",
        "181": "case150",
        "294": "case150",
        "10092": "case165",  # left half
        "20092": "case165",  # right half
    }
    assert list(real.skipped) == []
    assert {item.id[:8] for item in real.items} == {"TN/ddti/"}


def test_halves_and_whole_pictures_are_read_as_they_are(real):
    half = named(real, "20092")
    assert half.image.shape == (360, 280)
    assert half.mask.sum() == 22474
    assert named(real, "1").image.shape == (360, 560)
    assert half.encoded == half.item.files[0].read_bytes()


def test_original_form_in_natural_order(original):
    assert {item.source_id: item.group for item in original.items} == {
        "1_1": "case1",
        "1_2": "case1",
        "2_1": "case2",
        "10_1": "case10",
        "62_1": "case62",
        "62_2": "case62",
        "150_1": "case150",
        "233_1": "case150",
        "233_2": "case150",
        "338_1": "case338",
        "338_2": "case338",
        "353_1": "case353",
        "353_2": "case353",
        "396_1": "case353",
    }
    numbers = [tuple(map(int, item.source_id.split("_"))) for item in original.items]
    assert numbers == sorted(numbers)


def test_marks_that_are_empty_or_cut_are_left_out_and_said(original):
    assert original.skipped == {
        "54_1": "its mark breaks off in outline 2",
        "62_3": "its mark is empty",
        "120_1": "its mark is empty",
        "165_1": "its mark breaks off in outline 2",
    }


@pytest.mark.parametrize(
    ("number", "name"), [("1", "1_1"), ("2", "1_2"), ("71", "150_1"), ("181", "233_2")]
)
def test_filled_outlines_equal_the_other_form(real, original, number, name):
    made, drawn = named(original, name), named(real, number)
    assert (made.mask == drawn.mask).all()
    assert np.abs(made.image.astype(int) - drawn.image).mean() < 0.05


def test_an_outline_that_slipped_off_the_picture_is_left_out(original):
    mask = named(original, "338_2").mask
    rows = np.flatnonzero(mask.any(axis=1))
    assert (rows[0], rows[-1]) == (140, 213)  # the other outline starts at row 323
    assert mask.sum() == 6101


def test_two_views_are_one_image_with_two_nodules(original):
    sample = named(original, "62_1")
    assert cv2.connectedComponents(sample.mask.astype(np.uint8))[0] - 1 == 2
    assert sample.image.shape == (360, 560)
    assert sample.encoded == sample.item.files[0].read_bytes()


def test_one_picture_under_two_cases_is_one_group(original):
    pictures = {name: named(original, name) for name in ("150_1", "233_2", "353_2", "396_1")}
    for one, other in (("150_1", "233_2"), ("353_2", "396_1")):
        assert pictures[one].encoded == pictures[other].encoded
        assert pictures[one].item.group == pictures[other].item.group
        assert (pictures[one].mask != pictures[other].mask).any()


def listed(*names):
    return {PurePosixPath(name): Path("/nowhere") for name in names}


def test_a_whole_release_is_637_images_of_376_groups():
    numbers = [row["file_637"].removesuffix(".PNG") for row in table("ddti637_to_original.csv")]
    listing = SOURCE.index(
        listed(*(f"1_or_data/{kind}/{n}.PNG" for n in numbers for kind in ("image", "mask")))
    )
    assert SOURCE.expected == {"TN": len(listing.items)}
    assert len({item.group for item in listing.items}) == 376
    assert [item.source_id for item in listing.items][:3] == ["1", "2", "3"]


def test_a_number_that_is_none_of_the_637():
    with pytest.raises(SourceError, match=r"'9999\.PNG': not one of the 637 images"):
        SOURCE.index(listed("1_or_data/image/9999.PNG", "1_or_data/mask/9999.png"))


def test_category_csv_and_preprocessed_copies_are_not_touched():
    names = ("image/1.PNG", "mask/1.png", "category.csv")
    listing = SOURCE.index(
        listed(*(f"1_or_data/{n}" for n in names), "2_preprocessed_data/stage1/p_image/2.PNG")
    )
    assert [item.source_id for item in listing.items] == ["1"]
    assert listing.skipped == {}


def test_images_of_the_637_form_without_any_mask_leave_the_original_form(tmp_path):
    write_case(tmp_path, "7", [SQUARE])
    files = files_in(tmp_path) | listed("1_or_data/image/1.PNG")
    assert [item.source_id for item in SOURCE.index(files).items] == ["7_1"]


SQUARE = {
    "points": [{"x": x, "y": y} for x, y in ((1, 1), (4, 1), (4, 4), (1, 4))],
    "annotation": {},
    "regionType": "freehand",
}


def write_case(root, case, *marks):
    """A case with one 12x10 picture per mark."""
    body = ""
    for number, mark in enumerate(marks, start=1):
        cv2.imwrite(str(root / f"{case}_{number}.jpg"), np.full((10, 12, 3), 50, np.uint8))
        body += f"<mark><image>{number}</image><svg>{json.dumps(mark)}</svg></mark>"
    (root / f"{case}.xml").write_text(f"<case><number>{case}</number>{body}</case>")


def files_in(root):
    return {PurePosixPath(path.name): path for path in root.iterdir()}


def test_a_small_original_archive(tmp_path):
    write_case(tmp_path, "7", [SQUARE], [{**SQUARE, "regionType": "arrow"}])
    write_case(tmp_path, "12", [SQUARE])
    cv2.imwrite(str(tmp_path / "12_2.jpg"), np.zeros((10, 12), np.uint8))
    cv2.imwrite(str(tmp_path / "13_1.jpg"), np.zeros((10, 12), np.uint8))
    listing = SOURCE.index(files_in(tmp_path))
    assert [item.source_id for item in listing.items] == ["7_1", "12_1"]
    assert listing.skipped == {
        "7_2": "its mark is empty",
        "12_2": "has no mark",
        "13_1": "has no mark",
    }
    sample = SOURCE.read(listing.items[0])
    assert sample.image.shape == (10, 12)
    assert sample.mask.sum() == 16


def test_hostile_xml_stops_the_source(tmp_path):
    write_case(tmp_path, "7", [SQUARE])
    (tmp_path / "8.xml").write_text("<!DOCTYPE case><case><number>8</number></case>")
    with pytest.raises(SourceError, match=r"'8\.xml': .*declares a document type"):
        SOURCE.index(files_in(tmp_path))


@pytest.mark.parametrize("names", [[], ["7_1.jpg"], ["1_or_data/mask/1.PNG"], ["tn3k/0000.jpg"]])
def test_nothing_found_states_both_layouts(names):
    with pytest.raises(SourceError, match=r"1_or_data/image/1\.PNG .*1_1\.jpg beside 1\.xml"):
        SOURCE.index(listed(*names))


@pytest.mark.slow
def test_both_forms_at_hand_agree(raw_pack, tmp_path):
    files = found(raw_pack, tmp_path)
    small, whole = SOURCE.index(files), SOURCE.index(original_only(files))
    assert (len(small.items), len(whole.items), len(whole.skipped)) == (637, 466, 14)

    # one picture may be several originals, each with its own outline: any of them may be meant
    twins: dict[bytes, list[np.ndarray]] = {}
    samples = {item.source_id: SOURCE.read(item) for item in whole.items}
    for sample in samples.values():
        twins.setdefault(sample.encoded, []).append(sample.mask)

    rows = {row["file_637"].removesuffix(".PNG"): row for row in table("ddti637_to_original.csv")}
    compared = 0
    for item in small.items:
        row = rows[item.source_id]
        original = samples.get(row["original_image"].removesuffix(".jpg"))
        if original is None:
            continue  # cut off: the 637-image form closed the outline
        drawn = SOURCE.read(item).mask
        left, width = int(row["x_offset"]), int(row["width"])
        assert any(
            (drawn == shrunk(mask[:, left : left + width], drawn.shape)).all()
            for mask in twins[original.encoded]
        ), item.source_id
        compared += 1
    assert compared == 629  # all but both halves of 165, 166, 197 and 205


def shrunk(mask, shape):
    """As the pack was made: reduced by area, cut at half."""
    grey = mask.astype(np.uint8) * 255
    return cv2.resize(grey, shape[::-1], interpolation=cv2.INTER_AREA) > 127
