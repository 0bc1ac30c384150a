"""Kaggle: kagglehub runs as it is, against answers as Kaggle gives them."""

import io
import json
import logging
import os
import zipfile

import kagglehub
import pytest
from fake_internet import FakeInternet

from dataset_builders.download.errors import MirrorError
from dataset_builders.download.kaggle import KaggleSet

API = "https://api.kaggle.com/v1/datasets.DatasetApiService"
JSON = {"Content-Type": "application/json"}
MIB = 2**20


def a_zip() -> bytes:
    """The same bytes at any time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("Dataset/benign/benign (1).png"), b"1" * 3 * MIB)
        archive.writestr(zipfile.ZipInfo("about.txt"), b"two")
    return packed.getvalue()


@pytest.fixture
def internet(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("KAGGLE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "home"))
    internet = FakeInternet.of(monkeypatch)
    internet.add(f"{API}/GetDataset", json.dumps({"currentVersionNumber": 3}).encode(), JSON)
    return internet


@pytest.fixture
def get(tmp_path):
    def get(report=lambda done, total: None):
        KaggleSet("owner/name").get(tmp_path / "into", tmp_path / "have", report)
        into = tmp_path / "into"
        return {path.relative_to(into).as_posix(): path for path in into.rglob("*")}

    (tmp_path / "into").mkdir()
    return get


def test_a_data_set_comes_unpacked_and_is_reported(internet, get, capsys):
    internet.add(f"{API}/DownloadDataset", a_zip(), {"Content-Type": "application/zip"})
    told = []
    files = get(lambda done, total: told.append((done, total)))
    assert sorted(files) == [
        "Dataset",
        "Dataset/benign",
        "Dataset/benign/benign (1).png",
        "about.txt",
    ]
    assert files["about.txt"].read_bytes() == b"two"
    assert told[0] == (0, len(a_zip()))
    assert told[-1] == (len(a_zip()), len(a_zip()))
    assert capsys.readouterr() == ("", "")


def test_its_settings_are_as_before(internet, get, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", "elsewhere")
    bar, level = kagglehub.clients.tqdm, logging.getLogger("kagglehub").level
    with pytest.raises(MirrorError):
        get()
    assert os.environ["KAGGLEHUB_CACHE"] == "elsewhere"
    assert kagglehub.clients.tqdm is bar
    assert logging.getLogger("kagglehub").level == level


@pytest.mark.parametrize("status", [401, 403])
def test_without_credentials_it_says_how_to_make_them(internet, get, status):
    internet.add(f"{API}/DownloadDataset", b"{}", JSON, status)
    with pytest.raises(MirrorError, match=f"HTTP {status}: no credentials") as raised:
        get()
    for needed in ("https://www.kaggle.com/settings", "~/.kaggle/kaggle.json", "KAGGLE_USERNAME"):
        assert needed in raised.value.remedy


def test_wrong_credentials_are_said_to_be_wrong(internet, get, monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "0")
    internet.add(f"{API}/DownloadDataset", b"{}", JSON, 403)
    with pytest.raises(MirrorError, match="the credentials are refused"):
        get()


def test_a_credentials_file_without_a_key_is_told(internet, get, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/kaggle.json").write_text('{"username": "me"}')
    with pytest.raises(MirrorError, match="is missing 'key'") as raised:
        get()
    assert "kaggle.json" in raised.value.remedy


@pytest.mark.parametrize(
    ("status", "says"), [(404, "no such data set"), (429, "too many"), (503, "HTTP 503")]
)
def test_another_answer_is_named(internet, get, status, says):
    internet.add(f"{API}/DownloadDataset", b"{}", JSON, status)
    with pytest.raises(MirrorError, match=says):
        get()


def test_no_network_is_said(monkeypatch, internet, get):
    internet.answers.clear()
    with pytest.raises(MirrorError, match="cannot be reached"):
        get()


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><html>sign in</html>", a_zip()[:-40]])
def test_what_is_no_archive_leaves_nothing(internet, get, tmp_path, body):
    internet.add(f"{API}/DownloadDataset", body, {"Accept-Ranges": "bytes"})
    with pytest.raises(MirrorError, match="damaged"):
        get()
    assert not list((tmp_path / "into").iterdir())


def test_an_archive_that_came_in_part_goes_on(internet, get, tmp_path):
    ranges = {"Accept-Ranges": "bytes"}
    internet.add(f"{API}/DownloadDataset", a_zip(), ranges, cut=2 * MIB)
    with pytest.raises(MirrorError):
        get()
    assert [path.name for path in (tmp_path / "into").iterdir()] == [".kagglehub"]
    internet.answers[f"{API}/DownloadDataset"].clear()
    internet.add(f"{API}/DownloadDataset", a_zip(), ranges)
    internet.add(f"{API}/DownloadDataset", a_zip()[2 * MIB :], ranges, 206)
    assert "about.txt" in get()
    assert internet.asked[-1].headers["Range"] == f"bytes={2 * MIB}-"
