"""What arithmetic finds in tables made by hand."""

from dataclasses import replace
from itertools import product
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from printed_rows import ROWS, brief, change, kinds, print_row, simulate

from benchmark.audit import audit
from benchmark.audit.pooled import _at_least, find_pooled
from benchmark.audit.printed import PrintedRow
from dataset_builders.tasks import TASKS


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
