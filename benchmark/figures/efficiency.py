"""Label efficiency: Dice against the share of labelled training images, with 95 % intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.figures import style
from benchmark.figures.labels import stack
from benchmark.figures.records import INTERVALS, SHARES, LeftOutError, Runs, Score, scores_of, share
from benchmark.methods import METHODS
from benchmark.tables import MEAN, Row
from dataset_builders.tasks import TASKS

DODGE = 0.3  # of the distance between partitions, over which all methods' intervals are spread
NAMES = 0.4  # of the same, room for the methods' names
NAME_HEIGHT = 1.25 * style.NOTE  # pt
MARKERS = "osD^vPX<>p"  # one a method of a category

Curve = Mapping[str, Score]  # by partition, those that were run


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Method -> task, or "mean" -> curve."""

    curves: Mapping[Row, Mapping[str, Curve]]
    footer: str


def prepare(runs: Runs) -> Efficiency:
    """Methods as published at the paper's three partitions.

    Raises:
        LeftOutError: no method at two of them.
        MixtureError: the runs cannot be compared.
    """
    cells = {
        (row, name): own
        for row in map(Row, METHODS)
        for name in SHARES
        if (own := runs.of_row(row, name))
    }
    if len(cells) == len({row for row, _ in cells}):
        raise LeftOutError(
            "no method was run at two of the shares 1/16, 1/8 and 1/4; make more with "
            "`usbench run --method propl --split 1_16`"
        )
    curves: dict[Row, dict[str, dict[str, Score]]] = {row: {} for row, _ in cells}
    for column, scores in scores_of(list(cells.values())).items():
        for (row, name), score in zip(cells, scores, strict=True):
            if score:
                curves[row].setdefault(column, {})[name] = score
    shown = [run for own in cells.values() for run in own]
    note = "Points of one share stand side by side."
    return Efficiency(curves, runs.footer(shown, INTERVALS, note))


@style.styled
def draw(data: Efficiency) -> Figure:
    """The mean over tasks above, each task below."""
    title = "Label efficiency"
    figure = style.new_figure(6.4, title, data.footer)
    grid = figure.add_gridspec(3, 4, height_ratios=(1.9, 1, 1))
    looks = _looks(list(data.curves))
    top = figure.add_subplot(grid[0, :])
    _draw_panel(top, MEAN, data, looks)
    top.set_ylabel("mDice (%)")
    top.set_xlabel("labelled share of the training images")
    categories = {row.category: Line2D([], [], color=look[0]) for row, look in looks.items()}
    style.corner_legend(figure, list(categories.values()), list(categories))
    for place, task in enumerate(TASKS):
        axes = figure.add_subplot(grid[1 + place // 4, place % 4])
        _draw_panel(axes, task, data, looks)
        axes.set_title(f"{task}  {TASKS[task].name}")
        if place % 4 == 0:
            axes.set_ylabel("Dice (%)")
    figure.draw_without_rendering()  # for the height of the plots
    _label_ends(top, data, looks)
    return figure


def _looks(rows: Sequence[Row]) -> dict[Row, tuple[str, str]]:
    """Colour by category, marker by method."""
    return {
        row: (style.CATEGORIES[category][0], MARKERS[place % len(MARKERS)])
        for category, own in groupby(rows, lambda row: row.category)
        for place, row in enumerate(own)
    }


def _draw_panel(
    axes: Axes, column: str, data: Efficiency, looks: Mapping[Row, tuple[str, str]]
) -> None:
    in_column = {row: curves[column] for row, curves in data.curves.items() if column in curves}
    if not in_column:
        axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", color=style.GREY)
        axes.set_yticks([])
    for row, curve in in_column.items():
        x = [SHARES.index(name) + _shift(row, data) for name in curve]
        colour, marker = looks[row]
        axes.plot(
            x,
            [one.dice for one in curve.values()],
            color=colour,
            marker=marker,
            markersize=4 if column == MEAN else 2.5,
            linewidth=1 if column == MEAN else 0.7,
        )
        for at, one in zip(x, curve.values(), strict=True):
            if one.low is not None and one.high is not None:
                axes.plot((at, at), (one.low, one.high), color=colour, linewidth=0.7, alpha=0.7)
    axes.set_xticks(range(len(SHARES)), [share(name) for name in SHARES])
    axes.set_xlim(-0.4, len(SHARES) - 0.6 + (NAMES if column == MEAN else 0))


def _shift(row: Row, data: Efficiency) -> float:
    """Sideways, so that the methods' intervals stand beside each other."""
    return DODGE * ((list(data.curves).index(row) + 0.5) / len(data.curves) - 0.5)


def _label_ends(axes: Axes, data: Efficiency, looks: Mapping[Row, tuple[str, str]]) -> None:
    """Each method's name on the right, near the height of its last point, none over another."""
    ends = {
        row: list(curves[MEAN].items())[-1] for row, curves in data.curves.items() if MEAN in curves
    }
    if not ends:
        return
    low, high = axes.get_ylim()
    inches = axes.get_window_extent().height / axes.figure.dpi
    gap = NAME_HEIGHT / 72 / inches * (high - low)
    heights = stack([score.dice for _, score in ends.values()], gap)
    names = len(SHARES) - 0.7
    for (row, (partition, score)), y in zip(ends.items(), heights, strict=True):
        start = SHARES.index(partition) + _shift(row, data)
        axes.plot((start, names), (score.dice, y), color=style.PALE, linewidth=0.5, zorder=1)
        axes.text(names + 0.02, y, row.title, color=looks[row][0], size=style.NOTE, va="center")
    axes.set_ylim(min(low, *(y - gap for y in heights)), max(high, *(y + gap for y in heights)))
