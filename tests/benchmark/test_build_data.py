"""What `usbench build-data` says at its end."""

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from dataset_builders import phantom


@pytest.fixture
def said(tmp_path):
    """The lines it prints for some synthetic sources, one of them under a wrong name."""
    phantom.write(tmp_path / "raw", images=16, size=64, sources=["udiat", "busi", "hc18"])
    (tmp_path / "raw" / "hc18").rename(tmp_path / "raw" / "HC-18")
    words = ["--raw", tmp_path / "raw", "--out", tmp_path / "data", "--allow-missing"]
    done = CliRunner().invoke(app, ["build-data", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


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
