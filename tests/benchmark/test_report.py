import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_records import IMAGES, make_ablation, make_record, save_run

from benchmark.mixture import MixtureError
from benchmark.record import RecordError, images_of, load, save
from benchmark.report import fill_tables, report, write_all
from benchmark.tables import METRICS, Row, TableError
from dataset_builders.errors import UsageError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def results(tmp_path):
    """ProPL with two seeds and U-Net at 1/4, ProPL without PuD at 1/16."""
    save_run(tmp_path, make_record(), 0.8)
    save_run(tmp_path, make_record(seed=1), 0.9)
    save_run(tmp_path, make_record("unet"), 0.6, empty=1)
    save_run(tmp_path, make_ablation(pud=False, uplc=True, split="1_16"), 0.5)
    return tmp_path


def test_rows_on_disk_become_cells(results):
    (table,) = fill_tables(results, [3])
    dice, iou, hd95 = (table.cells[metric] for metric in METRICS)
    assert dice[Row("propl")]["mean"].mean == pytest.approx(85)
    assert dice[Row("propl")]["BC"].spread == pytest.approx(50**0.5)
    assert iou[Row("propl")]["TN"].values[0] == pytest.approx(100 * 80 / 120)
    assert hd95[Row("propl")]["TN"].mean == 5  # the larger direction
    # a quarter of U-Net's predictions are empty: Dice 0, HD95 the diagonal of 30 x 40 px
    assert dice[Row("unet")]["BC"].mean == pytest.approx(45)
    assert hd95[Row("unet")]["BC"].mean == pytest.approx((3 * 5 + 50) / 4)
    assert f"Empty predictions: U-Net 8 of {8 * IMAGES}." in table.notes


def test_tables_that_have_a_run_are_the_default(results):
    assert [table.table.number for table in fill_tables(results)] == [3, 4, 6]
    assert [table.table.number for table in fill_tables(results, [2, 1])] == [2, 1]


def test_another_profile_scores_the_same_rows_anew(results):
    (table,) = fill_tables(results, [3], "medpy")
    assert table.cells[METRICS[2]][Row("unet")]["BC"].mean == 4.5
    assert f"Images that HD95 leaves out: U-Net 8 of {8 * IMAGES}." in table.notes
    assert "profile medpy" in table.caption


@pytest.mark.parametrize("form", ["terminal", "md", "csv", "latex"])
def test_the_text_returned_is_the_text_written(results, tmp_path, form):
    out = tmp_path / "new" / "tables.txt"
    text = report(results, [3], form, out)
    assert out.read_text(encoding="utf-8") == text == report(results, [3], form)
    assert list(out.parent.iterdir()) == [out]
    assert "85.00" in text
    assert "\x1b" not in text


def test_methods_without_a_run_have_no_row_in_the_terminal_alone(results):
    for form in ("terminal", "md", "csv", "latex"):
        short = report(results, [3], form, only_run=True)
        whole = report(results, [3], form, only_run=False, write=True)
        assert len(short) < len(whole)
        assert report(results, [3], form) == (short if form == "terminal" else whole)
        assert "82.16" in whole  # PSPNet in the paper
        assert "82.16" not in short
    before = (results / "tables" / "table3.md").read_text()
    report(results, [3], only_run=True, write=True)
    assert (results / "tables" / "table3.md").read_text() == before  # files have all


def test_the_terminal_is_as_wide_as_it_says(results, monkeypatch):
    for columns in (80, 130):
        monkeypatch.setenv("COLUMNS", str(columns))
        width = max(map(len, report(results).splitlines()))
        assert columns - 25 < width <= columns


def test_the_same_records_give_the_same_bytes(results, tmp_path_factory):
    paths = write_all(results)
    expected = [f"table{n}.{ending}" for n in (3, 4, 6) for ending in ("md", "csv", "tex")]
    assert [path.name for path in paths] == expected
    assert sorted((results / "tables").iterdir()) == sorted(paths)
    other = tmp_path_factory.mktemp("other")
    save_run(other, make_ablation(pud=False, uplc=True, split="1_16"), 0.5)
    save_run(other, make_record("unet"), 0.6, empty=1)
    save_run(other, make_record(seed=1), 0.9)
    save_run(other, make_record(), 0.8)
    for path, again in zip(paths, write_all(other), strict=True):
        assert path.read_bytes() == again.read_bytes()


