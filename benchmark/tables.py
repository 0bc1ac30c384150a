"""The tables of the report, as data: methods down, tasks across, ours beside the paper's.

`Table.cells` is pure: from scored runs and the paper's numbers to cells. What is written around
the cells stands in `captions.py`, how they are printed in `render.py`, and `report.py` joins them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import isnan
from statistics import fmean, stdev

from benchmark.methods import METHODS
from benchmark.paper import Place
from benchmark.profiles import Scores
from benchmark.record import RunRecord
from dataset_builders.errors import UsageError
from dataset_builders.tasks import PARTITIONS, TASKS

MEAN = "mean"  # the column after the tasks
COLUMNS = (*TASKS, MEAN)
DECIMALS = 2  # as the paper prints


class TableError(UsageError):
    """Records that cannot stand in one table, or a table that cannot be made."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One block of a table."""

    key: str  # a field of Scores
    title: str
    unit: str
    scale: float  # from Scores to the unit
    higher_is_better: bool


METRICS = (
    Metric("dice", "Dice", "%", 100.0, higher_is_better=True),
    Metric("iou", "IoU", "%", 100.0, higher_is_better=True),
    Metric("hd95", "HD95", "px", 1.0, higher_is_better=False),
)


@dataclass(frozen=True, slots=True)
class Run:
    """A record and its scores under one profile."""

    record: RunRecord
    scores: Mapping[str, Scores]  # by task

    def value(self, metric: Metric, column: str) -> float | None:
        """In the metric's unit; None where a task is missing or has no value."""
        tasks = TASKS if column == MEAN else (column,)
        scores = [self.scores[task] for task in tasks if task in self.scores]
        if len(scores) < len(tasks):
            return None
        value = metric.scale * fmean(float(getattr(score, metric.key)) for score in scores)
        return None if isnan(value) else value


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one method on one task, or on their mean."""

    values: Mapping[int, float]  # by seed; empty: not run
    paper: float | None
    best: bool = False

    @property
    def mean(self) -> float | None:
        """Over seeds; None where no run gave a value."""
        return fmean(self.values.values()) if self.values else None

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds; None for fewer than two."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


@dataclass(frozen=True, slots=True)
class Row:
    """A method, or ProPL without prompting-upon-decoding (PuD) or calibration (UPLC)."""

    method: str
    pud: bool = True
    uplc: bool = True

    @property
    def without(self) -> str:
        """What is left out: `" -PuD -UPLC"`."""
        return " -PuD" * (not self.pud) + " -UPLC" * (not self.uplc)

    @property
    def title(self) -> str:
        """As printed."""
        return METHODS[self.method].title + self.without

    @property
    def category(self) -> str:
        """The heading it stands under."""
        return METHODS[self.method].category

    def owns(self, record: RunRecord) -> bool:
        """Whether the record is a run of this row: the method as published but for the flags."""
        flags = record.config.get("prompting", True), record.config.get("calibration", True)
        changed = {part.partition("=")[0] for part in record.tag.split(",") if part}
        return (
            record.method == self.method
            and flags == (self.pud, self.uplc)
            and changed <= {"prompting", "calibration"}
        )


Cells = Mapping[Metric, Mapping[Row, Mapping[str, Cell]]]


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the paper."""

    number: int
    partition: str
    title: str
    rows: tuple[Row, ...]

    def row_of(self, record: RunRecord) -> Row | None:
        """The row that prints the record; None if none does."""
        if record.split != self.partition:
            return None
        return next((row for row in self.rows if row.owns(record)), None)

    def select(self, records: Iterable[RunRecord]) -> list[RunRecord]:
        """The records that this table prints.

        Raises:
            TableError: they differ in what all of a table, or all seeds of a row, must share.
        """
        chosen = [record for record in records if self.row_of(record)]
        _refuse_mixture(self, chosen, _table_settings)
        for row in self.rows:
            _refuse_mixture(self, [record for record in chosen if row.owns(record)], _row_settings)
        return chosen

    def by_row(self, runs: Iterable[Run]) -> dict[Row, list[Run]]:
        """The runs of every row, one a seed; an empty list for a row that was not run."""
        grouped: dict[Row, list[Run]] = {row: [] for row in self.rows}
        for run in runs:
            if row := self.row_of(run.record):
                grouped[row].append(run)
        return grouped

    def cells(self, runs: Iterable[Run], paper: Mapping[Place, float]) -> Cells:
        """Every cell, in the order of METRICS, rows and COLUMNS."""
        by_row = self.by_row(runs)
        return {metric: self._block(metric, by_row, paper) for metric in METRICS}

    def _block(
        self, metric: Metric, by_row: Mapping[Row, list[Run]], paper: Mapping[Place, float]
    ) -> Mapping[Row, Mapping[str, Cell]]:
        block: dict[Row, dict[str, Cell]] = {row: {} for row in by_row}
        for column in COLUMNS:
            cells = {
                row: self._cell(metric, row, column, runs, paper) for row, runs in by_row.items()
            }
            best = _best(metric, cells)
            for row, cell in cells.items():
                block[row][column] = replace(cell, best=row in best)
        return block

    def _cell(
        self,
        metric: Metric,
        row: Row,
        column: str,
        runs: Iterable[Run],
        paper: Mapping[Place, float],
    ) -> Cell:
        values = ((run.record.seed, run.value(metric, column)) for run in runs)
        method = METHODS[row.method].title
        place = Place(self.number, method, row.pud, row.uplc, column, metric.key)
        known = {seed: value for seed, value in sorted(values) if value is not None}
        return Cell(known, paper.get(place))


