"""Printed numbers as files: how they are read, and how what cannot be read is answered."""

from contextlib import suppress

import pytest
from fake_records import make_ablation, make_record, save_run
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.audit import audit_files
from benchmark.audit.printed import Interval
from benchmark.audit.printed_csv import PrintedError, read_claims, read_tables
from benchmark.report import report
from dataset_builders.errors import UsageError
from dataset_builders.tasks import TASKS

TABLE = "table,partition,method,task,dice,iou\n"
CLAIMS = "id,partition,statement,left,right,metric,paper_difference\n"


def test_a_file_is_read_as_printed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("﻿" + TABLE + "S1,,A,BC, 78.5 ,70\nS1,,A,mean,78.51,69.99\n", "utf-8")
    (row,) = read_tables(path)
    assert row.place == "Table S1"
    assert row.title == "A"
    assert list(row.tasks) == ["BC"]
    assert str(row.cells["BC"]) == "78.50/70.00"  # zeros at the end are lost easily
    assert row.cells["BC"].dice == Interval.around("78.5", 2)
    path.write_text(TABLE + "1,,A,BC,78.5,70\n")
    assert str(read_tables(path)[0].cells["BC"]) == "78.5/70.0"


def test_rounding_is_exact():
    two = [Interval.around("0.10", 2), Interval.around("0.20", 2)]
    assert Interval.mean(two).meets(Interval.around("0.16", 2))  # 0.155 is in both
    assert not Interval.mean(two).meets(Interval.around("0.17", 2))
    assert str(two[1] - two[0]) == "0.10"
    assert (two[1] - two[0]).meets(Interval.around("0.115", 2))  # 0.11 is in both
    assert not (two[1] - two[0]).meets(Interval.around("0.12", 2))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "line 1: no column table, partition"),
        ("table,method,task,dice\n", "line 1: no column partition, iou"),
        (TABLE.replace(",", ";"), "line 1: no column"),
        (TABLE, "nothing below the header"),
        (TABLE + "1,1_4,A,BC,80.00\n", "line 2: 5 values for 6 columns"),
        (TABLE + "1,1_4,A,BC,80.00,70.00\n1,1_4,A,FH,eighty,70\n", "line 3: dice is 'eighty'"),
        (TABLE + "1,1_4,A,BC,80.00,nan\n", "line 2: iou is 'nan'"),
        (TABLE + "1,1_4,A,BC,80.00,\n", "line 2: iou is ''"),
        (TABLE + f"1,1_4,A,BC,80.00,{'9' * 5000}\n", "line 2: iou is '999"),
        (TABLE + "1,1_4,A,BC,100.01,70.00\n", "line 2: dice is 100.01; .* 0 and 100"),
        (TABLE + "1,1_4,A,BC,80.00,-1\n", "line 2: iou is -1; .* 0 and 100"),
        (TABLE + 2 * "1,1_4,A,BC,80.00,70.00\n", "line 3: table 1, A, BC stands above already"),
        (TABLE + "1,1_4,A,BC,0.80,0.70\n", "no number is above 1; write per cent"),
        ("pud," + TABLE + "perhaps,1,1_4,A,BC,80,70\n", "line 2: pud is 'perhaps'"),
        (TABLE + '1,1_4,"A\n', "not a CSV file"),
    ],
)
def test_tables_that_cannot_be_read_name_the_line(tmp_path, lines, message):
    path = tmp_path / "t.csv"
    path.write_text(lines)
    with pytest.raises(PrintedError, match=message) as error:
        audit_files(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (CLAIMS + "c1,1_4,x,A,B,dice,much\n", "line 2: paper_difference is 'much'"),
        (CLAIMS + "c1,1_4,x,A,B,nsd,1.0\n", "line 2: metric is 'nsd'.* dice, iou, hd95"),
        (CLAIMS + 2 * "c1,1_4,x,A,B,dice,1.0\n", "line 3: id 'c1'"),
        (CLAIMS + "c1,1_4,x,A,A,dice,1.0\n", "line 2: left and right are both 'A'"),
        (TABLE, "line 1: no column id, statement"),
    ],
)
def test_claims_that_cannot_be_read_name_the_line(tmp_path, lines, message):
    path = tmp_path / "c.csv"
    path.write_text(lines)
    with pytest.raises(PrintedError, match=message):
        read_claims(path)


def test_files_that_are_no_text_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.csv: no such file"):
        audit_files(tmp_path / "none.csv")
    with pytest.raises(PrintedError, match="not a CSV file"):
        audit_files(tmp_path)
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00table")
    with pytest.raises(PrintedError, match="UTF-8"):
        audit_files(tmp_path / "t.csv")


OWN = "table,partition,metric,method,task,ours,paper\n"


def test_our_own_report_is_read_too(tmp_path):
    """Unrounded as it is, and methods that were not run have no row."""
    save_run(tmp_path, make_record(), 0.8)
    save_run(tmp_path, make_ablation(pud=False, uplc=True), 0.5)
    path = tmp_path / "t.csv"
    report(tmp_path, [3, 6], "csv", path)
    rows = {(row.place, row.title): row for row in read_tables(path)}
    assert list(rows) == [
        ("Table 3 (1/4)", "ProPL"),
        ("Table 6 (1/4)", "ProPL -PuD"),
        ("Table 6 (1/4)", "ProPL"),
    ]
    row = rows["Table 6 (1/4)", "ProPL -PuD"]
    assert (row.method, row.without) == ("ProPL", " -PuD")
    assert row.category == "universal semi-supervised"
    assert list(row.cells) == [*TASKS, "mean"]
    assert str(row.cells["mean"]) == "50.0000/33.3333"


def test_what_is_wrong_in_our_own_report_is_found(tmp_path):
    """All images score alike here, as if the IoU was computed from the Dice; and a mean lies."""
    save_run(tmp_path, make_record(), 0.8)
    path = tmp_path / "t.csv"
    report(tmp_path, [3], "csv", path)
    assert [finding.kind for finding in audit_files(path).findings] == ["identity"]
    text = path.read_text()
    assert "dice,propl,mean,80.0000" in text
    path.write_text(text.replace("dice,propl,mean,80.0000", "dice,propl,mean,80.0002"))
    assert [finding.kind for finding in audit_files(path).findings] == ["identity", "mean"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (OWN + "1,1_4,dice,unet,BC,80,\n", "table 1, U-Net, BC has no IoU; add it"),
        (OWN + 2 * "1,1_4,dice,unet,BC,80,\n", "line 3: table 1, U-Net, BC stands above"),
        (OWN + "1,1_4,dice,unet,BC,,78.55\n", "none of its methods was run"),
        (OWN + "1,1_4,hd95,unet,BC,5.0,\n", "none of its methods was run"),
        (OWN + "1,1_4,dice,unet,BC,801,\n", "line 2: ours is 801; .* 0 and 100"),
    ],
)
def test_a_report_that_cannot_be_audited_says_why(tmp_path, lines, message):
    (tmp_path / "t.csv").write_text(lines)
    with pytest.raises(PrintedError, match=message):
        read_tables(tmp_path / "t.csv")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([TABLE, CLAIMS, OWN, ""]))
def test_no_bytes_end_in_a_traceback(tmp_path_factory, tail, head):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(head.encode() + tail)
    for read in (read_tables, read_claims):
        with suppress(PrintedError):
            read(path)