def test_a_mixture_in_one_table_leaves_all_files_as_they_were(results):
    before = {path: path.read_bytes() for path in write_all(results)}
    data = replace(make_record().dataset, content_sha256="f" * 64)
    save_run(results, make_record("unet", split="1_16"), 0.1)
    save_run(results, make_record("propl", split="1_16", dataset=data), 0.1)
    with pytest.raises(MixtureError, match=r"propl/1_16/seed0 and unet/1_16/seed0: dataset\."):
        write_all(results)
    with pytest.raises(MixtureError):
        report(results, out=results / "out.md")
    assert {path: path.read_bytes() for path in (results / "tables").iterdir()} == before
    assert not (results / "out.md").exists()
    assert "85.00" in report(results, [3])  # the other tables can still be had


def test_no_runs_say_what_to_run(tmp_path):
    with pytest.raises(TableError, match="usbench run --method propl --split 1_4") as error:
        report(tmp_path)
    assert str(error.value).endswith("with --results")
    save_run(tmp_path / "mini", make_record(), 0.5)
    with pytest.raises(TableError, match=r"with --results \(.*mini holds some\)"):
        report(tmp_path)
    save_run(tmp_path / "other", make_record(), 0.5)
    with pytest.raises(TableError, match=r"\(.*mini and .*other hold some\)"):
        report(tmp_path)
    save_run(tmp_path, make_record(split="full"))
    with pytest.raises(TableError, match="none of the 1 runs stands in Tables 1-6"):
        report(tmp_path)
    assert "No run has been made yet" in " ".join(report(tmp_path, [2]).split())


def test_unknown_names_are_answered_with_the_known(results):
    with pytest.raises(ValueError, match=r"unknown table '7'.* 1, 2, 3, 4, 5, 6"):
        report(results, [7])
    with pytest.raises(ValueError, match=r"unknown format 'html'.* terminal, md, csv, latex"):
        report(results, format="html")
    with pytest.raises(ValueError, match=r"unknown profile 'papers'.* paper, "):
        report(results, profile="papers")


def test_rows_that_are_not_the_records_are_refused(results):
    record = make_record("unet")
    rows = results / "runs" / f"{record.name}.parquet"
    frame = images_of(record, results)
    frame.iloc[1:].to_parquet(rows)
    with pytest.raises(RecordError, match=r"unet/1_4/seed0: .*'BC': 3.* run it again"):
        report(results)
    frame.drop(columns="tp").to_parquet(rows)
    with pytest.raises(RecordError, match=r"unet/1_4/seed0: .*tp"):
        report(results)
    rows.unlink()
    with pytest.raises(RecordError, match="missing"):
        report(results)


def test_rows_of_other_images_are_refused(results):
    record = make_record("unet")
    rows = results / "runs" / f"{record.name}.parquet"
    frame = images_of(record, results)
    frame.assign(id=frame.id.replace("FH2", "FH9")).to_parquet(rows)
    with pytest.raises(MixtureError, match=r"propl/1_4/seed0 and unet.*'FH2' of task FH"):
        report(results)


BROKEN = {
    "another schema": ("json", lambda text: text.replace(b'"schema": 1', b'"schema": 2'), "schema"),
    "cut off": ("json", lambda text: text[:100], "not a run record"),
    "not text": ("json", lambda text: b"\xff\xfe\x00", "not a run record"),
    "rows cut off": ("parquet", lambda text: text[:-100], "is damaged"),
    "rows in pieces": ("parquet", lambda text: b"PAR1" + text[200:], "is damaged"),
    "rows empty": ("parquet", lambda text: b"", "is damaged"),
}


def test_a_remark_beside_the_runs_ends_every_caption(results):
    before = fill_tables(results)
    (results / "remark.txt").write_text("Images were\n  100 % reduced. \n")
    after = fill_tables(results)
    assert len(after) == 3
    assert [f"{table.caption} Images were 100 % reduced." for table in before] == [
        table.caption for table in after
    ]
    for format in ("md", "terminal"):
        text = " ".join(report(results, format=format).split())
        assert text.count("Images were 100 % reduced.") == 3
    assert r"Images were 100 \% reduced." in report(results, format="latex")


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_remark_says_nothing(results, content):
    before = fill_tables(results)
    (results / "remark.txt").write_bytes(content)
    assert fill_tables(results) == before


