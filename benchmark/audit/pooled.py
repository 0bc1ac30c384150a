"""Rows of a table whose IoU follow from their Dice: pooled over pixels, or computed from it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from benchmark.audit.findings import Finding
from benchmark.audit.printed import Cell, PrintedRow

CHANCE = 1e-6  # matches that are less likely than this are no accident


@dataclass(frozen=True, slots=True)
class Match:
    """A row with IoU = Dice / (2 - Dice)."""

    row: PrintedRow
    equal: Sequence[str]  # tasks where it holds to rounding
    other: Sequence[str]  # at most one where it does not
    chance: float  # probability of so many matches by accident


def find_pooled(rows: Iterable[PrintedRow]) -> list[Match]:
    """Rows in which all task cells match, but for one at most.

    One may miss: not every number was rounded only once.
    """
    return [match for match in map(_match, rows) if len(match.other) <= 1 and match.chance < CHANCE]


def describe(matches: Sequence[Match]) -> Iterator[Finding]:
    """One finding a method, of all tables in which its row matches."""
    by_title: dict[str, list[Match]] = {}
    for match in matches:
        by_title.setdefault(match.row.title, []).append(match)
    for title, own in by_title.items():
        places = ", ".join(match.row.place for match in own)
        cells = sum(len(match.row.tasks) for match in own)
        missed = [(match.row, task) for match in own for task in match.other]
        chance = prod(match.chance for match in own)
        count = f"{cells - len(missed)} of" if missed else "all"
        but = "".join(
            f"; {row.place}, {task}: {row.cells[task]}, not {row.cells[task].least_iou}"
            for row, task in missed
        )
        yield Finding(
            "identity",
            tuple(match.row.table for match in own),
            title,
            tuple(dict.fromkeys(task for match in own for task in match.equal)),
            {"equal": cells - len(missed), "cells": cells, "chance": chance},
            f"{title}, {places}: IoU = Dice / (2 - Dice) to rounding in {count} {cells} task cells "
            f"(by chance: {chance:.0e}){but}.",
        )


def _match(row: PrintedRow) -> Match:
    equal = [task for task, cell in row.tasks.items() if cell.iou.meets(cell.least_iou)]
    chance = _at_least(len(equal), map(_match_by_chance, row.tasks.values()))
    return Match(row, equal, [task for task in row.tasks if task not in equal], chance)


def _match_by_chance(cell: Cell) -> float:
    """If the IoU were any printed number that the Dice allows, all alike."""
    step = cell.iou.high - cell.iou.low
    matching = (cell.least_iou.high - cell.least_iou.low) / step + 1
    allowed = (cell.dice.low - cell.least_iou.low) / step + 1
    return min(1.0, float(matching / allowed))


def _at_least(hits: int, chances: Iterable[float]) -> float:
    """Probability that so many or more of independent events happen."""
    exactly = [1.0]  # 0, 1, 2, ... of the events so far
    for chance in chances:
        less, more = [*exactly, 0.0], [0.0, *exactly]
        exactly = [a * (1 - chance) + b * chance for a, b in zip(less, more, strict=True)]
    return sum(exactly[hits:])
