"""`usbench list`: methods, tasks, sources, runs."""

from collections.abc import Callable, Iterable
from pathlib import Path

from benchmark.settings import choose


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
        return f"no runs in {results / 'runs'}; name another folder with --results"
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
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
    from dataset_builders.sources import SOURCES

    yield "source", "tasks", "images", "licence", "homepage"
    for source in SOURCES.values():
        tasks, images = " ".join(source.expected), max(source.expected.values())
        yield source.name, tasks, str(images), source.card.licence, source.card.homepage


def _runs(results: Path) -> Iterable[tuple[str, ...]]:
    from benchmark.record import load_all

    yield "run", "preset", "encoder", "weights", "tasks", "minutes", "data", "finished"
    for record in load_all(results):
        # the one training of a universal method is entered with each of its tasks
        times = [entry.seconds for entry in record.tasks.values()]
        seconds = times[0] if len(set(times)) == 1 else sum(times)
        yield (
            record.name,
            record.preset,
            record.encoder,
            record.weights,
            " ".join(record.tasks),
            f"{seconds / 60:.1f}",
            record.dataset.content_sha256[:12],
            record.finished,
        )