def test_a_remark_that_is_no_text_is_named(results):
    (results / "remark.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"remark\.txt cannot be read as text .*remove it"):
        fill_tables(results)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_with_a_remedy_and_can_be_left_out(results, capsys, kind):
    ending, broken, message = BROKEN[kind]
    path = results / "runs" / "unet" / "1_4" / f"seed0.{ending}"
    path.write_bytes(broken(path.read_bytes()))
    with pytest.raises(RecordError, match=message) as error:
        report(results, write=True)
    assert str(path) in str(error.value)
    assert "run it again" in str(error.value) or "again with --restart" in str(error.value)
    assert not (results / "tables").exists()
    text = report(results, [3], "md", write=True, keep_going=True)
    assert "| ProPL | resnet34, imagenet | 85.00 |" in text
    assert "| U-Net | — |" in text
    assert f"Left out: {error.value}" in text.replace("\\", "")
    assert capsys.readouterr().err == f"Left out: {error.value}\n"
    assert (results / "tables" / "table3.md").read_text() == text


def test_a_copy_of_a_record_is_named_and_can_be_left_out(results, capsys):
    folder = results / "runs" / "unet" / "1_4"
    (folder / "seed0 (copy).json").write_bytes((folder / "seed0.json").read_bytes())
    with pytest.raises(RecordError, match=r"seed0 \(copy\)\.json: holds the run unet/1_4/seed0"):
        report(results)
    assert "45.00" in report(results, [3], keep_going=True)  # of the record in its place
    assert "seed0 (copy).json" in capsys.readouterr().err


def test_tables_that_cannot_be_made_are_left_out(results, capsys):
    data = replace(make_record().dataset, content_sha256="f" * 64)
    save_run(results, make_record("unet", split="1_16"), 0.1)
    save_run(results, make_record("propl", split="1_16", dataset=data), 0.1)
    tables = fill_tables(results, left_out=(left_out := []))
    assert [table.table.number for table in tables] == [3, 6]
    assert [message[:8] for message in left_out] == ["Table 1 ", "Table 4 "]
    assert all(f"Left out: {left_out[0]}" in table.notes for table in tables)
    assert capsys.readouterr().err == ""


def test_nothing_left_is_an_error_that_says_why(results):
    for path in (results / "runs").glob("*/*/*.json"):
        path.write_text("{}")
    with pytest.raises(TableError, match=r"no runs in .*; left out: .*not a run record"):
        report(results, keep_going=True)


def test_intervals_come_from_the_rows(results):
    rng = np.random.default_rng(0)
    for name in ("propl/1_4/seed0", "propl/1_4/seed1", "unet/1_4/seed0"):
        path = results / "runs" / name
        record = load(path.with_suffix(".json"))
        tasks = {task: replace(entry, test_images=40) for task, entry in record.tasks.items()}
        frame = images_of(record, results)
        frame = pd.concat([frame.assign(id=frame.id + f"/{i}") for i in range(10)])
        frame["tp"] = rng.integers(*((70, 90) if "propl" in name else (40, 60)), len(frame))
        frame["group"] = frame.id
        frame["duplicate_of"] = pd.array(
            ["x" if "BC0" in id else None for id in frame.id], "string"
        )
        save(replace(record, tasks=tasks), frame, results)
    (table,) = fill_tables(results, [3])
    line, other = (table.cells[METRICS[0]][Row(name)] for name in ("propl", "unet"))
    for column in ("TN", "mean"):
        assert line[column].low < line[column].mean < line[column].high
        assert line[column].best
        assert not other[column].best
        assert other[column].p_best < 0.001 or column == "mean"
    assert line["BC"].clean != line["BC"].mean
    assert line["TN"].clean is None
    note = "clean: without test images that have a duplicate in the data set (BC 10 of 40)."
    assert note in table.notes


def test_a_protocol_without_a_setting_is_named(results):
    save_run(results, make_record("unet", split="1_8", protocol={"size": 224}))
    with pytest.raises(TableError, match="unet/1_8/seed0: its protocol lacks '"):
        report(results)


def test_reports_start_without_torch_and_numba():
    script = "import sys, benchmark.report; print({'torch', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
