"""Printed tables made by hand; a clean one is printed from scores of simulated images."""

from dataclasses import replace
from itertools import product

import numpy as np

from benchmark.audit import audit
from benchmark.audit.printed import Cell, Interval, PrintedRow
from dataset_builders.tasks import TASKS

IMAGES = 200


def brief(finding):
    return finding.kind, " ".join(finding.tables), finding.method, " ".join(finding.tasks)


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


def duel(*means):
    """Rows of a mean alone, "81.13/71.96", called A, B, C ... of one category."""
    blank = PrintedRow("1", "1_4", "", "kind", "", {})
    return [
        change(replace(blank, method=method), mean=mean)
        for method, mean in zip("ABCDE", means, strict=False)
    ]
