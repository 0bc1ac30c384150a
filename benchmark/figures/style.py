"""One look for all figures: page width, letters, colours, footer, and how they are saved.

The colours are Okabe and Ito's (2008), told apart with any colour vision; wherever one carries
meaning, a marker, a hatch or a label says the same.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from benchmark.methods import SINGLE_SEMI, SINGLE_SUPERVISED, UNIVERSAL_SEMI, UNIVERSAL_SUPERVISED

WIDTH = 7.0  # in, the text of a page of two columns
DPI = 300  # of PNG files, and of images within SVG files
NOTE = 6.0  # pt, the smallest letters
MARGIN = 0.05  # in
TITLE = 0.21  # in, height of the title's line
LINE = 1.35  # of a letter's height

BLACK, GREY, PALE = "#000000", "#595959", "#bfbfbf"
ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    *("#e69f00", "#56b4e9", "#009e73"),
    *("#0072b2", "#d55e00", "#cc79a7"),
)
CATEGORIES = {  # colour and marker
    SINGLE_SUPERVISED: (BLUE, "o"),
    SINGLE_SEMI: (ORANGE, "s"),
    UNIVERSAL_SUPERVISED: (GREEN, "D"),
    UNIVERSAL_SEMI: (VERMILION, "^"),
}

_SETTINGS: dict[str, Any] = {
    "font.size": 7.0,
    "axes.titlesize": 7.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "hatch.linewidth": 0.5,
    "legend.edgecolor": "none",
    "legend.framealpha": 1.0,
    "lines.linewidth": 1.0,
    "lines.markersize": 4.0,
    "svg.fonttype": "path",  # looks the same where the letters are not installed
    "svg.hashsalt": "usbench",  # else every SVG has other ids
}
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}

Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """A function that draws in this style, whatever Matplotlib's settings are elsewhere."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with matplotlib.style.context(["default", _SETTINGS]):
            return draw(*args, **kwargs)

    return drawn


def new_figure(plots: float, title: str, footer: str) -> Figure:
    """An empty figure of page width, with a title above and a footer below its plots.

    Args:
        plots: in, height between title and footer.
        title: one line.
        footer: broken into as many lines as it needs.
    """
    lines = _wrapped(footer)
    below = (len(lines) * NOTE * LINE + 5) / 72
    height = TITLE + plots + below
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, below / height, 1, plots / height))  # type: ignore[call-arg]
    left = MARGIN / WIDTH
    figure.text(left, 1 - MARGIN / height, title, weight="bold", size=8, va="top")
    figure.text(
        left,
        MARGIN / 2 / height,
        "\n".join(lines),
        size=NOTE,
        color=GREY,
        va="bottom",
        linespacing=LINE,
    )
    return figure


def _wrapped(footer: str) -> list[str]:
    """Lines as broad as the page."""
    lines: list[str] = []
    for word in footer.split():
        if lines and breadth(longer := f"{lines[-1]} {word}") <= 72 * (WIDTH - 2 * MARGIN):
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def breadth(text: str) -> float:
    """Of a note, in pt."""
    letters = FontProperties(size=NOTE)
    return float(text_to_path.get_text_width_height_descent(text, letters, ismath=False)[0])


def legend_of(axes: Axes) -> tuple[list[Artist], list[str]]:
    """Handles and labels for a legend that names each label once."""
    handles, labels = axes.get_legend_handles_labels()
    first = dict(zip(reversed(labels), reversed(handles), strict=True))
    return list(reversed(first.values())), list(reversed(first))


def corner_legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """A legend beside the title, in one line."""
    corner = (1, 1 - MARGIN / 2 / figure.get_figheight())
    figure.legend(
        handles,
        labels,
        loc="upper right",
        bbox_to_anchor=corner,
        ncols=len(labels),
        fontsize=NOTE,
        borderpad=0,
        columnspacing=1.0,
        handlelength=1.2,
        handletextpad=0.4,
    ).set_in_layout(False)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `<stem>.svg` and `<stem>.png`; the same figure gives the same bytes."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    for ending, metadata in _METADATA.items():
        path = stem.with_name(f"{stem.name}.{ending}")
        partial = path.with_name(f"{path.name}.tmp")
        with matplotlib.style.context(["default", _SETTINGS]):
            figure.savefig(partial, format=ending, dpi=DPI, metadata=metadata)
        paths.append(partial.replace(path))
    return paths
