"""Pairing by name, as TN3K, TG3K and DDTI use it."""

import re
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_builders.names import matched
from dataset_builders.pairs import pair
from dataset_builders.schema import SourceError
from dataset_builders.tn3k import TN3K

PATTERN = re.compile(r"(?:^|/)(a|b)-(image|mask)/([0-9]+)\.jpg$", re.IGNORECASE)


def listed(*names):
    return {PurePosixPath(name): Path("/nowhere") / name for name in names}


def test_partners_are_found_whatever_the_outer_folders():
    files = listed("x/A-Image/7.jpg", "y/z/a-mask/7.JPG", "b-image/7.jpg", "b-mask/7.jpg")
    pairs, skipped = pair(TN3K(), files, PATTERN)
    assert pairs == {
        ("a", "7"): (Path("/nowhere/x/A-Image/7.jpg"), Path("/nowhere/y/z/a-mask/7.JPG")),
        ("b", "7"): (Path("/nowhere/b-image/7.jpg"), Path("/nowhere/b-mask/7.jpg")),
    }
    assert skipped == {}


def test_files_without_partner_are_counted_per_folder():
    names = [f"a-image/{number}.jpg" for number in (10, 9, 2, 1)]
    pairs, skipped = pair(TN3K(), listed(*names, "a-mask/9.jpg", "b-mask/9.jpg"), PATTERN)
    assert list(pairs) == [("a", "9")]
    assert skipped == {
        "a-image": "3 files without partner: 1, 2, 10",
        "b-mask": "1 files without partner: 9",
    }


def test_many_without_partner_are_named_in_part():
    _, skipped = pair(TN3K(), listed(*(f"a-image/{n}.jpg" for n in range(4))), PATTERN)
    assert skipped == {"a-image": "4 files without partner: 0, 1, 2, ..."}


def test_other_files_are_no_business_of_ours():
    names = ("a-image/._1.jpg", "__MACOSX/a-mask/._1.jpg", "aa-image/1.jpg", "a-image/1.jpg.txt")
    assert matched(TN3K(), listed(*names), PATTERN) == {}


@settings(deadline=None)
@given(st.permutations([f"{part}-{kind}/{n}.jpg" for part in "ab" for kind in ("image", "mask")
                        for n in (1, 2, 10)]))  # fmt: skip
def test_order_of_files_plays_no_part(names):
    pairs, _ = pair(TN3K(), listed(*names), PATTERN)
    assert list(pairs) == [(part, n) for part in "ab" for n in ("1", "2", "10")]


def test_equal_copies_count_once_and_different_ones_are_refused(tmp_path):
    files = {}
    for place in ("first", "second"):
        path = tmp_path / place / "a-image" / "1.jpg"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.zeros((4, 4), np.uint8))
        files[PurePosixPath(path.relative_to(tmp_path).as_posix())] = path
    assert matched(TN3K(), files, PATTERN) == {
        ("a", "image", "1"): tmp_path / "first" / "a-image" / "1.jpg"
    }
    cv2.imwrite(str(path), np.full((4, 4), 99, np.uint8))
    with pytest.raises(SourceError, match=r"first/a-image/1.jpg' and 'second/.*keep one copy"):
        matched(TN3K(), files, PATTERN)
