"""TG3K: videos as groups, and specks of burnt-in text in the masks."""

from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dataset_builders.acquire import Finder
from dataset_builders.schema import SourceError
from dataset_builders.tg3k import TG3K, without_specks

SOURCE = TG3K()


@pytest.fixture
def real(sample_root, tmp_path):
    return SOURCE.index(Finder(sample_root, tmp_path).find(SOURCE))


def numbered(*numbers):
    return {
        PurePosixPath(f"tg3k/thyroid-{kind}/{number:04}.jpg"): Path("/nowhere")
        for number in numbers
        for kind in ("image", "mask")
    }


def components(mask):
    return sorted(cv2.connectedComponentsWithStats(mask.astype(np.uint8))[2][1:, 4].tolist())


def test_frames_are_grouped_by_video(real):
    assert {item.source_id: item.group for item in real.items} == {
        "0000": "video00", "0254": "video00", "0486": "video02", "0805": "video03",
        "1080": "video05", "1424": "video06", "1720": "video08", "2004": "video09",
        "2339": "video10", "2656": "video11", "2964": "video12", "3290": "video14",
    }  # fmt: skip
    assert real.skipped == {}


def test_a_whole_release_is_15_runs_without_a_gap():
    listing = SOURCE.index(numbered(*range(3585)))
    groups = [item.group for item in listing.items]
    assert SOURCE.expected == {"TG": len(groups)}
    assert len(set(groups)) == 15
    assert groups == sorted(groups)
    edges = (0, 271, 272, 1196, 1197, 3269, 3270, 3584)
    assert [groups[edge] for edge in edges] == [
        "video00", "video00", "video01", "video05", "video06", "video13", "video14", "video14",
    ]  # fmt: skip


def test_a_frame_beyond_the_last_is_refused():
    with pytest.raises(SourceError, match=r"'3585\.jpg': the frames end at 3584"):
        SOURCE.index(numbered(3584, 3585))


def test_nothing_found_states_the_layout():
    with pytest.raises(SourceError, match=r"thyroid-image/0000\.jpg beside thyroid-mask/0000\.jpg"):
        SOURCE.index({PurePosixPath("tn3k/test-mask/0000.jpg"): Path("/nowhere")})


def test_specks_go_and_lobes_stay(real):
    areas = {item.source_id: components(SOURCE.read(item).mask) for item in real.items}
    assert areas["1080"] == [5646]  # 11 components in the file
    assert areas["2656"] == [309, 2323]  # of 8: the second lobe is not text
    assert all(area >= 200 for of_one in areas.values() for area in of_one)
    # nothing of the gland is lost: what goes lies in the corner with the text
    for item in real.items:
        drawn = cv2.imread(str(item.files[1]), cv2.IMREAD_GRAYSCALE) > 127
        rows, columns = np.nonzero(drawn & ~SOURCE.read(item).mask)
        assert len(rows) > 0
        assert rows.max() < 60
        assert columns.max() < 50


def test_image_is_grey_and_its_bytes_are_the_files(real):
    sample = SOURCE.read(real.items[0])
    assert sample.image.shape == (256, 256)
    assert sample.encoded == real.items[0].files[0].read_bytes()


def with_squares(shape, *sides):
    """A mask with squares of these sides, apart from each other."""
    mask = np.zeros(shape, np.bool_)
    left = 0
    for side in sides:
        mask[:side, left : left + side] = True
        left += side + 1
    return mask


@pytest.mark.parametrize(
    ("shape", "sides", "kept"),
    [
        ((256, 256), (7, 8, 30), [64, 900]),  # 49 < 50 <= 64
        ((194, 258), (7, 8, 30), [64, 900]),  # the short side plays no part
        ((128, 128), (3, 4, 30), [16, 900]),  # 9 < 12.5 <= 16
        ((512, 300), (14, 15, 30), [225, 900]),  # 196 < 200 <= 225
        ((256, 256), (3, 5, 2), [25]),  # all are small: the largest stays
        ((256, 256), (), []),
    ],
)
def test_the_limit_grows_with_the_picture(shape, sides, kept):
    assert components(without_specks(with_squares(shape, *sides))) == kept


def test_pixels_that_touch_at_a_corner_are_one_component():
    mask = np.eye(256, dtype=np.bool_)
    mask[:30, 200:230] = True
    assert (without_specks(mask) == mask).all()


@settings(deadline=None)
@given(arrays.arrays(np.bool_, st.tuples(*[st.integers(1, 40)] * 2)))
def test_only_removes_and_never_everything(mask):
    kept = without_specks(mask)
    assert not (kept & ~mask).any()
    assert kept.any() == mask.any()
    assert (without_specks(kept) == kept).all()


@pytest.mark.slow
def test_all_frames_at_hand(raw_pack, tmp_path):
    listing = SOURCE.index(Finder(raw_pack, tmp_path).find(SOURCE))
    assert len(listing.items) == 1332
    assert len({item.group for item in listing.items}) == 15
    for item in listing.items:
        assert components(SOURCE.read(item).mask)[0] >= 50
