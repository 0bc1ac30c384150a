"""Decoded images kept on disk, so that a data set is decoded and resized once.

One file holds one task and split at one size, one row an image: the pixels (C, S, S) as bytes, the
mask with eight pixels to a byte, a CRC-32 of both. It is mapped into memory, and lies under the
data set's content hash, in

    <data set>/cache/                             if that may be written to, else
    $XDG_CACHE_HOME/usbench (~/.cache/usbench)    else nowhere: every run then decodes

A file takes its name when it is whole, so two processes may write the same one at once. If it is
cut short later, or a row no longer fits its sum, it is as good as absent and is written anew.
"""

import math
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LAYOUT = 1  # raise it when rows, or the way images are resized, change
_SUM = 4  # bytes of a CRC-32

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Key:
    """What a file holds."""

    root: Path  # of the data set
    content_sha256: str
    task: str
    split: str
    size: int  # px
    channels: int
    images: int

    @property
    def places(self) -> Iterator[Path]:
        """Where the file may lie, the best first."""
        name = f"{self.content_sha256[:12]}/{self.size}/{self.task}-{self.split}.rows{LAYOUT}"
        yield self.root / "cache" / name
        with suppress(RuntimeError):  # a user without a home
            user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            yield user / "usbench" / name


def read(key: Key) -> tuple[Bytes, Bytes] | None:
    """Pixels (N, C, S, S), mapped, and masks (N, S, S) of 0 and 1; None without a whole file."""
    for path in key.places:
        rows = _map(path, (key.images, _width(key)))
        if rows is None or not _sums_fit(rows):
            continue
        pixels, packed = np.split(rows[:, :-_SUM], [key.channels * key.size**2], axis=1)
        masks = np.unpackbits(packed, axis=1, count=key.size**2)
        shape = (key.images, key.size, key.size)
        return pixels.reshape(key.images, key.channels, *shape[1:]), masks.reshape(shape)
    return None


def write(key: Key, pixels: Bytes, masks: Bytes) -> None:
    """Keep pixels (N, C, S, S) and masks (N, S, S) where that is possible.

    Without a cache runs start slower and nothing else, so nothing is raised.
    """
    flat = [pixels.reshape(len(pixels), -1), np.packbits(masks.reshape(len(masks), -1), axis=1)]
    content = np.concatenate(flat, axis=1)
    sums = np.array([zlib.crc32(row) for row in content], "<u4")
    rows = np.concatenate([content, sums[:, None].view(np.uint8)], axis=1)
    for path in key.places:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, rows)
        except OSError:
            continue
        return


def _width(key: Key) -> int:
    """Bytes of a row."""
    return key.channels * key.size**2 + -(-(key.size**2) // 8) + _SUM


def _map(path: Path, shape: tuple[int, int]) -> Bytes | None:
    try:
        if path.stat().st_size == math.prod(shape):
            return np.memmap(path, np.uint8, mode="r", shape=shape)
    except (OSError, ValueError):  # absent, not ours to read, or of no images
        pass
    return None


def _sums_fit(rows: Bytes) -> bool:
    sums = np.ascontiguousarray(rows[:, -_SUM:]).view("<u4")[:, 0]
    return all(zlib.crc32(row[:-_SUM]) == total for row, total in zip(rows, sums, strict=True))


def _replace(path: Path, rows: Bytes) -> None:
    """Write under a name of our own, then take the file's."""
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            rows.tofile(file)
        partial.chmod(0o644)  # mkstemp's is the owner's alone
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
