"""Printed tables and claims from CSV files, in the form of `results/paper/`."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from benchmark.audit.printed import CLAIMED, Cell, Claim, Interval, PrintedRow
from dataset_builders.errors import UsageError

TABLE_COLUMNS = ("table", "partition", "method", "task", "dice", "iou")
LEFT_OUT = {"pud": " -PuD", "uplc": " -UPLC"}  # columns of ProPL's ablations: "no" if left out
CLAIM_COLUMNS = ("id", "partition", "statement", "left", "right", "metric", "paper_difference")


class PrintedError(UsageError):
    """A file of printed numbers that is absent or cannot be read."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a CSV file that knows where it stands."""

    path: Path
    number: int
    values: Mapping[str, str]  # by column, without blanks around them

    def error(self, message: str) -> PrintedError:
        return PrintedError(f"{self.path}, line {self.number}: {message}")

    def decimal(self, column: str) -> str:
        text = self.values[column]
        if not re.fullmatch(r"[+-]?[0-9]{1,6}(\.[0-9]{1,20})?", text):
            raise self.error(f"{column} is '{text:.30}'; write a decimal number such as 81.13")
        return text

    def per_cent(self, column: str) -> str:
        text = self.decimal(column)
        if not 0 <= Fraction(text) <= 100:
            raise self.error(f"{column} is {text}; per cent lie between 0 and 100")
        return text

    def left_out(self, column: str) -> bool:
        text = self.values.get(column, "")
        if text not in ("", "yes", "no"):
            raise self.error(f"{column} is '{text}'; write yes, no or nothing")
        return text == "no"


def read_tables(path: Path) -> list[PrintedRow]:
    """The rows of printed tables, in the file's order.

    Columns `category`, `pud` and `uplc` may be absent. All numbers count as rounded to the same
    number of decimals, the most that one of them has: files often lose zeros at the end.

    Raises:
        PrintedError: no such file, or not of this form; names the line.
    """
    rows: dict[tuple[str, str, str, str, str], dict[str, list[str]]] = {}
    for line in _lines(path, TABLE_COLUMNS):
        table, partition, method, category, task = (
            line.values.get(name, "")
            for name in ("table", "partition", "method", "category", "task")
        )
        without = "".join(mark for column, mark in LEFT_OUT.items() if line.left_out(column))
        cells = rows.setdefault((table, partition, method, category, without), {})
        if task in cells:
            raise line.error(
                f"table {table} has {method}{without}, {task} already; remove one of the two"
            )
        cells[task] = [line.per_cent("dice"), line.per_cent("iou")]
    texts = [text for cells in rows.values() for cell in cells.values() for text in cell]
    if max(map(Fraction, texts)) <= 1:
        raise PrintedError(f"{path}: no number is above 1; write per cent, 81.13 instead of 0.8113")
    decimals = max(map(_decimals, texts))
    return [
        PrintedRow(
            *names,
            {
                task: Cell(*(Interval.around(text, decimals) for text in cell))
                for task, cell in cells.items()
            },
        )
        for names, cells in rows.items()
    ]


def read_claims(path: Path) -> list[Claim]:
    """Claims, in the file's order; a difference is as exact as it is written.

    Raises:
        PrintedError: no such file, or not of this form; names the line.
    """
    claims: dict[str, Claim] = {}
    for line in _lines(path, CLAIM_COLUMNS):
        name, partition, statement, left, right, metric, _ = (
            line.values[column] for column in CLAIM_COLUMNS
        )
        number = line.decimal("paper_difference")
        difference = Interval.around(number, _decimals(number))
        if metric not in CLAIMED:
            raise line.error(f"metric is '{metric}'; choose one of: {', '.join(CLAIMED)}")
        if left == right:
            raise line.error(f"left and right are both '{left}'; name two rows")
        if name in claims:
            raise line.error(f"id '{name}' stands above already; give each claim its own")
        claims[name] = Claim(name, partition, statement, left, right, metric, difference)
    return list(claims.values())


def _lines(path: Path, needed: Sequence[str]) -> Iterator[_Line]:
    """The lines below the header, if there is one with the columns needed."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if missing := [name for name in needed if name not in header]:
                raise PrintedError(
                    f"{path}, line 1: no column {', '.join(missing)}; the first line must name "
                    f"{', '.join(needed)}, with commas between"
                )
            empty = True
            for values in filter(None, reader):
                empty = False
                named = zip(header, map(str.strip, values), strict=False)
                line = _Line(path, reader.line_num, dict(named))
                if len(values) != len(header):
                    raise line.error(f"{len(values)} values for {len(header)} columns")
                yield line
            if empty:
                raise PrintedError(f"{path}: nothing below the header; add a line per number")
    except FileNotFoundError:
        raise PrintedError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PrintedError(f"{path}: not a CSV file of text in UTF-8 ({error})") from error


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])
