"""Filled tables as text: terminal, Markdown, LaTeX or CSV; one pure function for each.

All but CSV print a block per metric and, per method, our values and below them the bounds of their
intervals and the paper's.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from benchmark.captions import MISSING, PARTIAL, Filled
from benchmark.mixture import precision_of
from benchmark.statistics import LEVEL
from benchmark.tables import COLUMNS, DECIMALS, MEAN, Cell, Metric, Row

NARROWEST = 80  # columns of a terminal; what is narrower breaks the lines itself
ROOM_FOR_SETUPS = 112  # below it, encoders stand under the table
CSV_DECIMALS = 4
CSV_HEADER = (
    *("table", "partition", "metric", "method", "task", "ours", "low", "high", "sd", "seeds"),
    *("p_best", "top_group", "rank", "rank_low", "rank_high", "clean", "paper"),
    *("encoder", "weights", "precision", "preset", "note"),
)


def terminal(tables: Sequence[Filled], width: int, colour: bool) -> str:
    """For a screen of `width` columns; `colour` allows bold and dim letters."""
    wide = width >= ROOM_FOR_SETUPS
    return to_screen(_terminal_parts(tables, wide), width, colour)


def to_screen(parts: Iterable[RenderableType], width: int, colour: bool) -> str:
    """What rich prints of the parts, without blanks at the ends of lines."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=max(width, NARROWEST),
        force_terminal=colour,
        color_system="standard" if colour else None,
    )
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).rstrip() + "\n"


def markdown(tables: Sequence[Filled]) -> str:
    """For a repository's page; the best in bold, the paper's values in italics."""
    return "".join(f"{line}\n" for filled in tables for line in _markdown_lines(filled))


def latex(tables: Sequence[Filled]) -> str:
    r"""For `\input`, with booktabs: a float per metric; as wide as a page of two columns."""
    floats = (_float_lines(filled, metric) for filled in tables for metric in filled.cells)
    return "\n".join("".join(f"{line}\n" for line in lines) for lines in floats)


def comma_separated(tables: Sequence[Filled]) -> str:
    """Tidy: a line per table, metric, method and task; empty where there is no value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for filled in tables:
        for metric, block in filled.cells.items():
            for row in filled.rows:
                writer.writerows(_csv_row(filled, metric, row, task) for task in block[row])
    return out.getvalue()


def _title(filled: Filled) -> str:
    return f"Table {filled.table.number}. {filled.table.title}."


def _number(value: float | None, missing: str = MISSING, decimals: int = DECIMALS) -> str:
    return missing if value is None else f"{value:.{decimals}f}"


def _headings(filled: Filled, metric: Metric) -> list[str]:
    tasks = [column + PARTIAL * (column in filled.partial) for column in COLUMNS if column != MEAN]
    return [*tasks, f"m{metric.title}{PARTIAL * bool(filled.partial)}"]


def _categories(filled: Filled) -> Iterator[tuple[str, Iterator[Row]]]:
    return groupby(filled.rows, lambda row: row.category)


def _cells(filled: Filled, metric: Metric, row: Row) -> list[Cell]:
    return [filled.cells[metric][row][column] for column in COLUMNS]


@dataclass(frozen=True, slots=True)
class _Line:
    """What stands below our values, if any of a row's cells has it."""

    name: str
    text: Callable[[Cell], str]  # empty where the cell has none


def _bounds(cell: Cell) -> tuple[str, str]:
    return _number(cell.low, ""), _number(cell.high, "")


_INTERVAL = _Line(f"{LEVEL:.0%} interval", lambda cell: "–".join(filter(None, _bounds(cell))))
_BOUNDS = (  # the same on two lines, for columns as narrow as our values
    _Line("from", lambda cell: _bounds(cell)[0]),
    _Line("to", lambda cell: _bounds(cell)[1]),
)
_OTHERS = (
    _Line("sd", lambda cell: _number(cell.spread, "")),
    _Line("clean", lambda cell: _number(cell.clean, "")),
    _Line("paper", lambda cell: _number(cell.paper, "")),
)


def _found(lines: Sequence[_Line], cells: Sequence[Cell]) -> list[_Line]:
    return [line for line in lines if any(map(line.text, cells))]


# Terminal: a grid row is a method, of as many lines as it has kinds of values.


def _terminal_parts(tables: Sequence[Filled], wide: bool) -> Iterator[RenderableType]:
    for filled in tables:
        yield Text(f"{_title(filled)} {filled.caption}\n")
        for metric in filled.cells:
            yield from (_grid(filled, metric, wide), "")
        for note in filled.notes if wide else (*_setup_notes(filled), *filled.notes):
            yield Text(note, style="dim")
        yield ""


def _grid(filled: Filled, metric: Metric, wide: bool) -> Grid:
    grid = Grid(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1 if wide else 0))
    grid.add_column(f"{metric.title} ({metric.unit})", overflow="fold")
    grid.add_column(style="dim", no_wrap=True)
    for heading in _headings(filled, metric):
        grid.add_column(heading, justify="right", no_wrap=True)
    for category, rows in _categories(filled):
        grid.add_row(Text(category, style="italic"))
        for row in rows:
            cells = _cells(filled, metric, row)
            lines = _found((*_BOUNDS, *_OTHERS), cells)
            labels = "\n".join(("ours", *(line.name for line in lines)))
            setup = filled.setup(row) if wide else ""
            style = "" if row in filled.records else "dim"
            method = Text.assemble((row.title, style), (f"\n{setup}" if setup else "", "dim"))
            grid.add_row(method, labels, *(_stack(cell, lines) for cell in cells))
    return grid


