"""The tables of the report, as data: methods down, tasks across, ours beside the paper's.

`Table.cells` is pure: from scored runs and the paper's numbers to cells. What is written around
the cells stands in `captions.py`, how they are printed in `render.py`, and `report.py` joins them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isnan
from statistics import fmean, stdev

from benchmark import evidence
from benchmark.evidence import Estimate, Rank
from benchmark.methods import METHODS
from benchmark.mixture import (
    data_and_protocol,
    method_settings,
    refuse_mixture,
    refuse_other_images,
)
from benchmark.paper import Place
from benchmark.profiles import Scores
from benchmark.record import RunRecord
from benchmark.scoring import TaskImages
from benchmark.settings import setting_today
from dataset_builders.errors import UsageError
from dataset_builders.tasks import PARTITIONS, TASKS

MEAN = evidence.MEAN
COLUMNS = (*TASKS, MEAN)
DECIMALS = 2  # as the paper prints


class TableError(UsageError):
    """A table that cannot be made."""


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


def metrics_in(hd95_unit: str) -> tuple[Metric, ...]:
    """METRICS with the unit that a profile gives HD95."""
    return tuple(
        replace(metric, unit=hd95_unit) if metric.key == "hd95" else metric for metric in METRICS
    )


@dataclass(frozen=True, slots=True)
class Run:
    """A record and its scores under one profile."""

    record: RunRecord
    scores: Mapping[str, Scores]  # by task
    images: Mapping[str, TaskImages] = field(default_factory=dict)  # by task

    def value(self, metric: Metric, column: str) -> float | None:
        """In the metric's unit; None where a task is missing or has no value."""
        tasks = _tasks_of(column)
        scores = [self.scores[task] for task in tasks if task in self.scores]
        if len(scores) < len(tasks):
            return None
        return _in_unit(metric, fmean(float(getattr(score, metric.key)) for score in scores))

    def clean(self, metric: Metric, column: str) -> float | None:
        """As `value`, without images that have a duplicate; None where none has, or none tells."""
        images = [self.images.get(task) for task in _tasks_of(column)]
        told = [own for own in images if own is not None and own.duplicate is not None]
        if len(told) < len(images) or not any(own.duplicates for own in told):
            return None
        return _in_unit(metric, fmean(own.score(metric.key, clean=True) for own in told))


def _tasks_of(column: str) -> tuple[str, ...]:
    return tuple(TASKS) if column == MEAN else (column,)


def _in_unit(metric: Metric, value: float) -> float | None:
    return None if isnan(value) else metric.scale * value


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one method on one task, or on their mean."""

    values: Mapping[int, float]  # by seed; empty: not run
    paper: float | None
    low: float | None = None  # 95 % interval of the mean over seeds, over test images;
    high: float | None = None  # None where there are too few independent groups of them
    p_best: float | None = None  # of the difference to the column's best, Holm; None: it is
    top_group: bool = False  # the column's best, and all that the test cannot separate from it
    best: bool = False  # printed in bold: top group of a column where the test separates some
    clean: float | None = None  # the mean without images that have a duplicate; None: none has
    rank: Rank | None = None  # in the column of means

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
    """A method, or ProPL with another prompting or noise, or without calibration (UPLC)."""

    method: str
    prompting: str = "pud"
    uplc: bool = True
    noise: str = "dropout"

    @property
    def pud(self) -> bool:
        """Whether ProPL has its own prompting upon decoding."""
        return self.prompting == "pud"

    @property
    def without(self) -> str:
        """What is left out or exchanged: `" -PuD -UPLC"`, `" +Gaussian noise"`."""
        prompting, noise = _PROMPTINGS[self.prompting], _NOISES[self.noise]
        return prompting + " -UPLC" * (not self.uplc) + noise

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
        return record.method == self.method and _changes(record) == self.changes

    @property
    def changes(self) -> dict[str, str]:
        """From the method as published, as in a record's tag."""
        flags = {"prompting": self.prompting, "noise": self.noise, "uplc": str(self.uplc).lower()}
        usual = {"prompting": "pud", "noise": "dropout", "uplc": "true"}
        return {name: value for name, value in flags.items() if value != usual[name]}


def _changes(record: RunRecord) -> dict[str, str]:
    parts = [part.partition("=") for part in record.tag.split(",") if part]
    return dict(setting_today(name, value) for name, _, value in parts)


_PROMPTINGS = {
    "pud": "",
    "none": " -PuD",
    "clip_um": " +CLIP-UM prompting",
    "dodnet": " +DoDNet prompting",
}
_NOISES = {"dropout": "", "gaussian": " +Gaussian noise"}


