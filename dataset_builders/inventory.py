"""What of each source is here: counted by name, without unpacking or decoding anything."""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dataset_builders.acquire import MAX_MEMBERS, Finder
from dataset_builders.schema import Files, Listing, NothingFoundError, Source, SourceError

TABLES = (".csv", ".xlsx", ".xml")  # what an index reads; of all else the name is enough
MAX_TABLE = 2**26  # bytes
ENCRYPTED = 1  # bit of a zip member's flags
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
NOT_FOUND = "not found"


@dataclass(frozen=True, slots=True)
class Stock:
    """What of one source is in a folder of raw data."""

    source: Source
    found: int  # images, as the source counts them; a picture for three tasks counts once
    expected: int  # of the form that is here
    problem: str  # why it cannot be used, or not all of it; empty if it is complete
    paths: frozenset[Path]  # files and archives that hold it; other sources may share them
    begun: int = 0  # bytes of an unfinished download

    @property
    def state(self) -> str:
        """In a word: "here", "incomplete" or "missing"."""
        if not self.problem:
            return "here"
        return "missing" if self.problem == NOT_FOUND else "incomplete"

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.paths)


def images_in(source: Source) -> int:
    """How many a complete release has."""
    return max(source.expected.values())


def staging(raw: Path, folder: str) -> Path:
    """Where an unfinished download of `raw/folder` lies; no source goes by a name with a dot."""
    return raw / f".{folder}.part"


def take_stock(raw: Path, sources: Iterable[Source]) -> list[Stock]:
    """Look for each source in a folder of raw data, in seconds.

    Args:
        raw: as in `Finder`; it may be absent.
        sources: looked for in this order.
    """
    with tempfile.TemporaryDirectory(prefix="usbench-") as scratch:
        finder = _Glance(raw, Path(scratch))
        return [_look(raw, source, finder) for source in sources]


def _look(raw: Path, source: Source, finder: "_Glance") -> Stock:
    begun = sum(_size(path) for path in staging(raw, source.name).rglob("*"))
    whole = images_in(source)
    files: Files = {}
    try:
        files = finder.find(source)
        if not files:
            return Stock(source, 0, whole, NOT_FOUND, frozenset(), begun)
        listing = source.index(files)
    except NothingFoundError:
        return Stock(source, 0, whole, NOT_FOUND, frozenset(), begun)
    except SourceError as error:
        return Stock(source, 0, whole, str(error), finder.paths(source, files.values()), begun)
    used = (file for item in listing.items for file in item.files)
    paths = finder.paths(source, used)
    found, expected = _count(source, listing)
    problem = f"{found} of {expected} images" if found < expected else ""
    return Stock(source, found, expected, problem, paths, begun)


def _count(source: Source, listing: Listing) -> tuple[int, int]:
    """Images found and expected, of the task that lacks the most."""
    counts = [
        (sum(item.task == task for item in listing.items), listing.expected or whole)
        for task, whole in source.expected.items()
    ]
    return min(counts, key=lambda count: count[0] - count[1])


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):  # a download that goes on meanwhile
        return path.stat().st_size if path.is_file() else 0
    return 0


class _Glance(Finder):
    """A finder that makes holes of the right size of a zip's members, but for the tables."""

    def find(self, source: Source) -> Files:
        files = super().find(source)
        loose = {_copy(path, file) for path, file in files.items() if self._is_loose(file)}
        # an archive beside the folder it unpacked to: the index would compare the two
        return {
            path: file
            for path, file in files.items()
            if self._is_loose(file) or _copy(path, file) not in loose
        }

    def paths(self, source: Source, files: Iterable[Path]) -> frozenset[Path]:
        """Files of the source as they lie on the disk, its archives among them."""
        return frozenset(filter(self._is_loose, files)) | set(self.archives[source.name])

    def _is_loose(self, file: Path) -> bool:
        return not file.is_relative_to(self.scratch)

    def _unpack_once(self, source: str, archive: Path) -> dict[PurePosixPath, Path]:
        if archive not in self._unpacked:
            into = self.scratch / f"{len(self._unpacked)}"
            try:
                with zipfile.ZipFile(archive) as opened:
                    members = [info for info in opened.infolist() if not info.is_dir()]
                    if len(members) <= MAX_MEMBERS and all(map(_is_plain, members)):
                        self._unpacked[archive] = {
                            PurePosixPath(info.filename): _stand_in(opened, info, into)
                            for info in members
                        }
            except Exception:  # zipfile has a dozen kinds of them for damaged input
                shutil.rmtree(into, ignore_errors=True)
        # what is no zip, damaged or hostile goes to those who know what to say of it
        return super()._unpack_once(source, archive)


def _is_plain(info: zipfile.ZipInfo) -> bool:
    """Whether nothing but its content can keep a member from being unpacked."""
    name = PurePosixPath(info.filename)
    odd = name.is_absolute() or ".." in name.parts or "\\" in info.filename or ":" in name.parts[0]
    closed = info.flag_bits & ENCRYPTED or info.compress_type not in METHODS
    huge = name.suffix.lower() in TABLES and info.file_size > MAX_TABLE
    return not (odd or closed or huge)


def _stand_in(opened: zipfile.ZipFile, info: zipfile.ZipInfo, into: Path) -> Path:
    file = into / info.filename
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(opened.read(info) if file.suffix.lower() in TABLES else b"")
    os.truncate(file, info.file_size)
    return file


def _copy(path: PurePosixPath, file: Path) -> tuple[tuple[str, ...], int]:
    """What two copies of one file have in common without a look into them."""
    return path.parts[-2:], file.stat().st_size
