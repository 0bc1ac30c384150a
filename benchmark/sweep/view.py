"""What a person sees of a sweep: what runs, how fast, what is left, what failed."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmark.sweep.queue import DONE, FAILED, RUNNING, WAITING, Entry
from benchmark.sweep.remaining import Remaining
from benchmark.sweep.worker import log_of

LINE_SECONDS = 300.0  # between lines on the whole sweep where a table cannot be drawn: a log file
_TAIL = 4096  # bytes of a log that are read for its last lines
_LINES = 5  # of the log of a run that failed
_WIDE = 100  # columns of a terminal that has room for bars


class View:
    """A table that is drawn again and again; into a file, lines when jobs begin and end.

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
        self._remaining = Remaining()
        self._line = time.monotonic()

    def __enter__(self) -> "View":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, entries: Sequence[Entry]) -> None:
        """Draw how the jobs stand."""
        self._remaining.see(entries)
        for entry in entries:
            before = self._states.get(entry.name, WAITING)
            if before != entry.state and entry.state != WAITING:
                self._tell(entry)
            self._states[entry.name] = entry.state
        if self._console.is_terminal:
            self._live.update(self._drawn(entries), refresh=True)
        elif time.monotonic() - self._line > LINE_SECONDS:
            self._line = time.monotonic()
            self._say(self._whole(entries))

    def _tell(self, entry: Entry) -> None:
        if entry.state == RUNNING and self._console.is_terminal:
            return
        word = {RUNNING: "begins", DONE: "done", FAILED: "FAILED"}[entry.state]
        ended = entry.state != RUNNING and entry.began
        taken = f" after {_clock(entry.ended - entry.began)}" if ended else ""
        self._say(f"{entry.name}: {word}{taken}")
        if entry.state == FAILED:
            log = log_of(self._queue, entry.name)
            for line in why(entry, log):
                self._say(f"    {line}")
            if log.is_file():
                self._say(f"    all of it: {log}")

    def _say(self, line: str) -> None:
        """As it is: no names, and nothing that a library printed, are taken for markup."""
        self._console.print(Text(line), soft_wrap=True)

    def _drawn(self, entries: Sequence[Entry]) -> Group:
        """The sum first: what does not fit into a low terminal is cut off below."""
        wide = self._console.width >= _WIDE
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("run", overflow="ellipsis")
        for heading in ("done", *([""] if wide else []), "for", "left", "images/s"):
            table.add_column(heading, no_wrap=True, justify="right")
        now = time.time()
        for entry in entries:
            if entry.state == RUNNING:
                bar = [ProgressBar(1.0, entry.share, width=16)] if wide else []
                table.add_row(
                    Text(entry.name),
                    f"{entry.share:.0%}",
                    *bar,
                    _clock(now - entry.began),
                    _clock(self._remaining.run(entry)),
                    _speed(entry.speed),
                )
        return Group(Text(self._whole(entries)), table)

    def _whole(self, entries: Sequence[Entry]) -> str:
        left = _clock(self._remaining.sweep(entries))
        return f"{counts(entries, self._total, self._before)}; time left {left}"


def counts(entries: Sequence[Entry], total: int, before: int) -> str:
    """`7 of 63 done, 2 running, 1 failed, 53 waiting`."""
    of = {
        state: sum(entry.state == state for entry in entries)
        for state in (DONE, RUNNING, FAILED, WAITING)
    }
    done = f"{before + of.pop(DONE)} of {total} done"
    return ", ".join([done, *(f"{count} {state}" for state, count in of.items() if count)])


def why(entry: Entry, log: Path) -> list[str]:
    """The last lines of a failed job's log, then what only the queue knows."""
    lines = last_lines(log)
    told = "\n".join(lines)
    return lines + [line for line in entry.problem.splitlines() if line.strip() not in told]


def last_lines(log: Path) -> list[str]:
    """The last lines of a log that say something; none if there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = Text.from_ansi(text).plain.splitlines()  # a library may have coloured its own
    return [line.rstrip() for line in lines if line.strip()][-_LINES:]


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _speed(images_per_s: float) -> str:
    if not images_per_s:
        return "?"
    return f"{images_per_s:.{0 if images_per_s >= 10 else 1}f}"
