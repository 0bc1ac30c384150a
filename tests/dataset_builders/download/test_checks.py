"""A damaged archive is refused wherever the damage lies."""

import io
import zipfile
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataset_builders.download.checks import check_file
from dataset_builders.download.errors import MirrorError
from dataset_builders.download.expected import Expected


def zipped(compression=zipfile.ZIP_DEFLATED, comment=b""):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", compression) as archive:
        archive.writestr("a.txt", b"abc" * 50)
        archive.writestr("b/c.txt", bytes(range(100)))
        archive.comment = comment
    return memory.getvalue()


WHOLE = zipped()


def members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("checks") / "x.zip"


@pytest.mark.parametrize(
    "data", [WHOLE, zipped(zipfile.ZIP_STORED), zipped(zipfile.ZIP_LZMA), zipped(comment=b"hello")]
)
def test_a_whole_archive_passes(path, data):
    path.write_bytes(data)
    check_file(path, Expected())


def test_an_archive_without_members_passes(path):
    zipfile.ZipFile(path, "w").close()
    check_file(path, Expected())


@given(st.integers(0, len(WHOLE) - 1))
def test_any_beginning_of_an_archive_is_refused(path, length):
    path.write_bytes(WHOLE[:length])
    with pytest.raises(MirrorError):
        check_file(path, Expected())


@given(st.integers(0, len(WHOLE)), st.binary(min_size=1, max_size=30))
@example(len(WHOLE), b"\0")
@example(0, b"PK\x03\x04")
def test_bytes_too_many_are_refused_or_lie_outside_the_content(path, at, more):
    data = WHOLE[:at] + more + WHOLE[at:]
    path.write_bytes(data)
    try:
        check_file(path, Expected())
    except MirrorError:
        return
    assert members(data) == members(WHOLE)


def test_any_flipped_bit_is_found_or_lies_outside_the_content(path):
    passed = 0
    path.write_bytes(WHOLE)
    with path.open("r+b", buffering=0) as file:
        for at, right in enumerate(WHOLE):
            for bit in range(8):
                file.seek(at)
                file.write(bytes([right ^ 1 << bit]))
                with suppress(MirrorError):
                    check_file(path, Expected())
                    passed += 1
                    assert members(path.read_bytes()) == members(WHOLE)
            file.seek(at)
            file.write(bytes([right]))
    assert passed < 4 * len(WHOLE)  # times and permissions, which no checksum covers


def test_an_encrypted_member_is_refused(path):
    data = bytearray(WHOLE)
    for header in (0, WHOLE.index(b"PK\x01\x02") + 2):
        data[header + 6] |= 1
    path.write_bytes(data)
    with pytest.raises(MirrorError, match="encrypted"):
        check_file(path, Expected())
