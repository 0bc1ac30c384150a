import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.audit import audit, audit_files, findings
from benchmark.audit.pooled import _at_least, find_pooled
from benchmark.audit.printed import Cell, Claim, Interval, PrintedRow
from benchmark.audit.printed_csv import PrintedError, read_claims, read_tables
from dataset_builders.errors import UsageError
from dataset_builders.tasks import TASKS

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "results" / "paper"
IMAGES = 200


@pytest.fixture(scope="module")
def paper():
    return audit_files(PAPER / "tables.csv", PAPER / "claims.csv")


def brief(finding):
    return finding.kind, " ".join(finding.tables), finding.method, " ".join(finding.tasks)


# The paper's own tables.


def test_the_papers_tables_show_this_and_no_more(paper):
    every = " ".join(TASKS)
    assert [brief(finding) for finding in paper.findings] == [
        ("identity", "1 2 3", "DoDNet", every),
        ("identity", "1 2 3", "CLIP-UM", every),
        ("bound", "1", "DDFP", "MD"),
        ("bound", "2", "DDFP", "MD"),
        ("bound", "3", "DDFP", "MD"),
        ("rows", "1 3", "DDFP", ""),
        ("rows", "1 2", "CSC-PA", ""),
        ("cells", "1 3", "UniMatch", "OT"),
        ("difference", "2", "ProPL", "mean"),
        ("reversed", "1", "ProPL", "mean"),
        ("reversed", "2", "ProPL", "mean"),
    ]
    dodnet, clip_um, low, lower, _, ddfp, csc_pa, unimatch, passed_over, *ahead = paper.findings
    # one of DoDNet's 24 cells, 77.67/63.47, is 0.01 further off than rounding explains
    assert (dodnet.numbers["equal"], clip_um.numbers["equal"]) == (23, 24)
    assert "Table 3 (1/4), TN: 77.67/63.47, not 63.49" in dodnet.sentence
    assert 0 < dodnet.numbers["chance"] < 1e-50
    assert (low.numbers["iou"], low.numbers["limit"]) == (62.03, pytest.approx(63.24, abs=0.005))
    assert (lower.numbers["iou"], lower.numbers["limit"]) == (
        66.86,
        pytest.approx(67.38, abs=0.005),
    )
    assert (ddfp.numbers["equal"], csc_pa.numbers["equal"], csc_pa.numbers["numbers"]) == (
        15,
        18,
        18,
    )
    assert "all but FH Dice, LA Dice, mean Dice" in ddfp.sentence
    assert unimatch.numbers == {"dice": 67.88, "iou": 55.17}
    assert passed_over.claim == "c8"
    assert passed_over.numbers["difference"] == pytest.approx(1.41)
    assert "not 2.20, which is that to Mamba-UNet (81.15)" in passed_over.sentence
    assert [(f.claim, f.numbers["left"], f.numbers["right"]) for f in ahead] == [
        ("c3", 71.96, 72.65),
        ("c8", 74.83, 75.00),
    ]


def test_what_the_papers_tables_leave_open_is_a_remark(paper):
    assert [(finding.kind, finding.claim) for finding in paper.remarks] == [
        ("equal", ""),
        *(("unchecked", claim) for claim in ("c11", "c16", "c17", "c18")),
    ]
    equal, hd95, prompting, *_ = paper.remarks
    assert (equal.tables, equal.method) == (("4",), "ProPL -PuD -UPLC")
    assert equal.numbers == {"dice": 72.34, "iou": 72.34, "limit": 72.34}
    assert "no HD95" in hd95.sentence
    assert "'ProPL +CLIP-UM prompting'" in prompting.sentence


def test_without_claims_the_tables_are_audited_alone(paper):
    alone = audit_files(PAPER / "tables.csv")
    assert alone.findings == [finding for finding in paper.findings if not finding.claim]
    assert [finding.kind for finding in alone.remarks] == ["equal"]
    assert "claim" not in alone.summary
    assert paper.summary.endswith("675 cells in 75 rows, 18 claims; 11 findings.")


# Tables made by hand. A clean one is printed from scores of simulated images.


def text(value, decimals):
    return f"{value:.{decimals}f}"


def print_row(images, decimals=2, table="1", partition="1_4", method="A", pooled=False, **words):
    """The row of a method whose per-image Dice (T, N), in 0-1, are given, IoU = d / (2 - d)."""
    if pooled:
        dice = images.mean(axis=1)
        iou = dice / (2 - dice)
    else:
        dice, iou = images.mean(axis=1), (images / (2 - images)).mean(axis=1)
    names = [*list(TASKS)[: len(images)], "mean"]
    cells = {
        name: Cell(*(Interval.around(text(100 * value, decimals), decimals) for value in pair))
        for name, *pair in zip(names, [*dice, dice.mean()], [*iou, iou.mean()], strict=True)
    }
    words = {"category": "", "without": "", **words}
    return PrintedRow(table, partition, method, cells=cells, **words)


