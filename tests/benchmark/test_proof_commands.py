"""`verify-data`, `diff-data`, `cite` and `build-data --license-filter` as a user sees them."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from benchmark.bench import verify as bench
from benchmark.commands.build_data import build_data
from benchmark.commands.cite import cite
from benchmark.commands.diff_data import diff_data
from benchmark.commands.verify_data import SHOWN, verify_data
from dataset_builders import phantom
from dataset_builders.manifest import MANIFEST
from dataset_builders.parquet import write_shard

BC = "BC/train-00000-of-00001.parquet"

app = typer.Typer(pretty_exceptions_enable=False)
app.command("build-data")(build_data)
app.command("verify-data")(verify_data)
app.command("diff-data")(diff_data)
app.command("cite")(cite)


def usbench(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def data(small_data, tmp_path):
    return Path(shutil.copytree(small_data, tmp_path / "data"))


def spoil(root: Path, count: int) -> list[str]:
    """Give the first images of a shard another hash; their ids."""
    rows = pq.read_table(root / BC).to_pylist()
    for row in rows[:count]:
        row["pixel_sha256"] = "0" * 64
    write_shard(rows, root / BC)
    return [row["id"] for row in rows[:count]]


def test_verify_says_what_was_proven(small_data):
    done = usbench("verify-data", small_data)
    content = json.loads((small_data / MANIFEST).read_text())["content_sha256"]
    assert done.exit_code == 0
    assert "proven, " in done.output
    assert f"images in 16 shards, content {content[:12]}" in done.output


def test_verify_names_image_source_and_step_and_ends_with_one(data):
    (name,) = spoil(data, 1)
    done = usbench("verify-data", data)
    assert done.exit_code == 1
    assert f"pixels    {BC} row 0 {name} (source {name.split('/')[1]})" in done.output
    assert f"file      {BC}" in done.output
    assert "pixels: decoded image against pixel_sha256" in done.output


def test_verify_prints_a_bounded_list_unless_asked_for_all(data):
    spoil(data, SHOWN + 5)
    short, whole = usbench("verify-data", data), usbench("verify-data", data, "--all")
    count = int(short.output.split(" findings")[0].rsplit(" ", 1)[1])
    assert count > SHOWN + 5
    assert f"and {count - SHOWN} more; --all prints them" in short.output
    assert whole.output.count("hashes to") == SHOWN + 5
    assert "more; --all" not in whole.output
    assert short.exit_code == whole.exit_code == 1


def test_verify_tells_what_an_older_manifest_cannot_prove(data):
    manifest = json.loads((data / MANIFEST).read_text())
    del manifest["license_filter"], manifest["provenance_sha256"]
    (data / MANIFEST).write_text(json.dumps(manifest))
    done = usbench("verify-data", data)
    assert done.exit_code == 0
    assert "not proven: what only the manifest knows" in done.output


@pytest.mark.parametrize(
    "command", [("verify-data",), ("diff-data", "here"), ("cite", "--dataset")]
)
def test_no_data_set_is_one_message(tmp_path, command):
    words = [tmp_path if word == "here" else word for word in command]
    done = usbench(*words, tmp_path / "nothing")
    assert done.exit_code == 2
    assert "holds no data set" in done.output
    assert "Traceback" not in done.output


def test_diff_of_equals_ends_with_zero(small_data, data):
    done = usbench("diff-data", small_data, data)
    assert done.exit_code == 0
    assert "equal, by their manifests byte for byte" in done.output


def test_diff_counts_by_task_and_source_and_shows_the_first_ids(small_data, data):
    names = spoil(data, 12)
    done = usbench("diff-data", small_data, data)
    assert done.exit_code == 1
    assert "pixels differ: 12 (BC " in done.output
    assert f"  {names[0]}\n" in done.output
    assert "and 2 more; --all prints them" in done.output
    assert names[11] not in done.output
    assert names[11] in usbench("diff-data", small_data, data, "--all").output


def test_diff_of_another_writer_says_equal_in_content(small_data, data):
    manifest = json.loads((data / MANIFEST).read_text())
    manifest["files"][0]["sha256"] = "0" * 64
    manifest["versions"]["pyarrow"] = "1.0"
    (data / MANIFEST).write_text(json.dumps(manifest))
    done = usbench("diff-data", small_data, data)
    assert done.exit_code == 0
    assert "equal in content, though 1 shards differ in bytes (written by pyarrow " in done.output


def test_cite_prints_the_sources_of_a_data_set_and_no_other(data):
    manifest = json.loads((data / MANIFEST).read_text())
    manifest["tasks"] = {"LA": manifest["tasks"]["LA"]}
    (data / MANIFEST).write_text(json.dumps(manifest))
    done = usbench("cite", "--dataset", data)
    assert done.exit_code == 0
    assert "@article{leclerc2019camus," in done.output
    assert done.output.count("@") == 3  # and ProPL and usbench
    lines = usbench("cite", "--dataset", data, "--format", "text").output.splitlines()
    assert len(lines) == 3


def test_cite_without_data_set_prints_all_sources():
    assert usbench("cite").output.count("\n@") + 1 == 16
    refused = usbench("cite", "--format", "ris")
    assert refused.exit_code == 2
    assert "unknown format 'ris'; choose one of: bibtex, text" in refused.output


def test_build_with_a_licence_filter(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "data"
    phantom.write(raw, images=16, size=64, sources=["busi", "hc18"])
    options = ("build-data", "--raw", raw, "--out", out, "--allow-missing", "--license-filter")
    refused = usbench(*options, "comercial")
    assert refused.exit_code == 2
    assert "unknown licence filter 'comercial' (did you mean 'commercial'?)" in refused.output
    assert not out.exists()
    done = usbench(*options, "commercial")
    assert done.exit_code == 0
    assert "hc18 16" in done.output
    assert "lacks busi: left out by the licence filter 'commercial': none stated" in done.output
    assert usbench("verify-data", out).exit_code == 0


def test_the_bench_prints_the_times_and_their_ratios(small_data, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["verify", str(small_data), "--rounds", "1"])
    bench.main()
    names = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert names == ["OpenCV alone", "Pillow alone", "verify", "verify / OpenCV", "verify / Pillow"]
