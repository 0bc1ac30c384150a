"""Output files that are whole, or not there at all."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dataset_builders.errors import UsageError


class WriteError(UsageError):
    """A file that could not be written; what was there before is still there, and whole."""


@contextmanager
def replacing(path: Path, size: int) -> Iterator[BinaryIO]:
    """A file to write to, which takes its name only when all of it is on the disk.

    Args:
        path: what to create or replace; its folder is made if need be.
        size: bytes that will be written, to say so if they do not fit.

    Raises:
        WriteError: the disk is full, or the folder may not be written to.
    """
    with _staged(path, size) as file:
        yield file
    _partial(path).replace(path)


def replace_together(contents: Mapping[Path, bytes]) -> None:
    """Write some files that belong together; while the last one exists, they do.

    All are on the disk before the first takes its name, so a full disk changes nothing.

    Raises:
        WriteError: as `replacing`.
    """
    try:
        for path, content in contents.items():
            with _staged(path, len(content)) as file:
                file.write(content)
    except BaseException:
        for path in contents:
            _partial(path).unlink(missing_ok=True)
        raise
    *_, last = contents
    last.unlink(missing_ok=True)
    for path in contents:
        _partial(path).replace(path)


@contextmanager
def _staged(path: Path, size: int) -> Iterator[BinaryIO]:
    """The file that will be `path`, beside it; gone if it could not be written."""
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # the name must not outlive the content in a loss of power
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if not isinstance(error, OSError):
            raise
        raise WriteError(
            f"{path} cannot be written ({error.strerror or error}): it takes {_megabytes(size)} "
            f"and {_megabytes(_free(path))} are free there; make room, then repeat the command "
            "(a run with --resume)"
        ) from error


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.tmp")


def _free(path: Path) -> int:
    """Bytes left on the disk that holds the nearest folder that exists."""
    folder = next(parent for parent in path.absolute().parents if parent.is_dir())
    return shutil.disk_usage(folder).free


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.3f} MB"
