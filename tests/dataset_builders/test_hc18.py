from pathlib import PurePosixPath

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_files import lay

from dataset_builders.acquire import Finder
from dataset_builders.grouping import table
from dataset_builders.hc18 import HC18, TABLE, fill
from dataset_builders.images import decode, encode_png
from dataset_builders.schema import SourceError

HEADER = "filename,pixel size(mm),head circumference (mm)"
ROW = "000_HC.png,0.0691358041432,44.3"


def outline(shape=(216, 320), centre=(160, 108), axes=(90, 60), angle=20.0, width=3):
    drawn = np.zeros(shape, np.uint8)
    cv2.ellipse(drawn, centre, axes, angle, 0, 360, 255, width)
    return drawn


GREY = encode_png(np.tile(np.arange(320) // 2, (216, 1)).astype(np.uint8))
PAIR = {
    "training_set/000_HC.png": GREY,
    "training_set/000_HC_Annotation.png": encode_png(outline()),
}
SOURCE = PAIR | {TABLE: f"{HEADER}\n{ROW}\n".encode()}


def read_one(root, contents):
    (item,) = HC18().index(lay(root, contents)).items
    return HC18().read(item)


@pytest.fixture
def real(sample_root, tmp_path):
    listing = HC18().index(Finder(sample_root, tmp_path).find(HC18()))
    return listing, {item.source_id: item for item in listing.items}


def test_real_training_images_are_listed_and_test_images_are_not(real):
    listing, items = real
    assert len(items) == 13
    assert listing.items[0].source_id == "000_HC"
    assert listing.items[-1].source_id == "402_HC"
    assert {item.task for item in listing.items} == {"FH"}
    assert listing.skipped == {"test_set": "1 images without outline"}


@pytest.mark.parametrize(
    ("name", "shape", "area", "spacing"),
    [
        ("000_HC", (540, 800), 33291, 0.0691358041432),
        ("143_HC", (540, 800), 68648, 0.109918596952),  # one exam at two scales
        ("143_2HC", (540, 800), 70895, 0.0863665342331),
        ("186_HC", (540, 800), 198816, 0.0824905418959),  # open at the edge
        ("346_HC", (540, 800), 208140, 0.104822305342),  # open at the edge
        ("352_2HC", (540, 800), 199586, 0.111274321874),  # touches the edge, closed
        ("402_HC", (563, 799), 156423, 0.12686673599),
    ],
)
def test_real_heads_are_filled(real, name, shape, area, spacing):
    item = real[1][name]
    sample = HC18().read(item)
    assert sample.image.shape == sample.mask.shape == shape
    assert sample.mask.sum() == area
    assert sample.spacing_mm == (spacing, spacing)
    assert sample.encoded == item.files[0].read_bytes()

    drawn = decode("hc18", "", item.files[1].read_bytes()) > 0
    assert sample.mask[drawn].all()
    # the hull reaches to the outer edge of a line that is drawn on the ellipse
    _, axes, _ = cv2.fitEllipse(cv2.findNonZero(drawn.astype(np.uint8)))
    assert 1 < area / (np.pi / 4 * axes[0] * axes[1]) < 1.04


def test_real_exams_are_groups(real):
    _, items = real
    assert items["010_HC"].group == items["010_2HC"].group == "exam010"
    assert items["011_HC"].group == "exam011"
    twice = HC18().read(items["392_HC"]), HC18().read(items["392_2HC"])
    assert np.array_equal(twice[0].image, twice[1].image)
    assert twice[0].item.group == twice[1].item.group == "exam392"


def test_known_repeats_lie_within_one_exam(tmp_path):
    rows = [row for row in table("hc18_near_duplicates.csv") if not row["a"].startswith("test/")]
    names = {row[side] for row in rows for side in ("a", "b")}
    contents = {
        f"training_set/{name}{end}.png": b"" for name in names for end in ("", "_Annotation")
    }
    contents[TABLE] = "\n".join(f"{name}.png,0.1,200" for name in names).encode()
    items = HC18().index(lay(tmp_path, contents)).items
    groups = {item.source_id: item.group for item in items}
    assert len(rows) == 12
    assert all(groups[row["a"]] == groups[row["b"]] for row in rows)


@pytest.mark.slow
def test_whole_source(raw_pack, tmp_path):
    listing = HC18().index(Finder(raw_pack, tmp_path).find(HC18()))
    assert len(listing.items) == 999
    assert len({item.group for item in listing.items}) == 806
    for item in listing.items:
        HC18().read(item)


@settings(deadline=None, max_examples=50)
@given(
    axes=st.tuples(st.integers(50, 90), st.integers(50, 90)),
    angle=st.floats(0, 180),
    cut=st.floats(0, 0.6),
    side=st.sampled_from([0, 1, 2, 3]),
)
def test_any_head_is_filled_even_where_it_leaves_the_image(axes, angle, cut, side):
    drawn = outline((200, 200), (100, 100), axes, angle) > 0
    whole = drawn | (outline((200, 200), (100, 100), axes, angle, width=cv2.FILLED) > 0)
    lowest = np.flatnonzero(whole.any(axis=1)).max()
    rows = round(lowest - cut * (lowest - 100)) + 1  # from below the head to near its middle
    drawn, whole = (np.rot90(picture[:rows], side) for picture in (drawn, whole))

    head = fill(drawn)
    assert head[whole].mean() > 0.995
    assert head[~whole].sum() < 0.02 * whole.sum()  # a hull rounds outwards


def test_an_archive_beside_its_unpacked_folder_changes_nothing(tmp_path):
    twice = SOURCE | {f"training_set/{path}": data for path, data in SOURCE.items()}
    assert read_one(tmp_path, twice).spacing_mm == (0.0691358041432, 0.0691358041432)


@pytest.mark.parametrize("outer", ["", "archive/", "HC18/data/"])
def test_outer_folders_are_free(tmp_path, outer):
    files = lay(tmp_path, {outer + path: data for path, data in SOURCE.items()})
    (item,) = HC18().index(files).items
    assert (item.source_id, item.group) == ("000_HC", "exam000")


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n{ROW}\n",
        f"{HEADER}\r\n{ROW}\r\n",
        f"{HEADER}\r{ROW}",
        f"\ufeff{HEADER.replace('size(', 'size (')}\n001_HC.png,0.5,1\n\n{ROW}\n",
    ],
)
def test_table_with_any_newline_and_header(tmp_path, text):
    sample = read_one(tmp_path, PAIR | {TABLE: text.encode()})
    assert sample.spacing_mm == (0.0691358041432, 0.0691358041432)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({}, f"'{TABLE}': 0 different files, one is right; get it again: download"),
        ({TABLE: b"a", f"copy/{TABLE}": b"b"}, "2 different files, one is right"),
        ({TABLE: HEADER.encode()}, "no row for '000_HC.png'"),
        ({TABLE: f"{HEADER}\n{ROW}".replace(",", ";").encode()}, "no row for '000_HC.png'"),
        ({TABLE: b"000_HC.png,unknown,44.3"}, "'unknown' mm is no pixel size for '000_HC.png'"),
        ({TABLE: b"000_HC.png,nan,44.3"}, "'nan' mm is no pixel size"),
        ({TABLE: b"000_HC.png,-0.1,44.3"}, "'-0.1' mm is no pixel size"),
        ({TABLE: b""}, "the file is empty"),
        (SOURCE | {"training_set/001_HC.png": GREY}, "'001_HC.png': its '_Annotation.png' is"),
        (SOURCE | {"training_set/001_2HC_Annotation.png": GREY}, "its '.png' is missing"),
    ],
)
def test_what_lacks_is_named(tmp_path, contents, words):
    with pytest.raises(SourceError) as error:
        HC18().index(lay(tmp_path, PAIR | contents))
    assert words in str(error.value)


def test_test_images_alone_are_not_enough(tmp_path):
    files = lay(tmp_path, {"test_set/000_HC.png": GREY, TABLE: ROW.encode()})
    with pytest.raises(SourceError, match=r"2 files: none lies like 'training_set/000_HC.png'"):
        HC18().index(files)


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        (outline(width=cv2.FILLED), "'000_HC_Annotation.png': not an outline"),
        (np.eye(216, 320, dtype=np.uint8) * 255, "not an outline: its 216 pixels enclose 216"),
        (outline() * 0, "mask is empty"),
        (outline()[:-1], "320x216 but its mask is 320x215"),
    ],
)
def test_bad_outlines_are_refused(tmp_path, drawn, words):
    with pytest.raises(SourceError) as error:
        read_one(tmp_path, SOURCE | {"training_set/000_HC_Annotation.png": encode_png(drawn)})
    assert words in str(error.value)


@pytest.mark.parametrize("name", list(PAIR))
def test_truncated_files_are_refused(tmp_path, name):
    with pytest.raises(SourceError, match=f"'{PurePosixPath(name).name}': truncated"):
        read_one(tmp_path, SOURCE | {name: SOURCE[name][:-20]})
