"""Find a source's files: in a folder as the publisher lays it out, or in archives."""

import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from dataset_builders.schema import Files, Source, SourceError

ARCHIVE = re.compile(r"\.(zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz)$", re.IGNORECASE)
RAR = re.compile(r"\.(rar|7z)$", re.IGNORECASE)

# The largest source (CAMUS with its sequences) unpacks to about 10 GB; a bomb to far more.
MAX_UNPACKED_BYTES = 64 * 2**30
MAX_MEMBERS = 500_000
MAX_RATIO = 1_000  # unpacked to packed; deflate itself cannot pass 1,032


class Finder:
    """Looks sources up in one folder of raw data; an archive two sources share is unpacked once.

    Args:
        raw: holds a folder per source (`raw/busi/`), or their archives under the publisher's name.
        scratch: where archives are unpacked; the caller deletes it.
    """

    def __init__(self, raw: Path, scratch: Path) -> None:
        self.raw = raw
        self.scratch = scratch
        self.archives: dict[str, list[Path]] = {}  # source -> archives read for it
        self._unpacked: dict[Path, dict[PurePosixPath, Path]] = {}

    def find(self, source: Source) -> Files:
        """All files of `source` by their path inside its folder; empty if there are none.

        Raises:
            SourceError: an archive that cannot be read or is not safe to unpack.
        """
        files: dict[PurePosixPath, Path] = {}
        self.archives[source.name] = []
        for place in _places(self.raw, source):
            for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
                if path.is_dir() or path.name.startswith(("._", ".DS_Store")):
                    continue
                if RAR.search(path.name):
                    raise SourceError(
                        source.name,
                        f"'{path.name}'",
                        "RAR and 7z archives are not read",
                        f"unpack it beside itself (`unar {path.name}` or `7z x {path.name}`), "
                        "move it away, and build again",
                    )
                if ARCHIVE.search(path.name):
                    # under the archive's own name: two parts may hold files of one name
                    stem = PurePosixPath(ARCHIVE.sub("", path.name))
                    for inside, file in self._unpack_once(source.name, path).items():
                        files[stem / inside] = file
                else:
                    files[PurePosixPath(path.relative_to(place).as_posix())] = path
        return files

    def _unpack_once(self, source: str, archive: Path) -> dict[PurePosixPath, Path]:
        self.archives[source].append(archive)
        if archive not in self._unpacked:
            into = self.scratch / f"{len(self._unpacked)}"
            unpack(source, archive, into)
            self._unpacked[archive] = {
                PurePosixPath(path.relative_to(into).as_posix()): path
                for path in sorted(into.rglob("*"))
                if path.is_file()
            }
        return self._unpacked[archive]


def unclaimed(raw: Path, sources: Iterable[Source]) -> list[str]:
    """Folders and archives in `raw` whose name is none that a source goes by."""
    claimed = {path for source in sources for path in _places(raw, source)}
    return sorted(
        path.name
        for path in (raw.iterdir() if raw.is_dir() else ())
        if path not in claimed
        and not path.name.startswith((".", "__MACOSX"))
        and (path.is_dir() or ARCHIVE.search(path.name) or RAR.search(path.name))
    )


def _places(raw: Path, source: Source) -> list[Path]:
    """Folders and archives of `raw` that belong to the source; the name's case is free."""
    folders = {source.name, *(folder.lower() for folder in source.card.folders)}
    archives = {archive.lower() for archive in source.card.archives}
    stems = {f"{source.name}{end}" for end in (".zip", ".tar", ".tar.gz", ".tgz", ".rar")}
    return sorted(
        path
        for path in (raw.iterdir() if raw.is_dir() else ())
        if (path.is_dir() and path.name.lower() in folders)
        or (path.is_file() and path.name.lower() in archives | stems)
    )


def unpack(source: str, archive: Path, into: Path) -> None:
    """Unpack a zip or tar into a new folder; nothing is left of it if that fails.

    Raises:
        SourceError: damaged, encrypted, packed in a way that is not read here, or hostile: a path
            that leaves the folder, a link, a bomb.
    """
    into.mkdir(parents=True)
    try:
        if archive.name.lower().endswith(".zip"):
            _unzip(source, archive, into)
        else:
            _untar(source, archive, into)
    except BaseException as error:
        shutil.rmtree(into, ignore_errors=True)
        # damaged input makes the standard library raise a dozen kinds of Exception
        if isinstance(error, SourceError) or not isinstance(error, Exception):
            raise
        raise SourceError(
            source,
            f"'{archive}'",
            f"cannot be unpacked ({str(error) or type(error).__name__})",
            "get it again, or unpack it yourself, move it away, and repeat the command",
        ) from error


def _unzip(source: str, archive: Path, into: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = [info for info in opened.infolist() if not info.is_dir()]
        _check_totals(source, archive, [info.file_size for info in members])
        for info in members:
            if stat.S_ISLNK(info.external_attr >> 16):
                raise _hostile(source, archive, info.filename, "is a link")
            target = _inside(source, archive, info.filename, into)
            with opened.open(info) as packed, target.open("wb") as out:
                # zipfile checks length and CRC against the header, so the totals above hold
                shutil.copyfileobj(packed, out, 1 << 20)


def _untar(source: str, archive: Path, into: Path) -> None:
    with tarfile.open(archive) as opened:
        members = list(_members(source, archive, opened))
        _check_totals(source, archive, [member.size for member in members])
        for member in members:
            target = _inside(source, archive, member.name, into)
            packed = opened.extractfile(member)
            if packed is not None:
                with packed, target.open("wb") as out:
                    shutil.copyfileobj(packed, out, 1 << 20)


def _members(source: str, archive: Path, opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    total = 0
    for member in opened:
        if member.isdir():
            continue
        if not member.isfile():
            raise _hostile(source, archive, member.name, "is a link or a device")
        total += member.size
        if total > MAX_UNPACKED_BYTES:  # stop reading a compressed bomb's headers early
            raise _hostile(source, archive, member.name, f"unpacks to over {MAX_UNPACKED_BYTES} B")
        yield member


def _check_totals(source: str, archive: Path, sizes: list[int]) -> None:
    packed = max(archive.stat().st_size, 1)
    if len(sizes) > MAX_MEMBERS:
        raise _hostile(source, archive, f"{len(sizes)} members", f"over {MAX_MEMBERS} is no data")
    if sum(sizes) > min(MAX_UNPACKED_BYTES, MAX_RATIO * packed):
        problem = f"unpacks from {packed} to {sum(sizes)} bytes (a zip bomb?)"
        raise _hostile(source, archive, f"{len(sizes)} members", problem)


def _inside(source: str, archive: Path, name: str, into: Path) -> Path:
    """Where a member goes, its folder made."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or re.match(r"^[A-Za-z]:", name):
        raise _hostile(source, archive, name, "leads out of the folder")
    target = into / parts
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _hostile(source: str, archive: Path, member: str, problem: str) -> SourceError:
    return SourceError(
        source,
        f"'{archive}' ({member})",
        problem,
        "nothing was unpacked; get the archive from the publisher",
    )
