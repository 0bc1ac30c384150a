"""Kept images: whole or absent, whoever else writes, wherever they may lie."""

import errno
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.cache import Key, read, write

IMAGES, CHANNELS, SIZE = 5, 3, 13  # 169 pixels: the last byte of a mask is not full


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """The user's own cache."""
    folder = tmp_path / "home"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def key(tmp_path) -> Key:
    return key_in(tmp_path / "data")


def key_in(root: Path) -> Key:
    return Key(root, "abc" * 20, "OT", "train", SIZE, CHANNELS, IMAGES)


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, (IMAGES, CHANNELS, SIZE, SIZE), np.uint8),
        rng.integers(0, 2, (IMAGES, SIZE, SIZE), np.uint8),
    )


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def test_what_was_written_is_read(key):
    assert read(key) is None
    write(key, *drawn())
    pixels, masks = read(key)
    assert isinstance(pixels, np.memmap)
    assert np.array_equal(pixels, drawn()[0])
    assert np.array_equal(masks, drawn()[1])


def test_a_mask_takes_a_bit_a_pixel(key):
    write(key, *drawn())
    (path,) = files(key.root)
    # 22 bytes for 169 bits, 4 for the sum
    assert path.stat().st_size == IMAGES * (CHANNELS * SIZE**2 + 22 + 4)


def test_every_setting_has_a_file_of_its_own(key):
    write(key, *drawn())
    for changes in (
        {"content_sha256": "d" * 60},
        {"task": "BC"},
        {"split": "test"},
        {"size": 14},
        {"images": 4},
        {"channels": 1},
    ):
        assert read(replace(key, **changes)) is None


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Key, Path, bytes]:
    key = key_in(tmp_path_factory.mktemp("written"))
    write(key, *drawn())
    (path,) = files(key.root)
    return key, path, path.read_bytes()


@given(data=st.data())
def test_a_changed_bit_is_noticed(written, data):
    key, path, whole = written
    place = data.draw(st.integers(0, len(whole) - 1))
    content = bytearray(whole)
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(content))
    assert read(key) is None


@given(data=st.data())
def test_a_file_cut_short_is_noticed(written, data):
    key, path, whole = written
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert read(key) is None


@pytest.mark.parametrize("content", [b"", b"words\n" * 99, bytes(IMAGES * (3 * 169 + 22 + 4))])
def test_another_file_of_the_name_is_no_cache(key, content):
    path = next(key.places)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert read(key) is None
    write(key, *drawn())
    assert read(key) is not None


def test_where_the_data_set_may_not_be_written_to_the_user_s_cache_is(key, home):
    key.root.mkdir()
    (key.root / "cache").write_text("in the way")
    write(key, *drawn())
    assert len(list(files(home))) == 1
    assert np.array_equal(read(key)[0], drawn()[0])


def test_without_any_place_there_is_no_cache_and_no_error(key, home):
    key.root.mkdir()
    for folder in (key.root / "cache", home):
        folder.write_text("in the way")
    write(key, *drawn())
    assert read(key) is None


def test_a_user_without_a_home_has_the_data_set_s_cache_only(key, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    write(key, *drawn())
    assert read(key) is not None
    assert len(list(key.places)) == 1


def test_a_full_disk_leaves_nothing_behind(key, home, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    write(key, *drawn())
    assert not list(files(key.root))
    assert not list(files(home))


def test_writers_and_readers_do_not_disturb_each_other(key, home):
    def one(turn: int) -> None:
        if turn % 2:
            write(key, *drawn())
        found = read(key)
        assert found is None or np.array_equal(found[0], drawn()[0])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(60)))
    assert read(key) is not None
    assert len(list(files(key.root))) == 1
    assert not list(files(home))  # no write failed
