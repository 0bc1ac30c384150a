"""Files that are whole or not there, also on a disk that fills up."""

import errno
import os
from contextlib import suppress

import pytest

from benchmark import files
from benchmark.files import WriteError, replace_together, replacing


def full_after(monkeypatch, count: int) -> None:
    """The disk fills up when the `count`-th file is brought to it."""
    real, done = os.fsync, []

    def fsync(number: int) -> None:
        done.append(number)
        if len(done) >= count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    monkeypatch.setattr(files.os, "fsync", fsync)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "file"
    with replacing(path, 4) as file:
        file.write(b"some")
        assert not path.exists()
    assert contents(tmp_path) == {"file": b"some"}


def test_a_full_disk_is_one_error_with_path_and_size_and_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    full_after(monkeypatch, 1)
    message = rf"{path} cannot be written \(No space left.*\): it takes 1\.500 MB and [\d,.]+ MB"
    with pytest.raises(WriteError, match=message), replacing(path, 1_500_000) as file:
        file.write(b"some")
    assert contents(tmp_path) == {"file": b"before"}


def test_a_folder_that_cannot_be_is_the_same_error(tmp_path):
    (tmp_path / "file").write_bytes(b"no folder")
    path = tmp_path / "file" / "below"
    with pytest.raises(WriteError, match="below cannot be written"), replacing(path, 1):
        pass


def test_an_interrupted_write_leaves_nothing(tmp_path):
    with suppress(KeyboardInterrupt), replacing(tmp_path / "file", 4) as file:
        file.write(b"so")
        raise KeyboardInterrupt
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_files_that_belong_together_all_or_none_are_replaced(tmp_path, monkeypatch, count):
    names = ["a", "b", "last"]
    replace_together({tmp_path / name: b"old" for name in names})
    with monkeypatch.context() as patch:
        full_after(patch, count)
        with pytest.raises(WriteError):
            replace_together({tmp_path / name: b"new" for name in names})
    assert contents(tmp_path) == dict.fromkeys(names, b"old")
    replace_together({tmp_path / name: b"new" for name in names})
    assert contents(tmp_path) == dict.fromkeys(names, b"new")


def test_while_the_last_file_exists_all_belong_together(tmp_path, monkeypatch):
    """At every rename, as a kill there would leave it."""
    names = ["a", "b", "last"]
    replace_together({tmp_path / name: b"old" for name in names})
    seen = []
    real = files.Path.replace

    def replace(self, target):
        seen.append({path.name for path in tmp_path.iterdir()})
        return real(self, target)

    monkeypatch.setattr(files.Path, "replace", replace)
    replace_together({tmp_path / name: b"new" for name in names})
    assert len(seen) == 3
    assert all("last" not in state for state in seen)
