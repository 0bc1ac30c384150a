"""What a person sees of a sweep: what runs, how fast, what is left, what failed."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmark.sweep.queue import DONE, FAILED, RUNNING, WAITING, Entry
from benchmark.sweep.worker import log_of

_TAIL = 4096  # bytes of a log that are read for its last line


class View:
    """A table that is drawn again and again; into a file, a line whenever a job begins or ends.

    Args:
        queue: the file, beside which the logs lie.
        total: jobs of the sweep, those that were done before among them.
        before: how many those are.
    """

    def __init__(self, queue: Path, total: int, before: int) -> None:
        self._queue, self._total, self._before = queue, total, before
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._states: dict[str, str] = {}

    def __enter__(self) -> "View":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, entries: Sequence[Entry]) -> None:
        """Draw how the jobs stand."""
        for entry in entries:
            before = self._states.get(entry.name, WAITING)
            if before != entry.state and entry.state != WAITING:
                self._tell(entry)
            self._states[entry.name] = entry.state
        if self._console.is_terminal:
            self._live.update(self._drawn(entries), refresh=True)

    def _tell(self, entry: Entry) -> None:
        taken = f" after {_clock(entry.ended - entry.began)}" if entry.ended > entry.began else ""
        word = {RUNNING: "begins", DONE: f"done{taken}", FAILED: "FAILED"}[entry.state]
        if entry.state == RUNNING and self._console.is_terminal:
            return
        self._console.print(f"{entry.name}: {word}", highlight=False, soft_wrap=True)
        if entry.state == FAILED:
            lines = (f"    {line}" for line in entry.problem.splitlines())
            self._console.print("\n".join(lines), highlight=False, soft_wrap=True)

    def _drawn(self, entries: Sequence[Entry]) -> Group:
        now = time.time()
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("run", "for", "now"):
            table.add_column(heading, no_wrap=True)
        for entry in entries:
            if entry.state == RUNNING:
                last = last_line(log_of(self._queue, entry.name))
                table.add_row(
                    entry.name, _clock(now - entry.began), Text(last, overflow="ellipsis")
                )
        return Group(table, Text(counts(entries, self._total, self._before)))


def counts(entries: Sequence[Entry], total: int, before: int) -> str:
    """`7 of 63 done, 2 running, 1 failed, 53 waiting`."""
    of = {
        state: sum(entry.state == state for entry in entries)
        for state in (DONE, RUNNING, FAILED, WAITING)
    }
    done = f"{before + of.pop(DONE)} of {total} done"
    return ", ".join([done, *(f"{count} {state}" for state, count in of.items() if count)])


def last_line(log: Path) -> str:
    """The last line of a log that says something; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
