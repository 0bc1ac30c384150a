"""`usbench download`, `usbench sources`, `build-data --download`, as a person calls them."""

import re

import pytest
import typer
from bad_archives import encrypt, make_zip
from typer.testing import CliRunner

from benchmark.commands.build_data import build_data
from benchmark.commands.download import download, fetch_or_say
from benchmark.commands.sources import sources
from benchmark.listing import listing
from dataset_builders import phantom
from dataset_builders.download import content, mirrors, plan
from dataset_builders.download.errors import MirrorError
from dataset_builders.sources import SOURCES

app = typer.Typer()
app.command("download")(download)
app.command("sources")(sources)
app.command("build-data")(build_data)


class Brings:
    """A mirror that has the archives of a folder."""

    host = "localhost"

    def __init__(self, folder, *names):
        self.files = [folder / name for name in names]

    def get(self, into, have, report):
        for file in self.files:
            report(0, file.stat().st_size)
            (into / file.name).write_bytes(file.read_bytes())
            report(file.stat().st_size, file.stat().st_size)
        return [f"{self.files[0].name} is as it should be"]


class Stops:
    host = "localhost"

    def __init__(self, error):
        self.error = error

    def get(self, into, have, report):
        report(3, 10)
        raise self.error


@pytest.fixture
def usbench(tmp_path, monkeypatch):
    """Runs a command on `raw`, with the mirrors given; BUSI is complete with 16 images."""
    monkeypatch.setattr(content, "FORMS", {})
    monkeypatch.setattr(content, "table", lambda _: ())
    monkeypatch.setattr(type(SOURCES["busi"]), "expected", {"BC": 16})

    def usbench(*words, busi=()):
        table = dict(mirrors.MIRRORS, busi=mirrors.Mirrors(tuple(busi)))
        for module in (plan, mirrors):
            monkeypatch.setattr(module, "MIRRORS", table)
        monkeypatch.setitem(plan.get_sources.__kwdefaults__, "mirrors", table)
        raw = ["--raw", str(tmp_path / "raw")]
        return CliRunner().invoke(app, [*words, *raw], env={"COLUMNS": "200"})

    return usbench


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    phantom.write(folder, images=16, size=64, sources=["busi", "udiat"])
    return folder


def test_it_fetches_and_says_so(usbench, drawn):
    done = usbench("download", "busi", busi=[Brings(drawn, "Dataset_BUSI.zip")])
    assert done.exit_code == 0, done.output
    assert re.search(r"busi: fetched into .*raw, 16 images", done.stdout)
    assert "Dataset_BUSI.zip is as it should be" in done.stdout
    assert re.search(r"busi +localhost.* 100%|busi +localhost .*kB", done.stderr)
    assert "busi: is here, 16 images" in usbench("download", "busi").stdout


