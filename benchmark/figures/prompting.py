"""Figure 2: what prompting-upon-decoding (PuD) adds to ProPL, without and with other prompting.

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


@dataclass(frozen=True, slots=True)
class Other:
    """What stands in the place of PuD, and how it is drawn."""

    title: str
    colour: str
    hatch: str
    dashes: str  # of the paper's line
    # in the paper's text, for its Figure 2, which does not say at which partition
    papers_gain: float | None = None


WITH, WITHOUT = Row("propl"), Row("propl", prompting="none")
OTHERS = {
    WITHOUT: Other("no prompting", style.SKY, "////", ""),
    Row("propl", prompting="clip_um"): Other(
        "CLIP-UM's prompting", style.ORANGE, "\\\\", "-", 3.05
    ),
    Row("propl", prompting="dodnet"): Other("DoDNet's prompting", style.PURPLE, "....", ":", 1.16),
}
BAR, GROUP = 0.36, 0.88  # the widest bar and all of a partition, of the partitions' distance
ByShare = Mapping[str, Score | None]  # mDice by partition; None: not run


@dataclass(frozen=True, slots=True)
class Prompting:
    """mDice with PuD; and, of all that was run in its place, mDice and what PuD is ahead."""

    with_pud: ByShare
    others: Mapping[Row, ByShare]
    gains: Mapping[Row, ByShare]
    papers_gain: Mapping[str, float]  # over no prompting, in points
    footer: str


def prepare(runs: Runs) -> Prompting:
    """The runs of ProPL that differ in their prompting alone.

    Raises:
        LeftOutError: none without PuD of all tasks.
        MixtureError: the runs cannot be compared.
    """
    cells = {row: {name: runs.of_row(row, name) for name in SHARES} for row in (WITH, *OTHERS)}
    every = [own for by_share in cells.values() for own in by_share.values()]
    means = iter(scores_of(every).get(MEAN, [None] * len(every)))
    scores = {row: {name: next(means) for name in by_share} for row, by_share in cells.items()}
    others = {row: scores[row] for row in OTHERS if any(scores[row].values())}
    if not others:
        raise LeftOutError(
            "no run of ProPL without PuD on all tasks; make one with "
            "`usbench run --method propl --split 1_4 --set prompting=none`"
        )
    gains = {
        row: {name: difference_of(cells[WITH][name], cells[row][name]) for name in SHARES}
        for row in others
    }
    shown = [run for own in every for run in own]
    return Prompting(scores[WITH], others, gains, _papers_gain(), runs.footer(shown, INTERVALS))


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
    swapped = any(row != WITHOUT for row in data.others)
    title = "ProPL with and without prompting (PuD)" + ", or with another's" * swapped
    figure = style.new_figure(2.75, title, data.footer)
    left, right = figure.subplots(1, 2)
    _draw_scores(left, data)
    _draw_gains(right, data)
    for axes in (left, right):
        axes.set_xticks(range(len(SHARES)), [f"{share(name)} labelled" for name in SHARES])
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=False, axis="x")
        axes.set_xlim(-0.6, len(SHARES) - 0.4)
    return figure


def _draw_scores(axes: Axes, data: Prompting) -> None:
    places, width = _places(1 + len(data.others))
    for x, name in enumerate(SHARES):
        _bar(axes, x + places[0], width, data.with_pud[name], "with PuD", style.BLUE)
        for place, (row, scores) in zip(places[1:], data.others.items(), strict=True):
            other = OTHERS[row]
            label = "without" if row == WITHOUT else f"with {other.title}"
            _bar(axes, x + place, width, scores[name], label, other.colour, other.hatch)
    axes.set_ylim(0, 100 if len(places) == 2 else 125)  # room for the legend
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("mDice (%)")
    axes.legend(*style.legend_of(axes), ncols=2, loc="upper left", fontsize=style.NOTE)


def _draw_gains(axes: Axes, data: Prompting) -> None:
    places, width = _places(len(data.gains) + 1)
    for x, name in enumerate(SHARES):
        for place, (row, gains) in zip(places, data.gains.items(), strict=False):
            other = OTHERS[row]
            # the first as it always is, others as beside it
            colour, hatch = (style.GREEN, "") if row == WITHOUT else (other.colour, other.hatch)
            label = f"our runs, over {other.title}"
            _bar(axes, x + place, width, gains[name], label, colour, hatch)
        _draw_papers(axes, x + places[-1], width, data, name)
    axes.axhline(0, color=style.BLACK, linewidth=0.6)
    low, high = axes.get_ylim()
    # room for the legend
    room = 0.5 + 0.1 * (len(data.gains) - 1)
    axes.set_ylim(min(low, -1), high + room * (high - min(low, -1)))
    axes.set_ylabel("mDice that PuD adds (points)")
    axes.legend(*style.legend_of(axes), loc="upper left", fontsize=style.NOTE)


def _draw_papers(axes: Axes, x: float, width: float, data: Prompting, name: str) -> None:
    """What the paper states, where there are runs to hold against it."""
    if WITHOUT in data.gains and data.gains[WITHOUT][name]:
        label = "paper, over no prompting (Tables 4–6)"
        axes.plot(x, data.papers_gain[name], "D", color=style.BLACK, mfc="w", label=label)
    if not data.with_pud[name]:
        return
    for other in OTHERS.values():
        if other.papers_gain is not None:
            label = f"paper, over {other.title} (+{other.papers_gain})"
            span, heights = (x - 0.4 * width, x + 0.4 * width), (other.papers_gain,) * 2
            axes.plot(span, heights, other.dashes, color=style.VERMILION, label=label)


def _places(count: int) -> tuple[list[float], float]:
    """Middles of so many bars about a partition's own, and their width."""
    width = min(BAR, GROUP / count)
    return [(place - (count - 1) / 2) * width for place in range(count)], width


def _bar(
    axes: Axes,
    x: float,
    width: float,
    score: Score | None,
    label: str,
    colour: str,
    hatch: str = "",
) -> None:
    if score is None:
        _note(axes, x, 0, "not run", 90, style.GREY)
        return
    axes.bar(
        x,
        score.dice,
        width * 0.92,
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
