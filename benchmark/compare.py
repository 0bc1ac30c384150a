"""`usbench compare`: the difference of two methods on the same test images, and how sure it is."""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table as Grid
from rich.text import Text

from benchmark import statistics
from benchmark.captions import MISSING, few_groups, protocol
from benchmark.evidence import MEAN, Column, columns_of
from benchmark.methods import METHODS
from benchmark.mixture import (
    data_and_protocol,
    method_settings,
    precision_of,
    refuse_mixture,
    refuse_other_images,
)
from benchmark.profiles import PROFILES, Profile
from benchmark.protocol import SPLITS
from benchmark.record import RunRecord, load_all
from benchmark.render import markdown_row, to_screen
from benchmark.report import score
from benchmark.settings import choose
from benchmark.statistics import ALPHA, FEWEST_GROUPS, LEVEL, RESAMPLES, Floats
from benchmark.tables import Metric, Row, Run, metrics_in
from dataset_builders.errors import UsageError
from dataset_builders.tasks import PARTITIONS, TASKS

FORMATS = ("terminal", "md")
NARROWEST = 108  # characters; longer names of methods still fit
DIFFERENCE = 5  # the column that is bold where the methods are told apart
HEADINGS = ("difference", f"{LEVEL:.0%} interval", "p", "Holm", "P(false)")


class CompareError(UsageError):
    """Two methods that cannot be compared."""


@dataclass(frozen=True, slots=True)
class Difference:
    """First method minus second, one metric on one task or on the mean over tasks."""

    images: int
    groups: int
    first: float  # in the metric's unit, as the next two
    second: float
    bounds: tuple[float, float] | None  # 95 % interval; None where the groups are too few
    p: float  # two-sided: of signed ranks in a task, of resamples in the mean
    holm: float | None  # corrected over the tasks; None for the mean, a family of its own
    false_claim: float  # that the method with the better score is not the better one

    @property
    def difference(self) -> float:
        """First minus second."""
        return self.first - self.second

    @property
    def separated(self) -> bool:
        """Whether the corrected test and the interval both tell the methods apart.

        The test is of ranks, the interval of means: a few images can turn one against the other.
        """
        p = self.p if self.holm is None else self.holm
        return p < ALPHA and (self.bounds is None or self.bounds[0] * self.bounds[1] > 0)


Differences = Mapping[Metric, Mapping[str, Difference]]  # by task, in order, then "mean"


def compare(
    results: Path,
    first: str,
    second: str,
    split: str,
    profile: str = "paper",
    format: str = "terminal",
) -> str:
    """Differences of two methods' scores per task and over tasks, as text.

    Args:
        results: folder that holds `runs/`.
        first: name of a method.
        second: name of another.
        split: labelled share, such as "1_16".
        profile: how images are scored, one of `benchmark.profiles.PROFILES`.
        format: one of FORMATS.

    Raises:
        UsageError: an unknown name, a method that was not run, or runs that cannot be compared
            because they differ in data, protocol or test images.
    """
    choose("format", format, FORMATS)
    scored_by = PROFILES[choose("profile", profile, PROFILES)]
    names = [choose("method", name, METHODS) for name in (first, second)]
    if first == second:
        raise CompareError(f"'{first}' was given twice; name two methods")
    records = list(load_all(results))
    chosen = [_records(records, name, choose("split", split, SPLITS), results) for name in names]
    refuse_mixture("A comparison", [*chosen[0], *chosen[1]], data_and_protocol)
    for own in chosen:
        refuse_mixture("A comparison", own, method_settings)
    runs = [[score(record, results, scored_by) for record in own] for own in chosen]
    refuse_other_images("A comparison", ((run.record, run.images) for own in runs for run in own))
    found = differences(runs, scored_by)
    title = f"{_title(first)} minus {_title(second)}, {_share(split)}."
    text = [title, *_words(chosen, scored_by)], found, [*_notes(found, chosen)]
    titles = _title(first), _title(second)
    return (_markdown if format == "md" else _terminal)(*text, titles)


def _records(
    records: Sequence[RunRecord], method: str, split: str, results: Path
) -> list[RunRecord]:
    """The method's runs at a split as its paper has it, one a seed."""
    own = [record for record in records if record.split == split and Row(method).owns(record)]
    if not own:
        run = sorted({record.method for record in records if record.split == split})
        raise CompareError(
            f"{method} has no run at split {split} in {results / 'runs'} (which has there: "
            f"{', '.join(run) or 'none'}); make one with "
            f"`usbench run --method {method} --split {split}`"
        )
    return own


def differences(runs: Sequence[Sequence[Run]], profile: Profile) -> Differences:
    """Every difference of two methods, each given by its runs, one a seed; pure.

    Raises:
        CompareError: the two have no task in common.
    """
    images = [[run.images for run in own] for own in runs]
    counts = {task: len(own.ids) for one in images for run in one for task, own in run.items()}
    found: dict[Metric, dict[str, Difference]] = {}
    for metric in metrics_in(profile.unit):
        columns = {
            name: column
            for name, column in columns_of(images, metric.key).items()
            if np.isfinite(column.scores).all()
        }
        p = {name: _p(column) for name, column in columns.items()}
        tasks = [name for name in columns if name != MEAN]
        corrected = dict(zip(tasks, statistics.holm([p[task] for task in tasks]), strict=True))
        found[metric] = {
            name: Difference(
                images=counts.get(name, sum(counts.values())),
                groups=len(column.groups),
                first=metric.scale * float(column.scores[0]),
                second=metric.scale * float(column.scores[1]),
                bounds=_bounds(metric, column),
                p=p[name],
                holm=corrected.get(name),
                false_claim=_false_claim(metric, column),
            )
            for name, column in columns.items()
        }
    if not any(found.values()):
        raise CompareError("the two methods have no task in common; run both on one, with --task")
    return found


