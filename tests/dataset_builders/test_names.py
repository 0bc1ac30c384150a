import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builders.names import gather, natural
from dataset_builders.schema import SourceError
from dataset_builders.udiat import UDIAT

PATTERN = re.compile(r"(?:^|/)(?P<name>a\d+)(?P<role>|_m)\.png$")


def listing(tmp_path, *paths):
    return {path.relative_to(tmp_path): path for path in (tmp_path / name for name in paths)}


@given(st.lists(st.integers(0, 10_000), unique=True))
def test_numbers_in_names_count(numbers):
    names = [f"malignant ({number})" for number in sorted(numbers)]
    assert sorted(sorted(names), key=natural) == names


@given(st.lists(st.text()))
def test_any_names_have_an_order(names):
    assert sorted(sorted(names, key=natural, reverse=True), key=natural) == sorted(
        names, key=natural
    )


def test_files_of_a_picture_are_gathered_whatever_lies_around_them(tmp_path):
    files = listing(
        tmp_path, "x/a10.png", "y/z/a10_m.png", "a9_m.png", "a9.png", "ba1.png", "n.txt"
    )
    found = gather(UDIAT(), files, PATTERN, ("", "_m"), "'a1.png'")
    assert list(found) == ["a9", "a10"]
    assert found["a10"] == {"": tmp_path / "x/a10.png", "_m": tmp_path / "y/z/a10_m.png"}


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["a1.png"], "'a1.png': its '_m' is missing"),
        (["a1_m.png"], "'a1_m.png': its '' is missing"),
        (["b1.png", "c.txt"], "2 files: none lies like 'a1.png'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, paths, words):
    with pytest.raises(SourceError, match=re.escape(words)):
        gather(UDIAT(), listing(tmp_path, *paths), PATTERN, ("", "_m"), "'a1.png'")


def test_equal_copies_count_once_and_different_ones_are_refused(tmp_path):
    files = listing(tmp_path, "a1.png", "a1_m.png", "old/a1.png")
    (tmp_path / "old").mkdir()
    (tmp_path / "a1.png").write_bytes(b"one")
    (tmp_path / "old/a1.png").write_bytes(b"one")
    found = gather(UDIAT(), files, PATTERN, ("", "_m"), "'a1.png'")
    assert found == {"a1": {"": tmp_path / "a1.png", "_m": tmp_path / "a1_m.png"}}
    assert found == gather(UDIAT(), dict(reversed(files.items())), PATTERN, ("", "_m"), "'a1.png'")

    (tmp_path / "old/a1.png").write_bytes(b"two")
    with pytest.raises(SourceError, match=r"'a1.png' and 'old/a1.png': two different .*; keep one"):
        gather(UDIAT(), files, PATTERN, ("", "_m"), "'a1.png'")
