"""What `usbench build-data` says at its end."""

import json

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from dataset_builders import phantom


@pytest.fixture
def build_data(tmp_path):
    """Runs it on some synthetic sources, one of them under a wrong name."""
    phantom.write(tmp_path / "raw", images=16, size=64, sources=["udiat", "busi", "hc18"])
    (tmp_path / "raw" / "hc18").rename(tmp_path / "raw" / "HC-18")
    words = ["--raw", tmp_path / "raw", "--out", tmp_path / "data", "--allow-missing"]

    def build_data(*more: str):
        return CliRunner().invoke(app, ["build-data", *map(str, words), *more])

    return build_data


@pytest.fixture
def said(build_data):
    """The lines it prints."""
    done = build_data()
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def test_nothing_but_the_summary_goes_to_stdout(build_data, tmp_path):
    done = build_data()
    assert done.stdout.startswith(f"{tmp_path / 'data'}: content ")
    assert "BC" in done.stderr


def test_a_data_set_that_was_replaced_is_told_with_its_content(build_data, said, tmp_path):
    assert not any("replaced" in line for line in said)
    older = json.loads((tmp_path / "data/manifest.json").read_text())["content_sha256"]
    lines = build_data("--source", "busi").stdout.splitlines()
    assert f"  an older data set there was replaced, content {older[:12]}; " in lines[1]
    (tmp_path / "data/manifest.json").write_text("{}")
    assert "content unknown; " in build_data("--source", "busi").stdout


def test_files_of_others_beside_a_data_set_are_named_and_kept(build_data, said, tmp_path):
    (tmp_path / "data/mynotes.txt").write_text("mine")
    done = build_data()
    assert done.exit_code == 2
    assert "mynotes.txt" in done.stderr
    assert (tmp_path / "data/mynotes.txt").read_text() == "mine"


def test_ctrl_c_ends_in_one_line_that_says_what_is_kept(build_data, said, tmp_path, monkeypatch):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dataset_builders.build.write_id_lists", stop)
    done = build_data()
    assert done.exit_code == 130
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == (
        "stopped; what was there before is kept, and nothing is half-written"
    )
    assert (tmp_path / "data/manifest.json").is_file()


def test_what_no_source_used_is_named(said):
    (line,) = (line for line in said if "not used" in line)
    assert "no source goes by that name: HC-18 (misspelt or misplaced?" in line


def test_every_source_that_lacks_images_has_its_line(said):
    at = said.index("  PARTIAL: BC FH LA LV MD OT TG TN")
    assert said[at + 1 :] == [
        "    lacks busi: 16 of 647 images",
        "    lacks udiat: 16 of 163 images",
        *(f"    lacks {name}: not found" for name in ("hc18", "camus", "hmc_qu", "mmotu")),
        *(f"    lacks {name}: not found" for name in ("tn3k", "tg3k", "ddti")),
    ]
