"""`usbench sources`: what is here of each source, on what terms, and how to get the rest."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.options import plain_errors

if TYPE_CHECKING:
    from rich.table import Table

    from dataset_builders.inventory import Stock

COLOURS = {"here": "green", "incomplete": "yellow", "missing": "red"}


def sources(
    raw: Annotated[Path, typer.Option(help="The publishers' files, a folder per source.")] = Path(
        "raw"
    ),
) -> None:
    """Show what is here of each source; images are counted by name, none is opened."""
    from rich.console import Console

    from benchmark.listing import aligned
    from dataset_builders.inventory import take_stock
    from dataset_builders.sources import SOURCES

    with plain_errors():
        stocks = take_stock(raw, SOURCES.values())
    console = Console()
    if console.is_terminal:
        console.print(_table(stocks))
    else:
        header = ("source", "title", "tasks", "images", "state", "size", "licence", "to get it")
        typer.echo(aligned([header, *map(_cells, stocks)]))
    typer.echo(_below(raw, stocks))


def _cells(stock: "Stock") -> tuple[str, ...]:
    """What is told of a source: name, title, tasks, images, state, size, licence, way."""
    source = stock.source
    return (
        source.name,
        source.card.title,
        " ".join(source.expected),
        f"{stock.found} of {stock.expected}",
        stock.state,
        _size(stock.size) if stock.paths else "",
        source.card.licence,
        _way(stock),
    )


def _way(stock: "Stock") -> str:
    from dataset_builders.download.mirrors import MIRRORS

    name = stock.source.name
    if stock.state == "here":
        return ""
    if not MIRRORS[name].ways:
        return f"by hand: `usbench download {name}` prints the steps"
    return f"`usbench download {name}`"


def _table(stocks: Sequence["Stock"]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table("source", "tasks", "images", "state", "size", "licence", "to get it")
    for column in table.columns[2:5]:
        column.no_wrap = True
    for stock in stocks:
        name, title, tasks, images, state, size, licence, way = _cells(stock)
        source = Text.assemble((name, "bold"), f"\n{title}")
        table.add_row(source, tasks, images, Text(state, COLOURS[state]), size, licence, way)
    return table


def _below(raw: Path, stocks: Sequence["Stock"]) -> str:
    """What a table has no room for: what is wrong, what is begun, what belongs to nobody."""
    from dataset_builders.acquire import unclaimed
    from dataset_builders.sources import SOURCES

    size = sum(path.stat().st_size for path in {path for stock in stocks for path in stock.paths})
    here = sum(stock.state == "here" for stock in stocks)
    lines = [f"{here} of {len(stocks)} sources are whole in {raw}, {_size(size)} in all"]
    if not raw.is_dir():
        lines.append(f"  there is no folder {raw}: is --raw right?")
    lines += [
        f"  {stock.source.name}: {stock.problem.removeprefix(f'{stock.source.name}: ')}"
        for stock in stocks
        if stock.state == "incomplete" and not stock.found  # else the numbers say it
    ]
    lines += [
        f"  {stock.source.name}: a download is begun, {_size(stock.begun)}"
        for stock in stocks
        if stock.begun
    ]
    if strange := unclaimed(raw, SOURCES.values()):
        lines.append(f"  no source goes by the name {', '.join(strange)}: misspelt or misplaced?")
    return "\n".join(lines)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