def _best(metric: Metric, column: Mapping[Row, Cell]) -> list[Row]:
    """Rows that share the best printed value; none where fewer than two have one."""
    printed = {
        row: round(cell.mean, DECIMALS) for row, cell in column.items() if cell.mean is not None
    }
    if len(printed) < 2:
        return []
    best = (max if metric.higher_is_better else min)(printed.values())
    return [row for row, value in printed.items() if value == best]


def _table_settings(record: RunRecord) -> dict[str, object]:
    """What all records of a table share."""
    return {
        "dataset.content_sha256": record.dataset.content_sha256[:12],
        "preset": record.preset,
        **{f"protocol.{name}": value for name, value in record.protocol.items()},
    }


def _row_settings(record: RunRecord) -> dict[str, object]:
    """What the seeds of a row share."""
    return {
        "encoder": record.encoder,
        "weights": record.weights,
        "variant": record.variant,
        **{f"config.{name}": value for name, value in record.config.items()},
    }


def _refuse_mixture(
    table: Table,
    records: Sequence[RunRecord],
    settings: Callable[[RunRecord], dict[str, object]],
) -> None:
    for one, other in product(records[:1], records[1:]):
        left, right = settings(one), settings(other)
        for name in left | right:
            if left.get(name) != right.get(name):
                raise TableError(
                    f"Table {table.number} cannot hold both {one.name} and {other.name}: {name} "
                    f"is {left.get(name)!r} in the first, {right.get(name)!r} in the second. Move "
                    "the runs of one kind to another results folder and name it with --results."
                )


_METHODS = tuple(Row(method) for method in METHODS)
_ABLATION = tuple(Row("propl", pud, uplc) for pud in (False, True) for uplc in (False, True))

TABLES = {
    number: Table(
        number,
        partition,
        f"{what}, 1/{PARTITIONS[partition]} of the training images labelled",
        rows,
    )
    for first, what, rows in (
        (1, f"{len(METHODS)} methods", _METHODS),
        (4, "ProPL without its prompting (PuD) or calibration (UPLC)", _ABLATION),
    )
    for number, partition in enumerate(("1_16", "1_8", "1_4"), first)
}
