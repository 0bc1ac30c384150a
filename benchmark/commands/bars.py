"""Progress bars of what goes task by task through a data set, on stderr beside the result."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def task_bars(*, transient: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A function that shows (task, images done, images in all), a bar a task.

    Args:
        transient: take the bars away in the end.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Bars(*columns, TimeElapsedColumn(), console=console, transient=transient) as bars:
        shown: dict[str, Any] = {}

        def progress(task: str, done: int, total: int) -> None:
            if task not in shown:
                shown[task] = bars.add_task(task, total=total)
            bars.update(shown[task], completed=done)

        yield progress