def _stack(cell: Cell, lines: Sequence[_Line]) -> Text:
    ours = Text(_number(cell.mean), style="bold" * cell.best or "dim" * (cell.mean is None))
    below = (Text(line.text(cell), style="dim") for line in lines)
    return Text("\n").join((ours, *below))


def _setup_notes(filled: Filled) -> Iterator[str]:
    titles: dict[str, list[str]] = {}
    for row in filled.records:
        titles.setdefault(filled.setup(row), []).append(row.title)
    return (f"{setup}: {', '.join(rows)}." for setup, rows in titles.items())


# Markdown and LaTeX: all that stands below our values in rows of its own.


def _plain(text: str) -> str:
    """Text that Markdown shows letter by letter."""
    return re.sub(r"([\\`*|<])", r"\\\1", text)


_TEX_LETTERS = str.maketrans(
    {letter: rf"\{letter}" for letter in "#$%&_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\(<\)", ">": r"\(>\)", "×": r"\(\times\)"}
    | {"≥": r"\(\ge\)", "†": r"\dag{}", "‡": r"\ddag{}", "–": "--", MISSING: "---"}
)


def _tex(text: str) -> str:
    return text.translate(_TEX_LETTERS)


@dataclass(frozen=True, slots=True)
class _Style:
    bold: str
    italic: str
    bounds: str  # beside a value; empty: below it, in a row of their own
    escape: Callable[[str], str]


_MARKDOWN = _Style("**{}**", "*{}*", "", _plain)
# 21 methods with a further row each would not fit a page
_LATEX = _Style(r"\textbf{{{}}}", r"\textit{{{}}}", r"\(\,_{{{}}}^{{{}}}\)", _tex)


def _values(filled: Filled, metric: Metric, row: Row, style: _Style) -> Iterator[list[str]]:
    """Our values, then what stands below them, each with its name."""
    cells = _cells(filled, metric, row)
    yield [style.escape(row.title), *(_ours(cell, style) for cell in cells)]
    for line in _found(_OTHERS if style.bounds else (_INTERVAL, *_OTHERS), cells):
        texts = map(style.escape, (line.name, *map(line.text, cells)))
        yield [text and style.italic.format(text) for text in texts]


def _ours(cell: Cell, style: _Style) -> str:
    value = style.escape(_number(cell.mean))
    bold = style.bold.format(value) if cell.best else value
    return bold if cell.low is None else bold + style.bounds.format(*_bounds(cell))


def _markdown_lines(filled: Filled) -> Iterator[str]:
    yield from (f"### {_plain(_title(filled))}", "", _plain(filled.caption), "")
    for metric in filled.cells:
        header = [f"{metric.title} ({metric.unit})", "Encoder, weights"]
        yield markdown_row([*header, *_headings(filled, metric)])
        yield markdown_row([":--", ":--", *["--:"] * len(COLUMNS)])
        for category, rows in _categories(filled):
            yield markdown_row([f"**{category}**", *[""] * (len(COLUMNS) + 1)])
            for row in rows:
                setup = _plain(filled.setup(row) or MISSING)
                for name, *values in _values(filled, metric, row, _MARKDOWN):
                    yield markdown_row([name, setup, *values])
                    setup = ""  # once is enough
        yield ""
    for note in filled.notes:
        yield from (_plain(note), "")


def markdown_row(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def _float_lines(filled: Filled, metric: Metric) -> Iterator[str]:
    yield r"\begin{table*}"
    yield r"\centering\scriptsize\setlength{\tabcolsep}{3pt}"
    yield rf"\caption{{{_tex(f'{metric.title} ({metric.unit}). {filled.table.title}.')}}}"
    yield rf"\label{{tab:usbench-{filled.table.number}-{metric.key}}}"
    yield rf"\begin{{tabular}}{{l{'r' * len(COLUMNS)}}}"
    yield r"\toprule"
    yield _tex_row(["Method", *map(_tex, _headings(filled, metric))])
    for category, rows in _categories(filled):
        yield r"\midrule"
        yield rf"\multicolumn{{{len(COLUMNS) + 1}}}{{l}}{{\emph{{{_tex(category)}}}}} \\"
        for row in rows:
            yield from map(_tex_row, _values(filled, metric, row, _LATEX))
    yield from (r"\bottomrule", r"\end{tabular}")
    below = (filled.caption, *_setup_notes(filled), *filled.notes)
    yield from (rf"\par\raggedright {_tex(text)}" for text in below)
    yield r"\end{table*}"


def _tex_row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _csv_row(filled: Filled, metric: Metric, row: Row, task: str) -> list[object]:
    cell, record = filled.cells[metric][row][task], filled.records.get(row)
    if record is None:
        setup, notes = ("", "", "", ""), ["not run"]
    else:
        setup = (record.encoder, record.weights, precision_of(record), record.preset)
        notes = ["no value"] * (cell.mean is None)
    if filled.partial and task in (*filled.partial, MEAN):
        notes.append("partial data")
    ours, low, high, spread, clean = (
        _number(value, "", CSV_DECIMALS)
        for value in (cell.mean, cell.low, cell.high, cell.spread, cell.clean)
    )
    judged = cell.top_group or cell.p_best is not None  # there are others to compare it with
    return [
        *(filled.table.number, filled.table.partition, metric.key, row.method + row.without, task),
        *(ours, low, high, spread, " ".join(map(str, cell.values))),
        "" if cell.p_best is None else f"{cell.p_best:.4g}",
        ("yes" if cell.top_group else "no") if judged else "",
        *(cell.rank or ("", "", "")),
        *(clean, _number(cell.paper, ""), *setup, "; ".join(notes)),
    ]
