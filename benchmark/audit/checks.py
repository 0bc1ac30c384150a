"""What arithmetic alone shows about printed tables, without the data behind them.

Any mean over images obeys Dice / (2 - Dice) <= IoU <= Dice. The left side is the IoU of one pair
of masks as a function of its Dice; it is convex, so that a mean IoU lies above the IoU of the mean
Dice (Jensen's inequality). The right side holds image by image.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from benchmark.audit.claimed import check_claim, repeated_numbers
from benchmark.audit.findings import KINDS, REMARKS, Audit, Finding
from benchmark.audit.pooled import describe, find_pooled
from benchmark.audit.printed import MEAN, PRINTED, Claim, Interval, PrintedRow
from benchmark.audit.printed_csv import read_claims, read_tables

FEWEST_TASKS = 3  # of rows that are compared as a whole
FEWEST_DECIMALS = 2  # of cells that do not repeat by chance


def audit_files(tables: Path, claims: Path | None = None) -> Audit:
    """Audit printed tables, and what their paper claims about them.

    Raises:
        PrintedError: a file that is absent or cannot be read; names the line.
    """
    return audit(read_tables(tables), read_claims(claims) if claims else (), str(tables))


def audit(rows: Sequence[PrintedRow], claims: Sequence[Claim] = (), source: str = "") -> Audit:
    """Every finding and remark; pure.

    Args:
        rows: of all tables.
        claims: of the text.
        source: what is audited, for the summary.
    """
    matches = find_pooled(rows)
    pooled = [match.row for match in matches]
    found = [
        *describe(matches),
        *(finding for row in rows if row not in pooled for finding in _bounds(row)),
        *(finding for row in rows for finding in _means(row)),
        *(finding for pair in combinations(rows, 2) for finding in _repeats(*pair)),
        *(finding for claim in claims for finding in check_claim(claim, rows, claims)),
        *repeated_numbers(claims),
    ]
    findings, remarks = (
        [finding for kind in kinds for finding in found if finding.kind == kind]
        for kinds in (KINDS, REMARKS)
    )
    cells = sum(len(row.cells) for row in rows)
    return Audit(source, len(rows), cells, len(claims), findings, remarks)


def _bounds(row: PrintedRow) -> Iterator[Finding]:
    """Cells that no mean over images can have, and those that hardly any can."""
    for task, cell in row.cells.items():
        if cell.iou.below(cell.least_iou):
            kind, limit = "bound", cell.least_iou
            says = f"lies below {limit}, the least of any mean over images with Dice {cell.dice}"
        elif cell.dice.below(cell.iou):
            kind, limit, says = "bound", cell.dice, f"lies above Dice {cell.dice}"
        elif cell.least_iou.below(cell.iou) and cell.dice.meets(cell.iou):
            kind, limit, says = "equal", cell.dice, f"equals Dice {cell.dice}"
        else:
            continue
        yield Finding(
            kind,
            (row.table,),
            row.title,
            (task,),
            {"dice": cell.dice.middle, "iou": cell.iou.middle, "limit": limit.middle},
            f"{row.title}, {row.place}, {task}: IoU {cell.iou} {says}.",
        )


def _means(row: PrintedRow) -> Iterator[Finding]:
    if MEAN not in row.cells or not row.tasks:
        return
    for metric, name in PRINTED.items():
        printed = row.cells[MEAN][metric]
        mean = Interval.mean([cell[metric] for cell in row.tasks.values()])
        if not printed.meets(mean):
            yield Finding(
                "mean",
                (row.table,),
                row.title,
                (MEAN,),
                {"printed": printed.middle, "mean": mean.middle},
                f"{row.title}, {row.place}: mean {name} is printed as {printed}, but that of the "
                f"{len(row.tasks)} tasks is {mean}.",
            )


def _repeats(one: PrintedRow, other: PrintedRow) -> Iterator[Finding]:
    """Rows that are alike in most numbers; failing that, cells of one method that are alike."""
    if (one.partition, one.title) == (other.partition, other.title):
        return  # one run in two tables, such as the whole method beside its ablations
    tasks = [task for task in one.cells if task in other.cells]
    numbers = [(task, metric) for task in tasks for metric in PRINTED]
    differ = [
        (t, metric) for t, metric in numbers if one.cells[t][metric] != other.cells[t][metric]
    ]
    if len(tasks) >= FEWEST_TASKS and 2 * len(differ) < len(numbers):
        yield _repeated_row(one, other, numbers, differ)
    elif one.title == other.title:
        for task in tasks:
            cell = one.cells[task]
            if cell == other.cells[task] and cell.dice.decimals >= FEWEST_DECIMALS:
                yield Finding(
                    "cells",
                    (one.table, other.table),
                    one.title,
                    (task,),
                    {"dice": cell.dice.middle, "iou": cell.iou.middle},
                    f"{one.title}, {one.place} and {other.place}: {task} is {cell} in both.",
                )


def _repeated_row(
    one: PrintedRow,
    other: PrintedRow,
    numbers: Sequence[tuple[str, str]],
    differ: Sequence[tuple[str, str]],
) -> Finding:
    equal = len(numbers) - len(differ)
    says = f"all {equal} numbers are equal"
    if differ:
        but = ", ".join(f"{task} {PRINTED[metric]}" for task, metric in differ)
        says = f"{equal} of {len(numbers)} numbers are equal, all but {but}"
    second = other.place if other.title == one.title else f"{other.title}, {other.place}"
    return Finding(
        "rows",
        (one.table, other.table),
        one.title,
        (),
        {"equal": equal, "numbers": len(numbers)},
        f"{one.title}, {one.place} and {second}: {says}.",
    )
