"""`usbench leakage`: what it prints, writes and ends with; the sources themselves."""

import csv
import shutil

import cv2
import pytest
import typer
from planted import data_set, row, scene, smaller
from typer.testing import CliRunner

from benchmark.commands.leakage import leakage
from dataset_builders import phantom
from dataset_builders.leakage.findings import search
from dataset_builders.leakage.pictures import LeakageError, of_data_set, of_sources

APP = typer.Typer()
APP.command()(leakage)


def run(*args: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(APP, [str(arg) for arg in args])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def clean(tmp_path):
    rows = [row(f"BC/busi/{n}", scene(0, anatomy=n), "train", n) for n in range(3)]
    return data_set(tmp_path / "clean", rows)


@pytest.fixture
def leaking(tmp_path):
    rows = [
        row("BC/busi/a", scene(0), "train", 0),
        row("BC/udiat/1", smaller(scene(0)), "test", 0),
    ]
    return data_set(tmp_path / "leaking", rows)


def test_the_exit_code_tells_whether_anything_straddles(clean, leaking):
    code, text, _ = run(clean)
    assert (code, "Nothing stands on both sides" in text) == (0, True)
    code, text, _ = run(leaking)
    assert (code, "test BC/udiat/1  train BC/busi/a" in text) == (1, True)


def test_every_pair_goes_into_the_table(leaking, tmp_path):
    code, _, _ = run(leaking, "--out", tmp_path / "pairs.csv")
    (pair,) = csv.DictReader((tmp_path / "pairs.csv").open())
    assert code == 1
    assert (pair["kind"], pair["straddles"]) == ("near", "yes")
    assert (pair["ids_a"], pair["ids_b"]) == ("BC/busi/a", "BC/udiat/1")
    assert (pair["splits_a"], pair["splits_b"]) == ("train", "test")
    assert 0.9 < float(pair["correlation"]) <= 1


def test_write_marks_the_data_set(leaking):
    code, _, said = run(leaking, "--write")
    assert (code, "1 images marked" in said) == (1, True)
    assert (leaking / "splits/BC/clean.txt").read_text() == ""


def test_what_cannot_be_done_is_said_in_words(leaking, tmp_path):
    code, _, said = run(leaking, "--write", "--raw", tmp_path)
    assert (code, "leave one of them out" in said) == (2, True)
    code, _, said = run(leaking, "--raw", tmp_path)
    assert (code, f"{leaking} would not be searched" in said) == (2, True)
    code, _, said = run("hf:lab/usbench@v1.0.0", "--write")
    assert (code, "which does not change" in said) == (2, True)
    code, _, said = run(tmp_path / "nothing")
    assert (code, "usbench build-data" in said) == (2, True)
    code, _, said = run("--raw", tmp_path / "nothing")
    assert (code, "no source in" in said) == (2, True)


@pytest.mark.parametrize("out", ["no folder/x.csv", "here"])
def test_a_table_that_cannot_be_written_is_refused_before_the_search(
    leaking, tmp_path, monkeypatch, out
):
    def searched(*_: object) -> None:
        raise AssertionError("it was searched all the same")

    monkeypatch.setattr("dataset_builders.leakage.findings.search", searched)
    (tmp_path / "no folder").write_text("a file")
    (tmp_path / "here").mkdir()
    code, _, said = run(leaking, "--out", tmp_path / out)
    assert (code, "name another file" in said, "free" in said) == (2, True, False)


def test_the_sources_hold_what_a_build_of_them_holds(small_data, tmp_path):
    phantom.write(tmp_path / "raw", images=24, size=64)
    raw = {picture.key: picture for picture in of_sources(tmp_path / "raw")}
    for picture in of_data_set(small_data):
        assert raw[picture.key].places == picture.places
        assert raw[picture.key].group == picture.group
        assert (raw[picture.key].print.grey == picture.print.grey).all()


def test_a_copy_planted_among_the_files_of_a_source_is_found(tmp_path):
    phantom.write(tmp_path / "raw", images=16, size=96, sources=["busi", "udiat"])
    shutil.unpack_archive(tmp_path / "raw/Dataset_BUSI.zip", tmp_path / "raw/busi")
    (tmp_path / "raw/Dataset_BUSI.zip").unlink()
    original = next((tmp_path / "raw").rglob("benign (1).png"))
    copy = sorted((tmp_path / "raw/udiat").rglob("original/*.png"))[0]
    height, width = cv2.imread(str(copy)).shape[:2]
    resized = cv2.resize(cv2.imread(str(original)), (width, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(copy), resized)
    between = [
        (pair.first.name, pair.second.name)
        for pair in search(of_sources(tmp_path / "raw")).pairs
        if pair.first.source != pair.second.source
    ]
    assert between == [("benign (1)", copy.stem)]


def test_an_empty_folder_of_sources_is_refused(tmp_path):
    with pytest.raises(LeakageError, match="no source in"):
        of_sources(tmp_path)


@pytest.mark.slow
def test_known_repeats_of_the_real_sources_are_found(raw_pack):
    found = search(of_sources(raw_pack))
    cluster_of = {
        (picture.source, picture.name): number
        for number, cluster in enumerate(found.clusters)
        for picture in cluster
    }
    for source, names in {
        "busi": ("benign (433)", "malignant (145)"),
        "hc18": ("392_HC", "392_2HC", "392_3HC"),
        "mmotu": ("1290", "1291", "1292"),
        "camus": ("patient0033_4CH_ED", "patient0068_4CH_ED"),
        "ddti": ("71", "181", "294", "295", "325"),
    }.items():
        assert len({cluster_of[source, name] for name in names}) == 1
    assert not [pair for pair in found.pairs if pair.first.source != pair.second.source]