def _p(column: Column) -> float:
    if column.units is not None:
        return statistics.signed_rank_p(column.units[:, 0] - column.units[:, 1])
    p = float(statistics.resampling_p(column.resampled[:, 0] - column.resampled[:, 1]))
    return 1.0 if isnan(p) else p


def _bounds(metric: Metric, column: Column) -> tuple[float, float] | None:
    low, high = statistics.interval(column.resampled[:, 0] - column.resampled[:, 1])
    if len(column.groups) < FEWEST_GROUPS or np.isnan(low):
        return None
    return metric.scale * float(low), metric.scale * float(high)


def _false_claim(metric: Metric, column: Column) -> float:
    """For a task from its groups; for the mean, whose tasks share groups, from the resamples."""
    sign = 1.0 if metric.higher_is_better else -1.0
    better = int(np.argmax(sign * column.scores))
    if column.units is not None:
        units: Floats = sign * column.units
        return statistics.false_claim(units[:, better], units[:, 1 - better])
    drawn = sign * (column.resampled[:, better] - column.resampled[:, 1 - better])
    return float(statistics.posterior_below(drawn))


# Words


def _title(method: str) -> str:
    return METHODS[method].title


def _share(split: str) -> str:
    share = PARTITIONS[split]
    return f"{f'1/{share}' if share > 1 else 'all'} of the training images labelled"


def _words(chosen: Sequence[Sequence[RunRecord]], profile: Profile) -> Iterator[str]:
    record = chosen[0][0]
    yield protocol(record)
    yield f"Scores: profile {profile.name}, {profile.description}."
    yield " ".join(map(_setup, chosen))
    partial = f", partial: {', '.join(record.dataset.partial)}" if record.dataset.partial else ""
    yield f"Dataset {record.dataset.content_sha256[:12]}{partial}."


def _setup(own: Sequence[RunRecord]) -> str:
    """How a method's runs were made, one a seed."""
    first, precision = own[0], precision_of(own[0])
    return (
        f"{_title(first.method)}: encoder {first.encoder or 'own'}, weights {first.weights}, "
        + f"precision {precision}, " * (precision != "fp32")
        + f"seed {', '.join(str(run.seed) for run in own)}."
    )


def _notes(found: Differences, chosen: Sequence[Sequence[RunRecord]]) -> Iterator[str]:
    yield (
        f"Interval: percentiles of {RESAMPLES} Bayesian bootstrap resamples of the groups "
        "(patients, exams, videos), paired. p: two-sided; Wilcoxon signed-rank of the groups' "
        "mean differences, in the mean over tasks from the resamples. Holm: over the tasks of a "
        f"metric. Bold: p below {ALPHA}, corrected in the tasks, and an interval without 0."
    )
    yield (
        "P(false): probability that it is wrong to call the method with the better score the "
        "better one (arXiv:2505.04720), its pairs being groups."
    )
    if any(len(own) > 1 for own in chosen):
        yield "Seeds: an image's score is its mean over them; they are no further images."
    tasks = {name: own for block in found.values() for name, own in block.items() if name != MEAN}
    mean = any(MEAN in block and block[MEAN].bounds is not None for block in found.values())
    if few := few_groups({task: own.groups for task, own in tasks.items()}, mean=mean):
        yield few
    if absent := [task for task in TASKS if task not in tasks]:
        yield f"Not run by both, so without a mean: {', '.join(absent)}."


# Text


def _headings(metric: Metric, titles: tuple[str, str]) -> tuple[str, ...]:
    return (f"{metric.title} ({metric.unit})", "images", "groups", *titles, *HEADINGS)


def _cells(name: str, own: Difference) -> list[str]:
    return [
        *(name, str(own.images), str(own.groups), f"{own.first:.2f}", f"{own.second:.2f}"),
        f"{own.difference:+.2f}",
        MISSING if own.bounds is None else "{:+.2f} to {:+.2f}".format(*own.bounds),
        _probability(own.p),
        "" if own.holm is None else _probability(own.holm),
        _probability(own.false_claim),
    ]


def _probability(value: float) -> str:
    return MISSING if isnan(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def _terminal(
    words: Sequence[str], found: Differences, notes: Sequence[str], titles: tuple[str, str]
) -> str:
    parts: list[RenderableType] = [Text(" ".join(words) + "\n")]
    for metric, block in found.items():
        grid = Grid(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for index, heading in enumerate(_headings(metric, titles)):
            grid.add_column(heading, justify="right" if index else "left", no_wrap=True)
        for name, own in block.items():
            cells = [Text(cell) for cell in _cells(name, own)]
            cells[DIFFERENCE].stylize("bold" * own.separated)
            grid.add_row(*cells)
        parts += [grid, ""]
    parts += [Text(note, style="dim") for note in notes]
    width = shutil.get_terminal_size(fallback=(NARROWEST, 40)).columns
    return to_screen(parts, max(width, NARROWEST), colour=sys.stdout.isatty())


def _markdown(
    words: Sequence[str], found: Differences, notes: Sequence[str], titles: tuple[str, str]
) -> str:
    lines = [f"### {words[0]}", "", " ".join(words[1:]), ""]
    for metric, block in found.items():
        headings = _headings(metric, titles)
        lines += map(markdown_row, (headings, [":--", *["--:"] * (len(headings) - 1)]))
        for name, own in block.items():
            cells = _cells(name, own)
            if own.separated:
                cells[DIFFERENCE] = f"**{cells[DIFFERENCE]}**"
            lines.append(markdown_row(cells))
        lines.append("")
    lines += [line for note in notes for line in (note, "")]
    return "\n".join(lines).rstrip() + "\n"