def simulate(seed, methods=3, concentration=8.0, tasks=8):
    rng = np.random.default_rng(seed)
    means = rng.uniform(0.3, 0.95, (methods, tasks, 1))
    size = (methods, tasks, IMAGES)
    return rng.beta(means * concentration, (1 - means) * concentration, size)


ROWS = [
    print_row(images, table=table, partition=share, method=method)
    for (table, share, method), images in zip(
        product("1", ("1_4",), "ABC"), simulate(1), strict=True
    )
]
ROWS += [
    print_row(images, table="2", partition="1_8", method=m)
    for m, images in zip("ABC", simulate(2), strict=True)
]


def change(row, **cells):
    """The row with some cells printed as `"77.48/62.03"`; the mean is made to fit."""
    new = {task: Cell(*(Interval.around(x, 2) for x in c.split("/"))) for task, c in cells.items()}
    changed = replace(row, cells={**row.cells, **new})
    if "mean" in cells:
        return changed
    means = (Interval.mean([cell[m] for cell in changed.tasks.values()]) for m in ("dice", "iou"))
    mean = Cell(*(Interval.around(f"{interval.middle:.2f}", 2) for interval in means))
    return replace(changed, cells={**changed.cells, "mean": mean})


def kinds(rows, claims=()):
    done = audit(rows, claims)
    return [finding.kind for finding in (*done.findings, *done.remarks)]


def test_a_clean_table_has_no_findings():
    assert kinds(ROWS) == []


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.floats(2, 30), st.integers(1, 3), st.integers(1, 8), st.booleans()
)
def test_means_over_images_never_look_pooled_or_impossible(
    seed, concentration, decimals, tasks, missed
):
    images = simulate(seed, concentration=concentration, tasks=tasks)
    if missed:
        images[:, :, ::10] = 0  # empty predictions
    rows = [print_row(own, decimals, method=m) for m, own in zip("ABC", images, strict=True)]
    assert not {"identity", "bound", "mean"} & set(kinds(rows))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 3), st.integers(3, 8))
def test_pooled_rows_are_always_found(seed, decimals, tasks):
    images = simulate(seed, methods=1, tasks=tasks)[0]
    assert kinds([print_row(images, decimals, pooled=True)]) == ["identity"]


def test_a_pooled_row_may_have_one_other_cell():
    pooled = print_row(simulate(3)[0], pooled=True, method="P")
    one = change(pooled, TN="77.67/63.47")
    (finding,) = audit([*ROWS, one]).findings
    assert brief(finding)[:3] == ("identity", "1", "P")
    assert finding.numbers["equal"] == 7
    assert "in 7 of 8 task cells" in finding.sentence
    assert "TN: 77.67/63.47, not 63.49" in finding.sentence
    assert "identity" not in kinds([change(one, TG="80.00/70.00")])


def test_tables_of_a_method_share_a_finding():
    rows = [
        print_row(images, table=table, partition=table, pooled=True)
        for table, images in zip("123", simulate(4), strict=True)
    ]
    (finding,) = audit(rows).findings
    assert finding.tables == ("1", "2", "3")
    assert finding.numbers["cells"] == finding.numbers["equal"] == 24
    assert "all 24 task cells" in finding.sentence
    alone = [match.chance for match in find_pooled(rows)]
    assert finding.numbers["chance"] == pytest.approx(prod(alone), rel=1e-9)


def test_few_cells_may_match_by_chance():
    images = simulate(5)[0]
    assert kinds([print_row(images[:2], pooled=True)]) == []
    assert kinds([print_row(images[:3], pooled=True)]) == ["identity"]
    # near 100 most numbers between the bounds match
    near = PrintedRow("1", "", "A", "", "", {})
    assert kinds([change(near, BC="99.97/99.94", FH="99.98/99.96", LA="99.96/99.92")]) == []


