"""Archives are unpacked whole and safely, or not at all."""

import io
import random
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from bad_archives import WAYS, make_zip

from dataset_builders import acquire
from dataset_builders.acquire import Finder, unclaimed, unpack
from dataset_builders.schema import SourceError
from dataset_builders.sources import SOURCES


def make_tar(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_unpacks_whole(tmp_path, make):
    archive = make(
        tmp_path / ("a.zip" if make is make_zip else "a.tar.gz"), {"x/y.png": b"1", "z": b"22"}
    )
    unpack("busi", archive, tmp_path / "out")
    assert (tmp_path / "out/x/y.png").read_bytes() == b"1"
    assert (tmp_path / "out/z").read_bytes() == b"22"


@pytest.mark.parametrize("name", ["../evil", "x/../../evil", "/evil", "C:\\evil", "..\\evil"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_path_that_leads_out_is_refused(tmp_path, make, name):
    archive = make(
        tmp_path / ("a.zip" if make is make_zip else "a.tar.gz"), {"ok": b"", name: b"x"}
    )
    with pytest.raises(SourceError, match="leads out of the folder"):
        unpack("busi", archive, tmp_path / "deep/out")
    assert not (tmp_path / "deep/out").exists()
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    archive = make_tar(tmp_path / "a.tar.gz", {"passwd": b""}, kind)
    with pytest.raises(SourceError, match="link or a device"):
        unpack("busi", archive, tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("passwd")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(SourceError, match="is a link"):
        unpack("busi", tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_bomb_is_refused_before_it_unpacks(tmp_path, make, monkeypatch):
    monkeypatch.setattr(acquire, "MAX_RATIO", 100)
    monkeypatch.setattr(acquire, "MAX_UNPACKED_BYTES", 10**6)
    archive = make(
        tmp_path / ("a.zip" if make is make_zip else "a.tar.gz"), {"zeros": bytes(10**7)}
    )
    with pytest.raises(SourceError, match="unpacks"):
        unpack("busi", archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cut", [10, 60, 140])
def test_a_truncated_archive_is_one_clear_error(tmp_path, cut):
    archive = make_zip(tmp_path / "a.zip", {"a": bytes(range(256)), "b": b"2"})
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(SourceError, match=r"busi: '.*/a\.zip': cannot be unpacked"):
        unpack("busi", archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_changed_byte_is_found(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": bytes(range(256)) * 4})
    data = bytearray(archive.read_bytes())
    data[100] ^= 1
    archive.write_bytes(data)
    with pytest.raises(SourceError, match="cannot be unpacked"):
        unpack("busi", archive, tmp_path / "out")


@pytest.mark.parametrize("ruin", WAYS)
def test_an_archive_that_cannot_be_read_is_one_clear_error(tmp_path, ruin):
    archive = make_zip(tmp_path / "a.zip", {"a": bytes(range(256)) * 4, "b": b"2"})
    ruin(archive)
    with pytest.raises(SourceError, match=r"a\.zip': cannot be unpacked \(.+\); get it again"):
        unpack("busi", archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_whatever_bit_is_flipped_it_unpacks_whole_or_says_so(tmp_path, make):
    drawn = random.Random(0)
    members = {"x/a": drawn.randbytes(200) * 3, "b": b"0123456789" * 30}
    archive = make(tmp_path / ("a.zip" if make is make_zip else "a.tar.gz"), members)
    data, refused = archive.read_bytes(), 0
    for trial in range(200):
        bit = drawn.randrange(8 * len(data))
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        archive.write_bytes(changed)
        out = tmp_path / f"{trial}"
        try:
            unpack("busi", archive, out)
        except SourceError:
            refused += 1
            assert not out.exists()
        else:
            assert [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert refused > 50


def test_ctrl_c_leaves_nothing_unpacked_and_is_no_error_of_the_archive(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "a.zip", {"a": b"1"})

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(acquire.shutil, "copyfileobj", stop)
    with pytest.raises(KeyboardInterrupt):
        unpack("busi", archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_finds_folders_archives_and_archives_in_folders(tmp_path):
    raw = tmp_path / "raw"
    (raw / "hc18").mkdir(parents=True)
    (raw / "hc18/table.csv").write_text("x")
    make_zip(raw / "hc18/training_set.zip", {"training_set/000_HC.png": b"x"})
    make_zip(raw / "Dataset_BUSI.zip", {"Dataset_BUSI_with_GT/benign/benign (1).png": b"x"})
    finder = Finder(raw, tmp_path / "scratch")
    heads = finder.find(SOURCES["hc18"])
    assert set(map(str, heads)) == {"table.csv", "training_set/training_set/000_HC.png"}
    (breast,) = finder.find(SOURCES["busi"])
    assert breast == PurePosixPath("Dataset_BUSI/Dataset_BUSI_with_GT/benign/benign (1).png")
    assert not finder.find(SOURCES["udiat"])


def test_an_archive_that_sources_share_is_unpacked_once(tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    (raw / "tn3k").mkdir(parents=True)
    make_zip(raw / "tn3k/Thyroid Dataset.zip", {"tn3k/trainval-image/0000.jpg": b"x"})
    finder = Finder(raw, tmp_path / "scratch")
    assert finder.find(SOURCES["tn3k"]) == finder.find(SOURCES["tg3k"])
    assert len(list((tmp_path / "scratch").iterdir())) == 1


def test_a_rar_is_answered_with_how_to_unpack_it(tmp_path):
    (tmp_path / "tn3k").mkdir()
    (tmp_path / "tn3k/test-mask.rar").write_bytes(b"Rar!")
    with pytest.raises(SourceError, match=r"unar test-mask\.rar"):
        Finder(tmp_path, tmp_path / "scratch").find(SOURCES["tn3k"])


def test_folders_and_archives_of_no_source_are_named(tmp_path):
    for folder in ("busi", "BUS_Dataset_B", "Thyroid Dataset", "camsu", ".cache", "__MACOSX"):
        (tmp_path / folder).mkdir()
    for file in ("hc18.zip", "OTU_2d.zip", "OTU-2D.ZIP", "more.7z", "notes.txt", "mmotu.csv"):
        (tmp_path / file).touch()
    assert unclaimed(tmp_path, SOURCES.values()) == ["OTU-2D.ZIP", "camsu", "more.7z"]
    assert "busi" in unclaimed(tmp_path, [SOURCES["hc18"]])
    assert unclaimed(tmp_path / "nowhere", SOURCES.values()) == []