Cells = Mapping[Metric, Mapping[Row, Mapping[str, Cell]]]


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the paper."""

    number: int
    partition: str
    title: str
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """As the paper has it."""
        return f"Table {self.number}"

    def row_of(self, record: RunRecord) -> Row | None:
        """The row that prints the record; None if none does."""
        if record.split != self.partition:
            return None
        return next((row for row in self.rows if row.owns(record)), None)

    def select(self, records: Iterable[RunRecord]) -> list[RunRecord]:
        """The records that this table prints.

        Raises:
            MixtureError: they differ in what all of a table, or all seeds of a row, must share.
        """
        chosen = [record for record in records if self.row_of(record)]
        refuse_mixture(self.name, chosen, data_and_protocol)
        for row in self.rows:
            own = [record for record in chosen if row.owns(record)]
            refuse_mixture(self.name, own, method_settings)
        return chosen

    def by_row(self, runs: Iterable[Run]) -> dict[Row, list[Run]]:
        """The runs of every row, one a seed; an empty list for a row that was not run."""
        grouped: dict[Row, list[Run]] = {row: [] for row in self.rows}
        for run in runs:
            if row := self.row_of(run.record):
                grouped[row].append(run)
        return grouped

    def cells(
        self,
        runs: Iterable[Run],
        paper: Mapping[Place, float],
        metrics: Sequence[Metric] = METRICS,
    ) -> Cells:
        """Every cell, in the order of metrics, rows and COLUMNS.

        Raises:
            MixtureError: the runs scored different test images.
        """
        runs = list(runs)
        refuse_other_images(self.name, ((run.record, run.images) for run in runs))
        by_row = self.by_row(runs)
        return {metric: self._block(metric, by_row, paper) for metric in metrics}

    def _block(
        self, metric: Metric, by_row: Mapping[Row, list[Run]], paper: Mapping[Place, float]
    ) -> Mapping[Row, Mapping[str, Cell]]:
        block: dict[Row, dict[str, Cell]] = {row: {} for row in by_row}
        judged = _judge(metric, by_row)
        for column in COLUMNS:
            estimates = judged.get(column, {})
            separated = any(not own.top_group for own in estimates.values())
            for row, runs in by_row.items():
                cell = self._cell(metric, row, column, runs, paper)
                if row in estimates:
                    cell = _with(cell, metric, estimates[row], separated=separated)
                block[row][column] = cell
        return block

    def _cell(
        self,
        metric: Metric,
        row: Row,
        column: str,
        runs: Iterable[Run],
        paper: Mapping[Place, float],
    ) -> Cell:
        values = {run.record.seed: run.value(metric, column) for run in runs}
        clean = [value for run in runs if (value := run.clean(metric, column)) is not None]
        method = METHODS[row.method].title
        place = Place(self.number, method, row.pud, row.uplc, column, metric.key)
        known = {seed: value for seed, value in sorted(values.items()) if value is not None}
        return Cell(known, paper.get(place), clean=fmean(clean) if clean else None)


def _judge(metric: Metric, by_row: Mapping[Row, list[Run]]) -> dict[str, dict[Row, Estimate]]:
    """By column, then row; rows without a score are left out."""
    images = [[run.images for run in runs] for runs in by_row.values()]
    judged = evidence.judge(images, metric.key, higher_is_better=metric.higher_is_better)
    return {
        column: {row: own for row, own in zip(by_row, estimates, strict=True) if own}
        for column, estimates in judged.items()
    }


def _with(cell: Cell, metric: Metric, estimate: Estimate, *, separated: bool) -> Cell:
    return replace(
        cell,
        low=_bound(metric, estimate.low),
        high=_bound(metric, estimate.high),
        p_best=estimate.p_best,
        top_group=estimate.top_group,
        best=estimate.top_group and separated,
        rank=estimate.rank,
    )


def _bound(metric: Metric, value: float | None) -> float | None:
    """In the metric's unit; resampling knows of no limits, scores have some."""
    if value is None:
        return None
    highest = 100.0 if metric.unit == "%" else inf
    return min(max(metric.scale * value, 0.0), highest)


_METHODS = tuple(Row(method) for method in METHODS)
_ABLATION = tuple(Row("propl", own, uplc) for own in ("none", "pud") for uplc in (False, True))
# in no table of the paper, but in its text and Figure 2
IN_TEXT = (
    Row("propl", prompting="clip_um"),
    Row("propl", prompting="dodnet"),
    Row("propl", noise="gaussian"),
)

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