def test_the_chance_of_so_many_matches_is_exact():
    chances = [0.1, 0.5, 0.9]
    for hits in range(4):
        exact = sum(
            prod(c if hit else 1 - c for c, hit in zip(chances, happened, strict=True))
            for happened in product((0, 1), repeat=3)
            if sum(happened) >= hits
        )
        assert _at_least(hits, chances) == pytest.approx(exact)


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("77.48/62.03", ["bound"]),
        ("80.00/66.66", []),  # 79.995 would allow 66.660
        ("80.00/66.65", ["bound"]),
        ("80.00/79.98", []),
        ("80.00/79.99", ["equal"]),
        ("80.00/80.00", ["equal"]),
        ("80.00/80.01", ["equal"]),
        ("80.00/80.02", ["bound"]),
        ("0.00/0.00", []),
        ("100.00/100.00", []),
    ],
)
def test_the_iou_lies_between_its_bounds(cell, found):
    rows = [change(ROWS[0], MD=cell), *ROWS[1:]]
    assert kinds(rows) == found
    if found:
        done = audit(rows)
        (finding,) = (*done.findings, *done.remarks)
        assert brief(finding) == (found[0], "1", "A", "MD")
        assert cell.split("/")[1] in finding.sentence


@pytest.mark.parametrize(
    ("printed", "found"),
    [("60.00", []), ("60.01", []), ("59.99", []), ("60.02", ["mean"]), ("59.98", ["mean"])],
)
def test_means_may_differ_by_rounding_and_no_more(printed, found):
    """Cells of 60.00 may have a mean up to 60.005, which 60.01 may be as well."""
    cells = dict.fromkeys(("BC", "FH", "LA", "LV"), "60.00/45.00")
    row = change(PrintedRow("1", "", "A", "", "", {}), **cells, mean=f"{printed}/45.00")
    assert kinds([row]) == found
    for finding in audit([row]).findings:
        assert brief(finding) == ("mean", "1", "A", "mean")
        assert f"mean Dice is printed as {printed}" in finding.sentence
        assert "of the 4 tasks is 60.00" in finding.sentence


def test_rows_that_repeat_are_found_whatever_their_method():
    copy = replace(ROWS[0], partition="1_8", table="2")
    assert kinds([ROWS[0], copy]) == ["rows"]
    assert kinds([ROWS[0], replace(ROWS[0], method="B")]) == ["rows"]
    (finding,) = audit([ROWS[0], replace(copy, method="B")]).findings
    assert "A, Table 1 (1/4) and B, Table 2 (1/8): all 18 numbers are equal." in finding.sentence
    # one run, printed beside its ablations as well
    assert kinds([ROWS[0], replace(ROWS[0], table="4")]) == []
    assert kinds([ROWS[0], replace(ROWS[0], table="4", without=" -PuD")]) == ["rows"]


def test_a_row_repeats_if_most_of_its_numbers_do():
    other, tasks = ROWS[3], list(TASKS)
    copied = {task: str(ROWS[0].cells[task]) for task in tasks}
    most = change(other, **dict(list(copied.items())[:5]))
    (finding,) = audit([ROWS[0], most]).findings
    assert finding.numbers == {"equal": 10, "numbers": 18}
    four = change(other, **dict(list(copied.items())[:4]))
    assert kinds([ROWS[0], four]) == ["cells"] * 4
    assert kinds([ROWS[1], four]) == []
    half = change(four, TN=f"{ROWS[0].cells['TN'].dice}/{other.cells['TN'].iou}")
    assert "rows" not in kinds([ROWS[0], half])


def test_a_cell_repeats_only_in_its_own_method_and_both_numbers():
    cell = ROWS[0].cells["OT"]
    assert kinds([*ROWS[:3], change(ROWS[3], OT=str(cell))]) == ["cells"]
    assert kinds([*ROWS[:3], change(ROWS[4], OT=str(cell))]) == []
    assert kinds([*ROWS[:3], change(ROWS[3], TN=str(cell))]) == []
    other_iou = f"{cell.dice}/{cell.iou.middle + 0.01:.2f}"
    assert kinds([*ROWS[:3], change(ROWS[3], OT=other_iou)]) == []


def test_cells_of_one_decimal_may_repeat_by_chance():
    one, other = (print_row(images, 1) for images in simulate(6, methods=2))
    cells = {**other.tasks, "OT": one.cells["OT"]}
    assert kinds([one, replace(other, partition="1_8", cells=cells)]) == []


# Claims.


def duel(*means):
    """Rows of a mean alone, "81.13/71.96", called A, B, C ... of one category."""
    blank = PrintedRow("1", "1_4", "", "kind", "", {})
    return [
        change(replace(blank, method=method), mean=mean)
        for method, mean in zip("ABCDE", means, strict=False)
    ]


def claim(difference, right="B", metric="dice", left="A", partition="1_4", name="c1"):
    stated = Interval.around(difference, len(difference.partition(".")[2]))
    return Claim(name, partition, "A is better", left, right, metric, stated)


