"""Zip archives that the standard library cannot read, each with another error of its own."""

import zipfile
from pathlib import Path

LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"  # of a member's two headers
FLAGS, METHOD = (6, 8), (8, 10)  # where both have their fields
ENCRYPTED, DEFLATE64 = 1, 9


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def set_field(archive: Path, field: tuple[int, int], value: int) -> None:
    """Write a number of two bytes into both headers of all members."""
    data = bytearray(archive.read_bytes())
    for signature, offset in zip((LOCAL, CENTRAL), field, strict=True):
        start = data.find(signature)
        while start >= 0:
            data[start + offset : start + offset + 2] = value.to_bytes(2, "little")
            start = data.find(signature, start + 1)
    archive.write_bytes(data)


def encrypt(archive: Path) -> None:
    """RuntimeError"""
    set_field(archive, FLAGS, ENCRYPTED)


def deflate64(archive: Path) -> None:
    """NotImplementedError"""
    set_field(archive, METHOD, DEFLATE64)


def spoil(archive: Path, member: int = 0) -> None:
    """zlib.error: a member's first block is of a kind that there is not."""
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        info = opened.infolist()[member]
    data[info.header_offset + 30 + len(info.filename.encode())] |= 0b111
    archive.write_bytes(data)


def truncate(archive: Path) -> None:
    """BadZipFile"""
    archive.write_bytes(archive.read_bytes()[:-30])


WAYS = (encrypt, deflate64, spoil, truncate)