def test_what_is_not_the_original_is_refused_by_name(usbench, drawn, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(type(SOURCES["busi"]), "expected", {"BC": 16})
    done = usbench("download", "busi", busi=[Brings(drawn, "Dataset_BUSI.zip")])
    assert done.exit_code == 2
    assert "not the original: 'Dataset_BUSI_with_GT/benign/benign (1).png in" in done.stderr
    assert "benign holds" in done.stderr


def test_without_a_name_all_sources_are_asked_for(usbench, monkeypatch):
    asked = []
    monkeypatch.setattr(plan, "get_sources", lambda raw, chosen, show: asked.extend(chosen) or [])
    CliRunner().invoke(app, ["download"])
    assert [source.name for source in asked] == list(SOURCES)
    fetch_or_say([], None)  # every source was left out: none is asked for
    assert len(asked) == len(SOURCES)


def test_a_failure_ends_in_one_message_and_exit_code_2(usbench):
    done = usbench("download", "busi", busi=[Stops(MirrorError("closed", "knock"))])
    assert done.exit_code == 2
    assert "localhost: closed (knock)" in done.stderr
    assert "busi: failed" in done.stdout
    assert "Traceback" not in done.output


def test_ctrl_c_is_told_without_a_traceback(usbench, tmp_path):
    done = usbench("download", "busi", busi=[Stops(KeyboardInterrupt())])
    assert done.exit_code == 130
    assert done.stderr.endswith("\nstopped; the same command goes on from here\n")
    words = ("build-data", "--download", "--source", "busi", "--out", str(tmp_path / "data"))
    done = usbench(*words, busi=[Stops(KeyboardInterrupt())])
    assert done.exit_code == 130
    assert done.stderr.endswith("\nstopped; the same command goes on from here\n")


def test_an_unknown_source_is_named_and_the_likely_one_too(usbench):
    done = usbench("download", "bussi")
    assert done.exit_code == 2
    assert "unknown source 'bussi' (did you mean 'busi'?)" in done.stderr


def test_the_steps_of_dataset_b_are_printed(usbench):
    done = usbench("download", "udiat")
    assert done.exit_code == 1, "it is not here"
    assert "udiat cannot be fetched by a program; by hand:\n  1. print http://" in done.stdout


def test_build_data_fetches_first(usbench, drawn, tmp_path):
    words = ("build-data", "--download", "--source", "busi", "--out", str(tmp_path / "data"))
    done = usbench(*words, busi=[Brings(drawn, "Dataset_BUSI.zip")])
    assert done.exit_code == 0, done.output
    assert "busi: fetched" in done.stdout
    assert (tmp_path / "data/manifest.json").is_file()


def test_build_data_says_what_could_not_be_fetched_and_judges_itself(usbench, drawn, tmp_path):
    phantom.write(tmp_path / "raw", images=16, size=64, sources=["udiat"])
    words = ("build-data", "--download", "--source", "busi", "--source", "udiat")
    words += ("--out", str(tmp_path / "data"))
    broken = [Stops(MirrorError("closed"))]
    done = usbench(*words, busi=broken)
    assert done.exit_code == 2
    assert "localhost: closed" in done.stderr
    assert not (tmp_path / "data").exists()
    done = usbench(*words, "--allow-missing", busi=broken)
    assert done.exit_code == 0, done.output
    assert "localhost: closed" in done.stderr
    assert "lacks busi: not found" in done.stdout


def test_without_download_nothing_is_fetched(usbench, tmp_path):
    words = ("build-data", "--source", "busi", "--out", str(tmp_path / "data"))
    done = usbench(*words, busi=[Stops(AssertionError())])
    assert "busi (not found): put it into" in done.stderr


def test_sources_tells_what_is_here_of_each(usbench, drawn):
    usbench("download", "busi", busi=[Brings(drawn, "Dataset_BUSI.zip")])
    done = usbench("sources", busi=[Brings(drawn, "Dataset_BUSI.zip")])
    assert done.exit_code == 0, done.output
    _, *lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[: len(SOURCES)]] == list(SOURCES)
    assert re.search("16 of 16 +here", lines[0])
    assert re.search(r"\d MB", lines[0])
    assert "`usbench download" not in lines[0]
    assert "0 of 163" in lines[1]
    assert "by hand: `usbench download udiat` prints the steps" in lines[1]
    assert "`usbench download hc18`" in lines[2]
    assert lines[len(SOURCES)].startswith("1 of 9 sources are whole")


def test_sources_names_what_is_begun_wrong_or_misplaced(usbench, tmp_path):
    part = tmp_path / "raw/.hc18.part/zenodo.org/training_set.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(2_500_000))
    (tmp_path / "raw/busi.rar").write_bytes(b"Rar!")
    (tmp_path / "raw/HC-18").mkdir()
    said = usbench("sources").stdout
    assert "hc18: a download is begun, 2.5 MB" in said
    assert "  busi: 'busi.rar': RAR and 7z archives are not read" in said
    assert "no source goes by the name HC-18" in said


def test_sources_says_if_there_is_no_such_folder(usbench, tmp_path):
    assert f"there is no folder {tmp_path / 'raw'}: is --raw right?" in usbench("sources").stdout
    (tmp_path / "raw").mkdir()
    assert "there is no folder" not in usbench("sources").stdout


def test_sources_shows_the_others_beside_a_damaged_archive(usbench, tmp_path):
    archive = make_zip(tmp_path / "hc18.zip", {"a.csv": b"1"})
    encrypt(archive)
    (tmp_path / "raw").mkdir()
    archive.rename(tmp_path / "raw/hc18.zip")
    done = usbench("sources")
    assert done.exit_code == 0, done.output
    assert "raw/hc18.zip': cannot be unpacked (File " in done.stdout
    assert "is encrypted, password required" in done.stdout
    for name in SOURCES:
        assert f"\n{name} " in done.stdout


def test_sources_and_list_do_not_contradict_each_other(usbench, tmp_path):
    told = usbench("sources").stdout.splitlines()
    listed = listing("sources", tmp_path).splitlines()
    for mine, theirs in zip(told[1:10], listed[1:10], strict=True):
        name, tasks, images, licence, _ = re.split(r"  +", theirs)
        cells = re.split(r"  +", mine)
        assert cells[0] == name
        assert tasks in cells
        assert f"0 of {images}" in cells
        assert licence in cells


def test_every_licence_and_title_is_shown_whole(usbench):
    said = usbench("sources").stdout
    for source in SOURCES.values():
        assert source.card.licence in said
        assert source.card.title in said
