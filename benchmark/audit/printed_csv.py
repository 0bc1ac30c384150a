"""Tables and claims from CSV files: printed ones as in `results/paper/`, and our own report's."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from benchmark.audit.printed import CLAIMED, PRINTED, Cell, Claim, Interval, PrintedRow
from benchmark.methods import METHODS
from dataset_builders.errors import UsageError

TABLE_COLUMNS = ("table", "partition", "method", "task", *PRINTED)
OWN_COLUMNS = ("table", "partition", "metric", "method", "task", "ours")  # of our report's CSV
LEFT_OUT = {"pud": " -PuD", "uplc": " -UPLC"}  # columns of ProPL's ablations: "no" if left out
CLAIM_COLUMNS = ("id", "partition", "statement", "left", "right", "metric", "paper_difference")


class PrintedError(UsageError):
    """A file of printed numbers that is absent or cannot be read."""


class _Names(NamedTuple):
    """What tells one row from another; see `PrintedRow`."""

    table: str
    partition: str
    method: str
    category: str
    without: str

    def place(self, task: str) -> str:
        """`table 1, ProPL -PuD, BC`."""
        return f"table {self.table}, {self.method}{self.without}, {task}"


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

    def numbers(self) -> dict[str, str]:
        """Dice and IoU; of our report, whose lines have one metric each, that one if it was run."""
        if not self._is_ours:
            return {metric: self.per_cent(metric) for metric in PRINTED}
        run = self.values["metric"] in PRINTED and self.values["ours"]
        return {self.values["metric"]: self.per_cent("ours")} if run else {}

    def names(self) -> _Names:
        """Of the row it belongs to; our report has names of `METHODS` with what is left out."""
        table, partition, method, category = (
            self.values.get(name, "") for name in ("table", "partition", "method", "category")
        )
        without = "".join(mark for column, mark in LEFT_OUT.items() if self.left_out(column))
        if self._is_ours:
            method, blank, parts = method.partition(" ")
            without = blank + parts
            if entry := METHODS.get(method):
                method, category = entry.title, entry.category
        return _Names(table, partition, method, category, without)

    @property
    def _is_ours(self) -> bool:
        return {"metric", "ours"} <= self.values.keys()

    def left_out(self, column: str) -> bool:
        text = self.values.get(column, "")
        if text not in ("", "yes", "no"):
            raise self.error(f"{column} is '{text}'; write yes, no or nothing")
        return text == "no"


def read_tables(path: Path) -> list[PrintedRow]:
    """The rows of printed tables, in the file's order; of our report's CSV those that were run.

    Columns `category`, `pud` and `uplc` may be absent. All numbers count as rounded to the same
    number of decimals, the most that one of them has: files often lose zeros at the end.

    Raises:
        PrintedError: no such file, or not of this form; names the line.
    """
    rows = _numbers(path)
    texts = [text for row in rows.values() for cell in row.values() for text in cell.values()]
    if not texts:
        raise PrintedError(f"{path}: none of its methods was run; there is nothing to audit")
    if max(map(Fraction, texts)) <= 1:
        raise PrintedError(f"{path}: no number is above 1; write per cent, 81.13 instead of 0.8113")
    decimals = max(map(_decimals, texts))
    return [
        PrintedRow(
            *names,
            {
                task: Cell(*(Interval.around(cell[metric], decimals) for metric in PRINTED))
                for task, cell in row.items()
            },
        )
        for names, row in rows.items()
    ]


def _numbers(path: Path) -> dict[_Names, dict[str, dict[str, str]]]:
    """Of every row, by task and metric; as written."""
    rows: dict[_Names, dict[str, dict[str, str]]] = {}
    for line in _lines(path, TABLE_COLUMNS, OWN_COLUMNS):
        if numbers := line.numbers():
            names, task = line.names(), line.values["task"]
            cell = rows.setdefault(names, {}).setdefault(task, {})
            if cell.keys() & numbers.keys():
                raise line.error(f"{names.place(task)} stands above already; remove one of the two")
            cell.update(numbers)
    for names, row in rows.items():
        for task, cell in row.items():
            if lacking := [name for metric, name in PRINTED.items() if metric not in cell]:
                raise PrintedError(f"{path}: {names.place(task)} has no {lacking[0]}; add it")
    return rows


def read_claims(path: Path) -> list[Claim]:
    """Claims, in the file's order; a number is as exact as it is written.

    Without a right side, `paper_difference` is the score of the left one.

    Raises:
        PrintedError: no such file, or not of this form; names the line.
    """
    claims: dict[str, Claim] = {}
    for line in _lines(path, CLAIM_COLUMNS):
        name, partition, statement, left, right, metric, _ = (
            line.values[column] for column in CLAIM_COLUMNS
        )
        number = line.decimal("paper_difference")
        stated = Interval.around(number, _decimals(number))
        if metric not in CLAIMED:
            raise line.error(f"metric is '{metric}'; choose one of: {', '.join(CLAIMED)}")
        if left == right:
            raise line.error(f"left and right are both '{left}'; name two rows")
        if name in claims:
            raise line.error(f"id '{name}' stands above already; give each claim its own")
        claims[name] = Claim(name, partition, statement, left, right, metric, stated)
    return list(claims.values())


def _lines(path: Path, *forms: Sequence[str]) -> Iterator[_Line]:
    """The lines below the header, if it has the columns of one of the forms."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            missing = [[name for name in form if name not in header] for form in forms]
            if all(missing):
                raise PrintedError(
                    f"{path}, line 1: no column {', '.join(missing[0])}; the first line must name "
                    f"{', '.join(forms[0])}, with commas between"
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
