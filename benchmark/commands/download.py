"""`usbench download`: sources from where their publishers and others keep them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.options import plain_errors, to_stderr
from dataset_builders.errors import UsageError

if TYPE_CHECKING:
    from dataset_builders.download.plan import Outcome, Show
    from dataset_builders.download.transfer import Report

GOES_ON = "the same command goes on from here"  # after Ctrl-C


def download(
    source: Annotated[
        list[str] | None, typer.Argument(help="Names of sources; all if none is given.")
    ] = None,
    raw: Annotated[Path, typer.Option(help="Where they go, a folder per source.")] = Path("raw"),
) -> None:
    """Fetch the sources that are missing; what is here and whole stays as it is.

    Ends with code 1 if one of them can only be got by hand, and 2 if one could not be fetched.
    """
    from dataset_builders.sources import SOURCES

    with plain_errors(GOES_ON):
        outcomes = fetch(source or [*SOURCES], raw)
        if failed := [outcome.problem for outcome in outcomes if not _is_fine(outcome)]:
            raise UsageError("\n".join(failed))
    if any(outcome.by_hand for outcome in outcomes):
        raise typer.Exit(1)


def fetch_or_say(names: Sequence[str], raw: Path) -> None:
    """As `usbench download`, but what could not be had is only said: the build judges of it."""
    with plain_errors(GOES_ON):
        for outcome in fetch(names, raw):
            if not _is_fine(outcome):
                to_stderr(outcome.problem)


def fetch(names: Sequence[str], raw: Path) -> list["Outcome"]:
    """Fetch sources, and say of each what became of it.

    Raises:
        UsageError: an unknown source.
    """
    from benchmark.settings import choose
    from dataset_builders.download.plan import get_sources
    from dataset_builders.sources import SOURCES

    chosen = [SOURCES[choose("source", name, SOURCES)] for name in names]
    outcomes: list[Outcome] = []
    try:
        with _bars() as show:
            for outcome in get_sources(raw, chosen, show):
                outcomes.append(outcome)
    finally:  # after Ctrl-C too
        for outcome in outcomes:
            typer.echo(_line(outcome, raw))
    return outcomes


def _is_fine(outcome: "Outcome") -> bool:
    return not outcome.problem or outcome.by_hand


def _line(outcome: "Outcome", raw: Path) -> str:
    stock = outcome.stock
    name = stock.source.name
    if outcome.by_hand:
        return outcome.problem
    if outcome.problem:
        return f"{name}: failed"
    done = f"fetched into {raw}" if outcome.fetched else "is here"
    notes = "".join(f"\n  {note}" for note in outcome.notes)
    return f"{name}: {done}, {stock.found} images{notes}"


@contextmanager
def _bars() -> Iterator["Show"]:
    """Shows a line for every mirror that is asked: how much came, how fast, how long it takes."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=Console(stderr=True)
    ) as bars:

        def show(label: str) -> "Report":
            for task in bars.tasks:  # of a mirror that did not answer
                if not task.completed:
                    bars.remove_task(task.id)
            bar = bars.add_task(label, total=None)
            begun = False

            def report(done: int, total: int | None) -> None:
                nonlocal begun
                if not begun:  # what was here before has no part in the speed
                    bars.reset(bar, completed=done)
                    begun = True
                bars.update(bar, completed=done, total=total)

            return report

        yield show
