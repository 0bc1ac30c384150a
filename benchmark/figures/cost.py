"""Figure 4: mDice against memory and against training time, a point a method."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmark.figures import style
from benchmark.figures.labels import place
from benchmark.figures.records import LeftOutError, Runs, refuse_incomparable, share
from benchmark.methods import METHODS
from benchmark.tables import MEAN, METRICS, Row, Run

DICE = METRICS[0]
LOGARITHMIC = 5  # from this ratio of the largest cost to the smallest
UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))


@dataclass(frozen=True, slots=True)
class Point:
    """A method: means over its seeds."""

    title: str
    category: str
    dice: float  # mDice, per cent
    memory_mb: float  # peak while training
    seconds: float  # training of all tasks


@dataclass(frozen=True, slots=True)
class Cost:
    """All methods of a partition."""

    partition: str
    points: Sequence[Point]
    memory_of: str  # what the peak is of
    footer: str


def prepare(runs: Runs, partition: str) -> Cost:
    """The methods as published that were run on all tasks of a partition.

    Raises:
        LeftOutError: fewer than two, or on different devices.
        MixtureError: the runs cannot be compared.
    """
    cells = {row: own for row in map(Row, METHODS) if (own := runs.of_row(row, partition))}
    refuse_incomparable(cells.values())
    whole = {row: [run for run in own if _dice([run])] for row, own in cells.items()}
    points = [_point(row, own) for row, own in whole.items() if own]
    if len(points) < 2:
        raise LeftOutError(
            f"{len(points)} method with runs of all tasks at {share(partition)}, two are needed; "
            f"make more with `usbench run --method unet --split {partition}`"
        )
    chosen = [run for own in whole.values() for run in own]
    devices = {run.record.machine.get("device", "unknown") for run in chosen}
    if len(devices) > 1:
        raise LeftOutError(
            f"runs on {' and '.join(sorted(devices))} have no common scale of time and memory; "
            "move the runs of one device to another results folder and name it with --results"
        )
    (device,) = devices
    memory_of = "GPU allocator" if device.startswith("cuda") else "whole process"
    incomplete = [row.title for row, own in whole.items() if not own]
    notes = (
        f"Device: {device}.",
        f"Not all tasks run: {', '.join(incomplete)}." if incomplete else "",
        "Single-task methods train one model a task: times add up, memory is the largest.",
        "Dotted: Pareto front, beyond which no method is both cheaper and better.",
    )
    return Cost(partition, points, memory_of, runs.footer(chosen, *notes))


def _point(row: Row, runs: Sequence[Run]) -> Point:
    return Point(
        row.title,
        row.category,
        fmean(_dice(runs)),
        fmean(max(task.peak_memory_mb for task in run.record.tasks.values()) for run in runs),
        fmean(run.record.seconds for run in runs),
    )


def _dice(runs: Sequence[Run]) -> list[float]:
    """The mDice of every run that has all tasks."""
    return [value for run in runs if (value := run.value(DICE, MEAN)) is not None]


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, score) that no other beats in both, cheapest first."""
    best: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or score > best[-1][1]:
            best.append((cost, score))
    return best


@style.styled
def draw(data: Cost) -> Figure:
    """Memory left, time right, mDice up."""
    title = f"Cost of training, {share(data.partition)} labelled"
    figure = style.new_figure(3.6, title, data.footer)
    left, right = figure.subplots(1, 2, sharey=True)
    unit, seconds = _unit(max(point.seconds for point in data.points))
    panels = {
        left: [(point.memory_mb, point.dice) for point in data.points],
        right: [(point.seconds / seconds, point.dice) for point in data.points],
    }
    for axes, places in panels.items():
        _draw_points(axes, data.points, places)
    left.set_xlabel(f"peak memory in training (MB, {data.memory_of})")
    right.set_xlabel(f"training time of all tasks ({unit})")
    left.set_ylabel("mDice (%)")
    style.corner_legend(figure, *style.legend_of(left))
    for axes, places in panels.items():
        place(axes, places, [point.title for point in data.points])
    return figure


def _draw_points(
    axes: Axes, points: Sequence[Point], places: Sequence[tuple[float, float]]
) -> None:
    for point, (x, y) in zip(points, places, strict=True):
        colour, marker = style.CATEGORIES[point.category]
        axes.plot(x, y, marker, color=colour, label=point.category, zorder=3)
    edge = front(places)
    axes.margins(0.14)
    costs = [x for x, _ in places]
    if 0 < LOGARITHMIC * min(costs) < max(costs):
        axes.set_xscale("log")
        _plain_ticks(axes)
    # on to the frame: what costs more than the last is beaten too
    right = axes.get_xlim()[1]
    steps = [*edge, (right, edge[-1][1])]
    axes.plot(
        *zip(*steps, strict=True), drawstyle="steps-post", ls=":", color=style.GREY, linewidth=0.9
    )
    axes.set_xlim(right=right)


def _plain_ticks(axes: Axes) -> None:
    """1, 2, 5, 10, ... in plain digits."""
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _unit(seconds: float) -> tuple[str, float]:
    return next(((unit, size) for unit, size in UNITS if seconds >= 2 * size), UNITS[-1])
