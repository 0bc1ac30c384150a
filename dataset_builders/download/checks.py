"""Whether a file is what it should be: length, digest, first bytes, structure."""

import hashlib
import struct
import zipfile
from pathlib import Path

from dataset_builders.download.errors import MirrorError
from dataset_builders.download.expected import Expected
from dataset_builders.download.pages import ENOUGH, HEAD, is_page, page_error

_MAGIC = {
    "zip": (b"PK\x03\x04", b"PK\x05\x06"),  # the second begins an archive without members
    "rar": (b"Rar!\x1a\x07",),
}
_END_OF_ZIP = struct.Struct("<4s6xH10s")  # signature, number of members; then comes a comment


def check_head(head: bytes, expected: Expected) -> None:
    """Refuse a file by its beginning.

    Args:
        head: the first `pages.HEAD` bytes, or all of a shorter file; more of them name a page.
        expected: its `kind` is what the file should be.

    Raises:
        MirrorError: a web page, an empty file, or one of another kind.
    """
    if is_page(head):
        raise page_error(head)
    if not head:
        raise MirrorError("the file is empty")
    if not _is_kind(head, expected.kind):
        raise MirrorError(f"this is no {expected.kind} file: it begins with {head[:40]!r}")


def _is_kind(head: bytes, kind: str) -> bool:
    if kind == "any":
        return True
    if kind == "csv":
        first = head.partition(b"\n")[0]
        # "{" and "[" begin the JSON in which an API says no
        return b"\0" not in head and first[:1] not in b"{[" and any(c in first for c in b",;\t")
    return head.startswith(_MAGIC[kind])


def check_length(length: int, expected: Expected) -> None:
    """Refuse a file by its length in bytes.

    Raises:
        MirrorError: it is not `expected.size`.
    """
    if expected.size not in (None, length):
        raise MirrorError(f"the file has {length} bytes, {expected.size} are right")


def check_file(path: Path, expected: Expected) -> None:
    """Refuse a file that is not the expected one, or a zip that is damaged anywhere.

    Raises:
        MirrorError: by its beginning, its length, a digest, or a member that cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        check_head(head + file.read(ENOUGH - HEAD) if is_page(head) else head, expected)
        check_length(path.stat().st_size, expected)
        for name in ("sha256", "md5"):
            right = getattr(expected, name)
            if right is not None:
                file.seek(0)
                digest = hashlib.file_digest(file, name).hexdigest()
                if digest != right.lower():
                    raise MirrorError(f"the file's {name} is {digest}, {right.lower()} is right")
    if expected.kind == "zip":
        _check_zip(path)


def is_whole(path: Path, expected: Expected) -> bool:
    """Whether the file is there, and `check_file` has nothing against it."""
    try:
        check_file(path, expected)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, MirrorError):
        return False
    return True


def replaced(path: Path) -> list[str]:
    """What is said of a file that is fetched though one of its name lies in the source's folder."""
    return [f"{path} was damaged, and a whole one takes its place"] if path.is_file() else []


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            count, comment = len(archive.infolist()), len(archive.comment)
    except Exception as error:  # zipfile has a dozen kinds of them for damaged input
        raise MirrorError(f"the archive is damaged ({error})") from error
    if damaged is not None:
        raise MirrorError(f"the archive is damaged ('{damaged}' fails its CRC)")
    with path.open("rb") as file:  # zipfile reads on where these two are wrong
        file.seek(-_END_OF_ZIP.size - comment, 2)
        signature, written, _ = _END_OF_ZIP.unpack(file.read(_END_OF_ZIP.size))
    if signature != b"PK\x05\x06":
        raise MirrorError("the archive is damaged (there is more behind its end)")
    if written not in (count % 2**16, 2**16 - 1):  # the latter where the number is too large
        raise MirrorError(f"the archive is damaged (it lists {count} members of {written})")
