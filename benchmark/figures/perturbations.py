"""Figure 3: ProPL's number of perturbations N against mDice, a panel a partition."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.figures import style
from benchmark.figures.records import INTERVALS, SHARES, LeftOutError, Runs, Score, scores_of, share
from benchmark.record import RunRecord
from benchmark.tables import MEAN, Run

SETTING = "perturbations"
PAPERS_BEST = {"1_16": 3, "1_8": 2, "1_4": 2}  # Figure 3 of the paper
LEAST_SPAN = 2.0  # points of mDice; less would blow noise up to a trend


@dataclass(frozen=True, slots=True)
class Perturbations:
    """Partition -> N -> mDice."""

    curves: Mapping[str, Mapping[int, Score]]
    footer: str


def prepare(runs: Runs) -> Perturbations:
    """The runs of ProPL that differ in nothing but N.

    Raises:
        LeftOutError: no partition has two N on all tasks.
        MixtureError: the runs cannot be compared.
    """
    cells: dict[tuple[str, int], list[Run]] = {}
    for run in runs.every:
        if run.record.split in SHARES and _differs_in_n_alone(run.record):
            n = int(str(run.record.config[SETTING]))
            cells.setdefault((run.record.split, n), []).append(run)
    means = scores_of(list(cells.values())).get(MEAN, [])
    curves: dict[str, dict[int, Score]] = {name: {} for name in SHARES}
    for (name, n), score in sorted(zip(cells, means, strict=False), key=lambda cell: cell[0]):
        if score:
            curves[name][n] = score
    if not any(len(by_n) > 1 for by_n in curves.values()):
        raise LeftOutError(
            "no two runs of ProPL that differ in the number of perturbations; make more with "
            "`usbench run --method propl --split 1_4 --set perturbations=3`"
        )
    shown = [run for own in cells.values() for run in own]
    return Perturbations(curves, runs.footer(shown, INTERVALS))


def _differs_in_n_alone(record: RunRecord) -> bool:
    changed = {part.partition("=")[0] for part in record.tag.split(",") if part}
    return record.method == "propl" and changed <= {SETTING} and SETTING in record.config


@style.styled
def draw(data: Perturbations) -> Figure:
    """One panel a partition; all span the same number of points, so slopes can be compared."""
    title = "ProPL: number of perturbations N in pseudo-label calibration"
    figure = style.new_figure(2.4, title, data.footer)
    every = sorted({n for by_n in data.curves.values() for n in by_n} | {*PAPERS_BEST.values()})
    span = 1.15 * max(LEAST_SPAN, *map(_reach, data.curves.values()))
    panels = figure.subplots(1, len(SHARES))
    for axes, (name, by_n) in zip(panels, data.curves.items(), strict=True):
        _draw_best(axes, PAPERS_BEST[name])
        _draw_curve(axes, by_n, span)
        axes.set_xticks(every)
        axes.set_xlim(every[0] - 0.5, every[-1] + 0.6)
        axes.set_xlabel("N")
        axes.set_title(f"{share(name)} labelled")
    panels[0].set_ylabel("mDice (%)")
    return figure


def _extremes(by_n: Mapping[int, Score]) -> tuple[float, float]:
    lows = [score.dice if score.low is None else score.low for score in by_n.values()]
    highs = [score.dice if score.high is None else score.high for score in by_n.values()]
    return min(lows, default=0.0), max(highs, default=0.0)


def _reach(by_n: Mapping[int, Score]) -> float:
    low, high = _extremes(by_n)
    return high - low


def _draw_best(axes: Axes, n: int) -> None:
    axes.axvline(n, color=style.VERMILION, linestyle="--", linewidth=0.8)
    axes.annotate(
        "best in\nthe paper",
        (n, 0),
        (3, 2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="bottom",
        size=style.NOTE,
        color=style.VERMILION,
    )


def _draw_curve(axes: Axes, by_n: Mapping[int, Score], span: float) -> None:
    if not by_n:
        axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", color=style.GREY)
        axes.set_yticks([])
        return
    means = [score.dice for score in by_n.values()]
    axes.plot(list(by_n), means, "o-", color=style.BLUE)
    for place, (n, score) in enumerate(by_n.items()):
        if score.low is not None and score.high is not None:
            axes.plot((n, n), (score.low, score.high), color=style.BLUE, linewidth=0.7)
        # on the side from which the curve does not come
        beside = means[max(place - 1, 0) : place] + means[place + 1 : place + 2]
        up = score.dice >= fmean(beside or [score.dice])
        axes.annotate(
            f"{score.dice:.1f}",
            (n, score.dice),
            (4, 4 if up else -4),
            textcoords="offset points",
            va="bottom" if up else "top",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3},
        )
    middle = fmean(_extremes(by_n))
    axes.set_ylim(middle - span / 2, middle + span / 2)
