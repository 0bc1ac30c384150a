"""Google Drive: gdown runs as it is, against pages as Drive sends them."""

import io
import zipfile

import gdown
import pytest
from fake_internet import FakeInternet

from dataset_builders.download.drive import DriveFile, DriveFolder
from dataset_builders.download.errors import MirrorError

ID = "1reHyY5eTZ5uePXMVMzFOq5j3eFOSp50F"
FILE = f"https://drive.google.com/uc?id={ID}"
FOLDER = "https://drive.google.com/embeddedfolderview"
MIB = 2**20
HTML = {"Content-Type": "text/html; charset=utf-8"}
ZIPPED = {"Content-Type": "application/zip", "Content-Disposition": 'attachment; filename="x.zip"'}
QUOTA = (
    b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>\n"
    b'<p class="uc-error-caption">Sorry, you can&#39;t view or download this file.</p>\n'
    b'<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.'
    b" Please try accessing the file again later.</p>\n</body></html>"
)
WARNING = (
    b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>\n"
    b'<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">'
    b'<input type="hidden" name="id" value="%s"><input type="hidden" name="confirm" value="t">'
    b"</form></body></html>" % ID.encode()
)


def a_zip(**members: bytes) -> bytes:
    """The same bytes at any time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in (members or {"a": b"1" * 5000}).items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return packed.getvalue()


FILE_WAY = DriveFile(ID, "x.zip")


@pytest.fixture
def internet(monkeypatch):
    monkeypatch.setattr("dataset_builders.download.drive.RETRIES", 0)
    return FakeInternet.of(monkeypatch)


@pytest.fixture
def get(tmp_path):
    def get(way=FILE_WAY, report=lambda done, total: None):
        way.get(tmp_path / "into", tmp_path / "have", report)
        return tmp_path / "into"

    (tmp_path / "into").mkdir()
    return get


def test_a_file_comes_and_is_reported(internet, get):
    internet.add(FILE, a_zip(), ZIPPED)
    told = []
    into = get(report=lambda done, total: told.append((done, total)))
    assert (into / "x.zip").read_bytes() == a_zip()
    assert [path.name for path in into.iterdir()] == ["x.zip"]
    assert told[-1] == (len(a_zip()), len(a_zip()))


def test_the_warning_about_viruses_is_passed(internet, get):
    internet.add(FILE, WARNING, HTML)
    internet.add("https://drive.usercontent.google.com/download?id=", a_zip(), ZIPPED)
    assert (get() / "x.zip").read_bytes() == a_zip()


def test_what_is_here_is_not_asked_for(internet, get, tmp_path):
    (tmp_path / "have").mkdir()
    (tmp_path / "have/x.zip").write_bytes(a_zip())
    assert not list(get().iterdir())
    assert not internet.asked


@pytest.mark.parametrize(
    ("page", "status", "says"),
    [
        (QUOTA, 200, "downloaded too often today"),
        (b"<html><body>Sign in</body></html>", 200, "downloaded too often today, or is no longer"),
        (b"<html>gone</html>", 404, "downloaded too often today, or is no longer shared"),
    ],
)
def test_a_page_is_named_and_leaves_no_file(internet, get, tmp_path, page, status, says):
    internet.add(FILE, page, HTML, status)
    with pytest.raises(MirrorError, match=says) as raised:
        get()
    assert "a browser" in raised.value.remedy
    assert not list((tmp_path / "into").iterdir())


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><html>surprise</html>", b"", a_zip()[:-9]])
def test_what_only_calls_itself_a_file_leaves_none(internet, get, tmp_path, body):
    internet.add(FILE, body, ZIPPED)
    with pytest.raises(MirrorError):
        get()
    assert not list((tmp_path / "into").iterdir())


def test_a_zip_with_a_damaged_member_leaves_none(internet, get, tmp_path):
    damaged = bytearray(a_zip())
    damaged[1000] ^= 1
    internet.add(FILE, bytes(damaged), ZIPPED)
    with pytest.raises(MirrorError, match="'a'"):
        get()
    assert not list((tmp_path / "into").iterdir())


def test_a_broken_transfer_has_no_final_name_and_goes_on(internet, get, tmp_path):
    whole = a_zip(a=b"1" * 3 * MIB)
    tag = ZIPPED | {"ETag": '"1"', "Accept-Ranges": "bytes"}
    internet.add(FILE, whole, tag, cut=MIB)
    with pytest.raises(MirrorError):
        get()
    (part,) = (tmp_path / "into").iterdir()
    assert part.name.endswith(".part")
    assert part.read_bytes() == whole[:MIB]
    rest = {"Content-Range": f"bytes {MIB}-{len(whole) - 1}/{len(whole)}"}
    internet.answers.clear()
    internet.add(FILE, whole, tag)
    internet.add(FILE, whole[MIB:], tag | rest, 206)
    into = get()
    assert (into / "x.zip").read_bytes() == whole
    assert internet.asked[-1].headers["Range"] == f"bytes={MIB}-"
    assert [path.name for path in into.iterdir()] == ["x.zip"]


def test_no_network_is_said(internet, get):
    with pytest.raises(MirrorError, match="cannot be reached"):
        get()


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (
            gdown.FileURLRetrievalError("Cannot retrieve the public link; many accesses"),
            "too often",
        ),
        (gdown.DownloadError("There are multiple\n temporary files"), "multiple temporary files"),
        (KeyError("Content-Type"), "does not understand"),
    ],
)
def test_what_gdown_raises_is_told_in_one_line(monkeypatch, get, raised, says):
    def fail(**_):
        raise raised

    monkeypatch.setattr(gdown, "download", fail)
    with pytest.raises(MirrorError, match=says) as error:
        get()
    assert "\n" not in str(error.value)


def listing(title: str, **entries: str) -> bytes:
    links = "".join(f'<a href="{url}"><div>{name}</div></a>' for name, url in entries.items())
    return f"<html><head><title>{title}</title></head><body>{links}</body></html>".encode()


def folder_of(name: str) -> str:
    return f"https://drive.google.com/drive/folders/{name:_<28}"


def file_of(name: str) -> str:
    return f"https://drive.google.com/file/d/{name:_<28}/view"


def view(name: str) -> str:
    return f"{FOLDER}?id={name:_<28}"


@pytest.fixture
def shared_folder(internet):
    """OTU_2d/images/1.JPG and 2.JPG, and a folder that is not wanted."""
    internet.add(
        view("top"), listing("MMOTU", OTU_2d=folder_of("2d"), OTU_3d=folder_of("3d")), HTML
    )
    internet.add(view("2d"), listing("OTU_2d", images=folder_of("images")), HTML)
    two = {"1.JPG": file_of("one"), "2.JPG": file_of("two")}
    internet.add(view("images"), listing("images", **two), HTML)
    internet.add(view("3d"), listing("OTU_3d", **{"9.JPG": file_of("nine")}), HTML)
    for name in ("one", "two"):
        url = f"https://drive.google.com/uc?id={name:_<28}"
        internet.add(url, name.encode() * 50, ZIPPED)
    return DriveFolder(f"{'top':_<28}", "OTU_2d")


def test_only_the_wanted_folder_is_fetched(shared_folder, internet, get):
    into = get(shared_folder)
    files = {path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file()}
    assert files == {"OTU_2d/images/1.JPG", "OTU_2d/images/2.JPG"}
    assert (into / "OTU_2d/images/1.JPG").read_bytes() == b"one" * 50
    assert not any("nine" in url for url in internet.urls())


def test_a_folder_goes_on_where_it_stopped(shared_folder, internet, get, tmp_path):
    del internet.answers[f"https://drive.google.com/uc?id={'two':_<28}"]
    with pytest.raises(MirrorError, match="cannot be reached"):
        get(shared_folder)
    internet.add(f"https://drive.google.com/uc?id={'two':_<28}", b"two" * 50, ZIPPED)
    before = len(internet.asked)
    get(shared_folder)
    assert not any("one_" in url for url in internet.urls()[before:])
    assert (tmp_path / "into/OTU_2d/images/2.JPG").is_file()


def test_what_the_source_has_of_a_folder_is_not_fetched(shared_folder, internet, get, tmp_path):
    mine = tmp_path / "have/OTU_2d/images/1.JPG"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"one")
    into = get(shared_folder)
    assert not (into / "OTU_2d/images/1.JPG").exists()
    assert (into / "OTU_2d/images/2.JPG").exists()
    assert not any("one_" in url for url in internet.urls())


def test_another_folder_than_expected_is_said(internet, get):
    internet.add(view("top"), listing("MMOTU", **{"readme.txt": file_of("readme")}), HTML)
    with pytest.raises(MirrorError, match="lists no 'OTU_2d' \\(of 1 files\\)"):
        get(DriveFolder(f"{'top':_<28}", "OTU_2d"))


def test_an_archive_of_the_folder_counts(internet, get):
    internet.add(view("top"), listing("MMOTU", **{"OTU_2d.zip": file_of("zip")}), HTML)
    internet.add(f"https://drive.google.com/uc?id={'zip':_<28}", a_zip(), ZIPPED)
    assert (get(DriveFolder(f"{'top':_<28}", "OTU_2d")) / "OTU_2d.zip").is_file()
