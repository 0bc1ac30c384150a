"""`usbench report --profiles` and `--claims`: what they read, refuse and leave out."""

import pytest
from fake_records import make_ablation, make_record, save_run
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.profile_report import report
from benchmark.record import RecordError
from benchmark.tables import TableError


@pytest.fixture
def results(tmp_path):
    """ProPL with two seeds and U-Net, which misses an image of every task, at 1/4."""
    save_run(tmp_path, make_record(), 0.8)
    save_run(tmp_path, make_record(seed=1), 0.9)
    save_run(tmp_path, make_record("unet"), 0.6, empty=1)
    return tmp_path


def usbench(*words: object):
    return CliRunner().invoke(app, ["report", *map(str, words)])


def test_methods_of_a_partition_are_compared_under_what_their_rows_allow(results):
    text = report(results)
    assert text.startswith("2 of 21 methods, 1/4 of the training images labelled.\n")
    rows = [line.split() for line in text.splitlines() if line.startswith(("ProPL ", "U-Net "))]
    assert rows[0] == ["ProPL", *["85.00", "(1)"] * 4]  # paper, pooled, medpy, monai
    assert rows[7] == ["U-Net", "0", "0", "8", "8"]  # images that HD95 leaves out
    flat = " ".join(text.split())
    assert "of 32 or 64" in flat  # of one seed and of two
    assert "mean of BC, FH, LA, LV, MD, OT, TG, TN" in flat
    assert "masks beside the records are not here: deepmind, native, mm" in flat
    assert "| ProPL | 85.00 (1) |" in report(results, "md")


def test_ablations_alone_are_no_methods_as_published(tmp_path):
    save_run(tmp_path, make_ablation(pud=False, uplc=True), 0.5)
    with pytest.raises(TableError, match=r"none of the 1 runs .* stands in Tables 1-3"):
        report(tmp_path)
    with pytest.raises(TableError, match="no runs in"):
        report(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["--profiles", "--claims"])
@pytest.mark.parametrize("ending", ["json", "parquet"])
def test_what_cannot_be_read_can_be_left_out(results, kind, ending):
    path = results / "runs" / "unet" / "1_4" / f"seed0.{ending}"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RecordError):
        report(results)
    refused = usbench(kind, "--results", results)
    assert refused.exit_code == 2
    assert str(path) in " ".join(refused.output.split())
    done = usbench(kind, "--results", results, "--keep-going")
    assert done.exit_code == 0
    assert f"Left out: {path}" in done.stderr
    assert "ProPL" in done.stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--profiles", "--claims"], "--claims: not with --profiles"),
        (["--claims", "--profile", "mm"], "--profile mm: not with --claims"),
        (
            ["--profiles", "--html", "x.html", "--table", "3"],
            "--table, --html: not with --profiles",
        ),
        (["--claims", "--figures"], "--figures: not with --claims"),
    ],
)
def test_options_that_would_be_ignored_are_refused(results, words, named):
    done = usbench(*words, "--results", results)
    assert done.exit_code == 2
    assert named in done.output
    assert not (results / "tables").exists()
