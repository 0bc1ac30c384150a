"""`usbench list`: methods, tasks, sources, runs; and what to say where there is no run."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from benchmark.settings import choose

if TYPE_CHECKING:
    from benchmark.record import RunRecord

RECORDS = "runs/*/*/seed*.json"  # below a folder of results


def listing(what: str, results: Path) -> str:
    """Lines of one table, columns aligned.

    Raises:
        UsageError: an unknown table.
    """
    tables: dict[str, Callable[[], Iterable[tuple[str, ...]]]] = {
        "methods": _methods,
        "tasks": _tasks,
        "sources": _sources,
        "runs": lambda: _runs(results),
    }
    rows = list(tables[choose("list", what, tables)]())
    if len(rows) == 1:
        return no_runs(results)
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Lines of a table without borders, each column as wide as its widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def no_runs(results: Path, left_out: Sequence[str] = ()) -> str:
    """What to say of a folder without runs, and where near it there are some.

    Args:
        results: folder that holds no `runs/`, or an empty one.
        left_out: why runs in it could not be read.
    """
    unreadable = f"; left out: {' '.join(left_out)}" if left_out else ""
    others = [str(folder) for folder in sorted(results.glob("*")) if any(folder.glob(RECORDS))]
    there = f" ({' and '.join(others)} hold{'s' * (len(others) == 1)} some)" if others else ""
    return (
        f"no runs in {results / 'runs'}{unreadable}; make one with "
        f"`usbench run --method propl --split 1_4`, or name another folder with --results{there}"
    )


def _methods() -> Iterable[tuple[str, ...]]:
    from benchmark.methods import METHODS

    yield "name", "method", "category", "reference", "here"
    for name, entry in METHODS.items():
        here = "yes" if entry.target else "not yet"
        yield name, entry.title, entry.category, entry.reference, here


def _tasks() -> Iterable[tuple[str, ...]]:
    from dataset_builders.tasks import TASKS

    yield "task", "target", "organ", "sources", "prompt"
    for task in TASKS.values():
        yield task.code, task.name, task.organ, " + ".join(task.sources), task.prompt


def _sources() -> Iterable[tuple[str, ...]]:
    from dataset_builders.inventory import images_in
    from dataset_builders.sources import SOURCES

    yield "source", "tasks", "images", "licence", "homepage"
    for source in SOURCES.values():
        tasks, images = " ".join(source.expected), str(images_in(source))
        yield source.name, tasks, images, source.card.licence, source.card.homepage


def _runs(results: Path) -> Iterable[tuple[str, ...]]:
    from benchmark.record import load_all

    yield (
        *("run", "Dice (tasks)", "tasks", "preset", "encoder", "weights"),
        *("minutes", "data", "finished"),
    )
    for record in load_all(results):
        yield (
            record.name,
            _dice(record, results),
            " ".join(record.tasks),
            record.preset,
            record.encoder,
            record.weights,
            f"{record.seconds / 60:.1f}",
            record.dataset.content_sha256[:12],
            record.finished,
        )


def _dice(record: "RunRecord", results: Path) -> str:
    """Mean over the run's tasks in the profile `paper`, and how many they are: `75.61 (8)`."""
    from benchmark.profiles import PROFILES
    from benchmark.record import RecordError
    from benchmark.report import score

    try:
        scores = score(record, results, PROFILES["paper"]).scores.values()
    except RecordError:
        return "unreadable"  # `usbench report` says what is wrong with the rows
    return f"{100 * fmean(own.dice for own in scores):.2f} ({len(scores)})"