@pytest.mark.parametrize(
    ("difference", "metric", "found"),
    [
        ("2.00", "dice", []),
        ("2.01", "dice", []),  # from numbers before rounding
        ("2.02", "dice", ["difference"]),
        ("2", "dice", []),
        ("2.1", "dice", ["difference"]),
        ("3.00", "iou", []),
        ("2.00", "iou", ["difference"]),
        ("-2.00", "dice", ["difference"]),
    ],
)
def test_differences_are_checked_as_printed(difference, metric, found):
    assert kinds(duel("82.00/73.00", "80.00/70.00"), [claim(difference, metric=metric)]) == found


def test_the_best_is_of_a_category_or_of_all_others():
    rows = duel("82.00/73.00", "80.00/70.00", "81.00/70.50")
    rows[2] = replace(rows[2], category="other kind")
    ablation = replace(rows[0], without=" -PuD", cells=duel("81.50/72.00")[0].cells)
    rows.append(ablation)
    assert kinds(rows, [claim("2.00", "best:kind")]) == []
    assert kinds(rows, [claim("1.00", "best:other")]) == []
    assert kinds(rows, [claim("0.50", "A -PuD")]) == []
    (finding,) = audit(rows, [claim("2.00", "best:other")]).findings
    assert finding.numbers == {"left": 82, "right": 81, "difference": 1, "claimed": 2}
    assert "82.00 against 81.00 of C is a difference of 1.00, not 2.00" in finding.sentence
    assert "which is that to B (80.00)" in finding.sentence


def test_a_claim_by_one_metric_is_held_against_the_other():
    rows = duel("82.00/70.00", "80.00/71.00")
    (finding,) = audit(rows, [claim("2.00")]).findings
    assert (finding.kind, finding.claim) == ("reversed", "c1")
    assert "by IoU B is ahead, 71.00 against 70.00" in finding.sentence
    # a claim of its own speaks for the other metric
    assert kinds(rows, [claim("2.00"), claim("-1.00", metric="iou", name="c2")]) == []
    assert kinds(duel("82.00/70.00", "80.00/70.01"), [claim("2.00")]) == []  # within rounding
    assert kinds(duel("80.00/70.00", "82.00/73.00"), [claim("-2.00")]) == []  # both agree


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metric": "hd95"}, "no HD95"),
        ({"right": "Z"}, "no row of this partition is 'Z'"),
        ({"left": "Z"}, "no row of this partition is 'Z'"),
        ({"right": "best:unheard of"}, "'best:unheard of'"),
        ({"partition": "1_16"}, "(at 1/16), “A is better”: no row of this partition is 'A'"),
    ],
)
def test_a_claim_without_its_numbers_cannot_be_checked(changes, reason):
    done = audit(duel("82.00/73.00", "80.00/70.00"), [claim("9.00", **changes)])
    assert done.findings == []
    (remark,) = done.remarks
    assert (remark.kind, remark.claim) == ("unchecked", "c1")
    assert reason in remark.sentence


# Files.

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
        (TABLE + 2 * "1,1_4,A,BC,80.00,70.00\n", "line 3: table 1 has A, BC already"),
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


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([TABLE, CLAIMS, ""]))
def test_no_bytes_end_in_a_traceback(tmp_path_factory, tail, head):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(head.encode() + tail)
    for read in (read_tables, read_claims):
        with suppress(PrintedError):
            read(path)


# What is written.


def test_every_format_has_every_sentence(paper):
    every = [finding.sentence for finding in (*paper.findings, *paper.remarks)]
    for form in findings.FORMATS:
        shown = findings.as_text(paper, form)
        assert shown == findings.as_text(paper, form)
        assert shown.endswith("\n")
        flat = " ".join(shown.split())
        assert all(" ".join(sentence.split()) in flat for sentence in every)
    with pytest.raises(UsageError, match="unknown format 'html'"):
        findings.as_text(paper, "html")


def test_json_holds_the_numbers(paper):
    loaded = json.loads(findings.as_json(paper))
    assert (loaded["rows"], loaded["cells"], loaded["claims"]) == (75, 675, 18)
    assert loaded["findings"][2]["numbers"]["dice"] == 77.48
    assert len(loaded["findings"]) + len(loaded["remarks"]) == 16


@pytest.mark.parametrize("width", [60, 100])
def test_the_terminal_text_fits(paper, width):
    shown = findings.terminal(paper, width, colour=False)
    assert max(map(len, shown.splitlines())) <= width
    assert "\x1b" not in shown
    assert "\x1b[1m" in findings.terminal(paper, width, colour=True)


def test_markdown_shows_letters_as_they_are():
    (row,) = duel("80.00/80.00")
    done = audit([replace(row, method="A_*|`<b>")], source="t.csv")
    assert r"A\_\*\|\`\<b>" in findings.markdown(done)


def test_an_audit_starts_without_torch():
    script = "import sys, benchmark.audit; print({'torch', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
