"""Figure 2: what prompting-upon-decoding (PuD) adds to ProPL.

Left the runs themselves; right their differences, beside those the paper states.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.figures import style
from benchmark.figures.records import (
    INTERVALS,
    SHARES,
    LeftOutError,
    Runs,
    Score,
    difference_of,
    scores_of,
    share,
)
from benchmark.paper import Place, read_paper
from benchmark.tables import MEAN, TABLES, Row

WITH, WITHOUT = Row("propl"), Row("propl", pud=False)
# In the paper's text, for its Figure 2, which does not say at which partition.
OTHER_PROMPTING = {"CLIP-UM's prompting": 3.05, "DoDNet's prompting": 1.16}
BAR = 0.36  # of the distance between partitions


@dataclass(frozen=True, slots=True)
class Prompting:
    """mDice by partition; None: not run."""

    with_pud: Mapping[str, Score | None]
    without: Mapping[str, Score | None]
    gain: Mapping[str, Score | None]  # the difference of the two
    papers_gain: Mapping[str, float]  # in points
    footer: str


def prepare(runs: Runs) -> Prompting:
    """The runs of ProPL with and without PuD.

    Raises:
        LeftOutError: none without PuD of all tasks.
        MixtureError: the runs cannot be compared.
    """
    cells = {row: {name: runs.of_row(row, name) for name in SHARES} for row in (WITH, WITHOUT)}
    every = [own for by_share in cells.values() for own in by_share.values()]
    means = iter(scores_of(every).get(MEAN, [None] * len(every)))
    scores = {row: {name: next(means) for name in by_share} for row, by_share in cells.items()}
    if not any(scores[WITHOUT].values()):
        raise LeftOutError(
            "no run of ProPL without PuD on all tasks; make one with "
            "`usbench run --method propl --split 1_4 --set prompting=false`"
        )
    gain = {name: difference_of(cells[WITH][name], cells[WITHOUT][name]) for name in SHARES}
    shown = [run for own in every for run in own]
    return Prompting(
        scores[WITH], scores[WITHOUT], gain, _papers_gain(), runs.footer(shown, INTERVALS)
    )


def _papers_gain() -> dict[str, float]:
    """In Tables 4-6."""
    printed = read_paper()

    def dice(number: int, *, pud: bool) -> float:
        return printed[Place(number, "ProPL", pud, True, MEAN, "dice")]

    numbers = [number for number, table in TABLES.items() if WITHOUT in table.rows]
    return {TABLES[n].partition: dice(n, pud=True) - dice(n, pud=False) for n in numbers}


@style.styled
def draw(data: Prompting) -> Figure:
    """Bars by partition; where a run is missing it says so."""
    figure = style.new_figure(2.75, "ProPL with and without prompting (PuD)", data.footer)
    left, right = figure.subplots(1, 2)
    _draw_scores(left, data)
    _draw_gain(right, data)
    for axes in (left, right):
        axes.set_xticks(range(len(SHARES)), [f"{share(name)} labelled" for name in SHARES])
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=False, axis="x")
        axes.set_xlim(-0.6, len(SHARES) - 0.4)
    return figure


def _draw_scores(axes: Axes, data: Prompting) -> None:
    for x, name in enumerate(SHARES):
        _bar(axes, x - BAR / 2, data.with_pud[name], "with PuD", style.BLUE)
        _bar(axes, x + BAR / 2, data.without[name], "without", style.SKY, "////")
    axes.set_ylim(0, 100)
    axes.set_ylabel("mDice (%)")
    axes.legend(*style.legend_of(axes), ncols=2, loc="upper left")


def _draw_gain(axes: Axes, data: Prompting) -> None:
    for x, name in enumerate(SHARES):
        _bar(axes, x - BAR / 2, data.gain[name], "our runs, over no prompting", style.GREEN)
        middle = x + BAR / 2
        if data.gain[name]:
            label = "paper, over no prompting (Tables 4–6)"
            axes.plot(middle, data.papers_gain[name], "D", color=style.BLACK, mfc="w", label=label)
        if data.with_pud[name]:
            for (other, gain), dashes in zip(OTHER_PROMPTING.items(), ("-", ":"), strict=True):
                label = f"paper, over {other} (+{gain})"
                span = (middle - BAR / 2.5, middle + BAR / 2.5)
                axes.plot(span, (gain, gain), dashes, color=style.VERMILION, label=label)
    axes.axhline(0, color=style.BLACK, linewidth=0.6)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -1), high + 0.5 * (high - min(low, -1)))  # room for the legend
    axes.set_ylabel("mDice that PuD adds (points)")
    axes.legend(*style.legend_of(axes), loc="upper left", fontsize=style.NOTE)


def _bar(
    axes: Axes, x: float, score: Score | None, label: str, colour: str, hatch: str = ""
) -> None:
    if score is None:
        _note(axes, x, 0, "not run", 90, style.GREY)
        return
    axes.bar(
        x,
        score.dice,
        BAR * 0.92,
        label=label,
        color=colour,
        hatch=hatch,
        edgecolor="white",
        linewidth=0,
    )
    top = score.dice
    if score.low is not None and score.high is not None:
        axes.plot((x, x), (score.low, score.high), color=style.BLACK, linewidth=0.8)
        top = score.high
    _note(axes, x, max(top, 0), f"{score.dice:.1f}")


def _note(
    axes: Axes, x: float, y: float, text: str, rotation: float = 0, colour: str = style.BLACK
) -> None:
    """A text just above a place."""
    axes.annotate(
        text,
        (x, y),
        (0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        rotation=rotation,
        color=colour,
        size=style.NOTE,
    )
