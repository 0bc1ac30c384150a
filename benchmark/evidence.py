"""What the test images say of the methods of a table: intervals, tests against the best, ranks.

From runs to the arrays of `statistics` and back. Seeds are no further images: a method's score on
an image is its mean over seeds, and so is its score in a resample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark import statistics
from benchmark.scoring import TaskImages
from benchmark.statistics import ALPHA, FEWEST_GROUPS, Floats
from dataset_builders.tasks import TASKS

MEAN = "mean"  # the column after the tasks

Images = Mapping[str, TaskImages]  # a run's test images by task


class Rank(NamedTuple):
    """A method's rank by its mean over tasks, 1 for the best, and its 95 % interval."""

    rank: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of one method's score in one column."""

    low: float | None  # 95 % interval; None where the groups are too few
    high: float | None
    p_best: float | None  # of the difference to the best, Holm over methods; None: it is the best
    top_group: bool  # the best, or not separated from it; False where it stands alone
    rank: Rank | None = None  # in the mean over tasks


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One metric of M methods on one task, or its mean over tasks; NaN for a method without it."""

    scores: Floats  # (M,)
    resampled: Floats  # (R, M)
    groups: frozenset[str]  # of the images
    units: Floats | None  # (G, M) scores averaged over each group; None for the mean over tasks

    def interval(self) -> tuple[Floats, Floats]:
        """Bounds (M,) of the 95 % interval; NaN where it cannot be had."""
        if len(self.groups) < FEWEST_GROUPS:
            return np.full_like(self.scores, np.nan), np.full_like(self.scores, np.nan)
        return statistics.interval(self.resampled)

    def p_against(self, best: int, other: int, sign: float) -> float:
        """Two-sided p that `best` and `other` do not differ, 1 where the data favour the other.

        Tasks: signed ranks of the groups' differences. Mean over tasks: resamples.
        """
        if self.units is not None:
            return statistics.worse_p(sign * (self.units[:, best] - self.units[:, other]))
        p = statistics.resampling_p(self.resampled[:, best] - self.resampled[:, other])
        return 1.0 if np.isnan(p) else float(p)


def judge(
    methods: Sequence[Sequence[Images]], metric: str, *, higher_is_better: bool
) -> dict[str, list[Estimate | None]]:
    """For every column what is known of each of M methods; None for one without a score.

    Args:
        methods: of each method its runs, one a seed, all on the same test images.
        metric: "dice", "iou" or "hd95".
        higher_is_better: False for distances.
    """
    return {
        name: _estimates(column, higher_is_better=higher_is_better)
        for name, column in columns_of(methods, metric).items()
    }


def columns_of(methods: Sequence[Sequence[Images]], metric: str) -> dict[str, Column]:
    """A column per task that any method has, and the mean if all tasks are there.

    Args:
        methods: of each method its runs, one a seed, on the same test images.
        metric: "dice", "iou" or "hd95".
    """
    owner = np.repeat(np.arange(len(methods)), [len(runs) for runs in methods])
    runs = [images for own in methods for images in own]
    scores, resampled, columns = {}, {}, {}
    for task in TASKS:
        if not (having := [index for index, run in enumerate(runs) if task in run]):
            continue
        top, bottom = _stack([runs[index][task] for index in having], metric)
        groups = runs[having[0]][task].groups
        scores[task] = _spread(statistics.scores_of(top, bottom), having, len(runs))
        resampled[task] = _spread(statistics.resample(top, bottom, groups), having, len(runs))
        values = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
        units = _seed_means(_spread(values, having, len(runs)), owner, len(methods))
        columns[task] = Column(
            _seed_means(scores[task], owner, len(methods)),
            _seed_means(resampled[task], owner, len(methods)),
            frozenset(map(str, groups)),
            statistics.group_means(units, groups),
        )
    if len(columns) == len(TASKS):
        columns[MEAN] = Column(
            _seed_means(np.mean(list(scores.values()), axis=0), owner, len(methods)),
            _seed_means(np.mean(list(resampled.values()), axis=0), owner, len(methods)),
            frozenset().union(*(column.groups for column in columns.values())),
            None,
        )
    return columns


def _estimates(column: Column, *, higher_is_better: bool) -> list[Estimate | None]:
    sign = 1.0 if higher_is_better else -1.0
    present = [int(index) for index in np.flatnonzero(np.isfinite(column.scores))]
    low, high = column.interval()
    ranks = _ranks(column, present, higher_is_better=higher_is_better)
    p_best: dict[int, float] = {}
    top: set[int] = set()
    if len(present) > 1:
        best = max(present, key=lambda index: sign * column.scores[index])
        others = [index for index in present if index != best]
        p = [column.p_against(best, other, sign) for other in others]
        p_best = dict(zip(others, statistics.holm(p), strict=True))
        top = {best} | {other for other in others if p_best[other] >= ALPHA}
    found: list[Estimate | None] = [None] * len(column.scores)
    for index in present:
        bounds = _known(low[index]), _known(high[index])
        found[index] = Estimate(*bounds, p_best.get(index), index in top, ranks.get(index))
    return found


def _ranks(column: Column, present: Sequence[int], *, higher_is_better: bool) -> dict[int, Rank]:
    """Ranks in a column of means, by method; none for one method or without intervals."""
    resampled = column.resampled[:, present]
    known = len(column.groups) >= FEWEST_GROUPS and not np.isnan(resampled).any()
    if column.units is not None or len(present) < 2 or not known:
        return {}
    rank = statistics.ranks(column.scores[present], higher_is_better=higher_is_better)
    low, high = statistics.rank_interval(resampled, higher_is_better=higher_is_better)
    bounds = zip(rank.tolist(), low.tolist(), high.tolist(), strict=True)
    return dict(zip(present, map(Rank._make, bounds), strict=True))


def _stack(images: Sequence[TaskImages], metric: str) -> tuple[Floats, Floats]:
    """Sums above and below (N, C), a column a run."""
    return (
        np.stack([image.top[metric] for image in images], axis=1),
        np.stack([image.bottom[metric] for image in images], axis=1),
    )


def _spread(values: Floats, places: Sequence[int], width: int) -> Floats:
    """Values (..., C) at their places in (..., width), NaN elsewhere."""
    wide = np.full((*values.shape[:-1], width), np.nan)
    wide[..., places] = values
    return wide


def _seed_means(values: Floats, owner: npt.NDArray[np.intp], methods: int) -> Floats:
    """Means (..., M) of values (..., C) over each method's runs that have one."""
    wide = np.full((*values.shape[:-1], methods), np.nan)
    for method in range(methods):
        own = values[..., owner == method]
        found = np.isfinite(own)
        count = found.sum(axis=-1)
        total = np.where(found, own, 0.0).sum(axis=-1)
        np.divide(total, count, out=wide[..., method], where=count > 0)
    return wide


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
