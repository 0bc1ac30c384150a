"""Which runs a figure shows, their scores, and the line below it that says what they are."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmark.evidence import MEAN, Column, columns_of
from benchmark.methods import METHODS
from benchmark.mixture import (
    data_and_protocol,
    method_settings,
    precision_of,
    refuse_mixture,
    refuse_other_images,
)
from benchmark.profiles import Profile
from benchmark.record import load_all
from benchmark.report import score
from benchmark.scoring import TaskImages
from benchmark.statistics import FEWEST_GROUPS, LEVEL, interval
from benchmark.tables import Row, Run
from dataset_builders.errors import UsageError
from dataset_builders.tasks import PARTITIONS, TASKS

SHARES = ("1_16", "1_8", "1_4")  # the paper's partitions, fewest labels first
INTERVALS = (
    f"Whiskers: {LEVEL:.0%} interval over groups of test images, where these are not too few; "
    "as all runs share the images, their differences are surer than whiskers suggest."
)


class LeftOutError(UsageError):
    """The records do not allow a figure; says what would."""


@dataclass(frozen=True, slots=True)
class Score:
    """Dice, or a difference, in per cent: mean over seeds, and its 95 % interval."""

    dice: float
    low: float | None = None  # None where the test images are of too few groups
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Runs:
    """All runs below a folder, scored under one profile."""

    results: Path
    profile: str
    every: Sequence[Run]

    def of_row(self, row: Row, partition: str) -> list[Run]:
        """One run a seed."""
        return [run for run in self.every if run.record.split == partition and row.owns(run.record)]

    def first_of_rows(self, partition: str) -> dict[Row, Run]:
        """Of every method as published the run with the lowest seed, the best method first.

        Methods are ranked by their mean Dice over the tasks that all of these runs have.

        Raises:
            LeftOutError: there is none, or they share no task.
            MixtureError: they cannot be compared.
        """
        own = {row: self.of_row(row, partition) for row in map(Row, METHODS)}
        first = {
            row: min(some, key=lambda run: run.record.seed) for row, some in own.items() if some
        }
        if not first:
            raise LeftOutError(
                f"no run of a method as published at {share(partition)}; make one with "
                f"`usbench run --method propl --split {partition}`"
            )
        refuse_incomparable([[run] for run in first.values()])
        tasks = shared_tasks(first.values())
        if not tasks:
            names = ", ".join(run.record.name for run in first.values())
            raise LeftOutError(f"the runs {names} share no task; run them on the same tasks")

        def mean(row: Row) -> float:
            return fmean(first[row].scores[task].dice for task in tasks)

        return {row: first[row] for row in sorted(first, key=mean, reverse=True)}

    def footer(self, shown: Iterable[Run], *notes: str) -> str:
        """Protocol, labelled shares, seeds, data set and profile of the runs; then notes."""
        records = [run.record for run in shown]
        record, data = records[0], records[0].dataset
        other = "" if record.preset == "paper" else ", not the paper's protocol"
        size = record.protocol.get("size", "?")
        splits = {one.split for one in records}
        seeds = sorted({one.seed for one in records})
        precisions = {precision_of(one) for one in records}
        partial = f", partial in {', '.join(data.partial)}" if data.partial else ""
        parts = (
            f"Preset {record.preset} ({size}×{size} px{other}).",
            f"{', '.join(share(name) for name in PARTITIONS if name in splits)} "
            "of the training images labelled.",
            f"Seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}.",
            f"Precision {', '.join(sorted(precisions))}." if precisions != {"fp32"} else "",
            f"Data set {data.content_sha256[:12]}{partial}.",
            f"Profile {self.profile}.",
            *notes,
        )
        return " ".join(part for part in parts if part)


def load_runs(results: Path, profile: Profile, left_out: Callable[[UsageError], None]) -> Runs:
    """Every run below `results`, scored.

    Args:
        results: folder that holds `runs/`.
        profile: how images are scored.
        left_out: is told of each run that cannot be read.

    Raises:
        LeftOutError: there is none.
    """
    every = []
    for record in load_all(results, left_out):
        try:
            every.append(score(record, results, profile))
        except UsageError as error:
            left_out(error)
    if not every:
        raise LeftOutError(
            f"no run that can be read in {results / 'runs'}; make one with "
            "`usbench run --method propl --split 1_4`, or name another folder with --results"
        )
    return Runs(results, profile.name, every)


def dice_by_image(images: TaskImages) -> dict[str, float]:
    """Dice (0 to 1) by image id, without images that the profile gives no value."""
    scores = zip(images.ids, images.top["dice"], images.bottom["dice"], strict=True)
    return {str(image): float(top / bottom) for image, top, bottom in scores if bottom > 0}


def share(partition: str) -> str:
    """`1/4`, or `all`."""
    return f"1/{PARTITIONS[partition]}" if PARTITIONS[partition] > 1 else "all"


def shared_tasks(runs: Iterable[Run]) -> list[str]:
    """Tasks that all of the runs have."""
    served = [set(run.scores) for run in runs]
    return [task for task in TASKS if all(task in own for own in served)]


def refuse_incomparable(cells: Iterable[Sequence[Run]]) -> None:
    """Raise unless all runs saw the same data under the same protocol.

    Args:
        cells: runs of one method and partition each, which differ in their seeds alone.

    Raises:
        MixtureError: names two that did not, and in what they differ.
    """
    records = [[run.record for run in own] for own in cells]
    refuse_mixture("A figure", [one for own in records for one in own], data_and_protocol)
    for own in records:
        refuse_mixture("One point of a figure", own, method_settings)


def scores_of(cells: Sequence[Sequence[Run]]) -> dict[str, list[Score | None]]:
    """Dice by task, and as "mean" over tasks if all are there; None for a cell without a value.

    Args:
        cells: runs of one method and partition each, which differ in their seeds alone.

    Raises:
        MixtureError: the runs cannot be compared.
    """
    refuse_incomparable(cells)
    refuse_other_images("A figure", ((run.record, run.images) for own in cells for run in own))
    columns = columns_of([[run.images for run in own] for own in cells], "dice")
    return {name: _scores(column) for name, column in columns.items()}


def _scores(column: Column) -> list[Score | None]:
    low, high = column.interval()
    found = zip(*(100 * values for values in (column.scores, low, high)), strict=True)
    return [
        None if np.isnan(dice) else Score(float(dice), _bound(low), _bound(high))
        for dice, low, high in found
    ]


def _bound(value: float) -> float | None:
    """In per cent; resampling knows of no limits, Dice has some."""
    return None if np.isnan(value) else float(np.clip(value, 0, 100))


def difference_of(one: Sequence[Run], other: Sequence[Run]) -> Score | None:
    """Mean Dice over tasks of the first runs minus that of the others, on the same test images."""
    column = columns_of([[run.images for run in own] for own in (one, other)], "dice").get(MEAN)
    if column is None or np.isnan(column.scores).any():
        return None
    gap, drawn = (values[..., 0] - values[..., 1] for values in (column.scores, column.resampled))
    if len(column.groups) < FEWEST_GROUPS:
        return Score(100 * float(gap))
    low, high = interval(drawn)
    return Score(100 * float(gap), 100 * float(low), 100 * float(high))
