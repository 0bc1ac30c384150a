"""When each run of a sweep will end: the queue's rule, played through with predicted times."""

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.resolve import Request
from benchmark.sweep.jobs import Job, requests_of
from benchmark.sweep.queue import NEAR

ORDERS = ("longest", "tables")


@dataclass(frozen=True, slots=True)
class Run:
    """A run and how long it is predicted to take."""

    name: str
    seconds: float  # where it is the first of its method in its process
    again: float  # where it is not, which is less
    rank: int = 0  # all runs of a lower rank are begun before it

    @property
    def method(self) -> str:
        """Runs of one method follow each other where they can."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Timed:
    """A run in its place."""

    run: Run
    slot: int
    begins: float  # seconds after the sweep
    ends: float


def in_order(order: str, runs: Iterable[Run], tables: Mapping[int, Collection[str]]) -> list[Run]:
    """Runs as a sweep takes them: "longest" first, or "tables" one after another."""
    return longest_first(runs) if order == "longest" else table_by_table(runs, tables)


def longest_first(runs: Iterable[Run]) -> list[Run]:
    """So that no long run is left over when all others are done."""
    return sorted(runs, key=lambda run: -run.seconds)


def table_by_table(runs: Iterable[Run], tables: Mapping[int, Collection[str]]) -> list[Run]:
    """So that a table is complete soonest: always the one next that has least left to do.

    Args:
        runs: to be done.
        tables: number -> names of runs that it needs; others may be done already.

    Returns:
        The runs, those of each table with a rank of their own.
    """
    waiting, open_ = {run.name: run for run in longest_first(runs)}, dict(tables)
    ordered: list[Run] = []
    for rank in range(len(tables)):
        left = {
            number: [run for name, run in waiting.items() if name in names]
            for number, names in open_.items()
        }
        number = min(left, key=lambda number: (sum(run.seconds for run in left[number]), number))
        ordered += [replace(waiting.pop(run.name), rank=rank) for run in left[number]]
        del open_[number]
    return [*ordered, *(replace(run, rank=len(tables)) for run in waiting.values())]


def taken_next(waiting: Sequence[Run], like: str) -> Run:
    """The run that `benchmark.sweep.queue.Queue.lease` gives to a worker.

    Args:
        waiting: in order, one at least.
        like: the method of the worker's last run; empty before its first.
    """
    lowest = min(run.rank for run in waiting)
    first = [run for run in waiting if run.rank == lowest]
    enough = NEAR * max(run.seconds for run in first)
    near = (run for run in first if run.method == like and run.seconds >= enough)
    return next(near, first[0])


def simulate(runs: Sequence[Run], slots: int, start: float = 0.0) -> list[Timed]:
    """Let some slots take runs as they become free.

    Args:
        runs: in order.
        slots: each does one run at a time.
        start: seconds until a slot's process can take its first run.

    Returns:
        The runs in the order in which they begin.
    """
    waiting, timed = list(runs), list[Timed]()
    free = [(start, slot, "") for slot in range(min(slots, len(waiting)))]
    served: dict[int, set[str]] = {slot: set() for _, slot, _ in free}
    while waiting:
        now, slot, like = heapq.heappop(free)
        run = taken_next(waiting, like)
        waiting.remove(run)
        ends = now + (run.again if run.method in served[slot] else run.seconds)
        served[slot].add(run.method)
        timed.append(Timed(run, slot, now, ends))
        heapq.heappush(free, (ends, slot, run.method))
    return timed


def makespan(timed: Iterable[Timed]) -> float:
    """Seconds until all are done."""
    return max((each.ends for each in timed), default=0.0)


def bound(runs: Sequence[Run], slots: int) -> float:
    """Seconds below which no order can be: all slots busy to the end, or one with the longest."""
    seconds = [run.again for run in runs]
    return max(sum(seconds) / slots, max(seconds, default=0.0))


def complete_after(timed: Iterable[Timed], names: Collection[str]) -> float:
    """Seconds until the runs of a table that were still to be done are."""
    return makespan(each for each in timed if each.run.name in names)


def runs_of_tables(
    numbers: Iterable[int], jobs: Sequence[Job], common: Request
) -> dict[int, frozenset[str]]:
    """Which of some runs each table needs; tables that need none are left out.

    Args:
        numbers: of tables.
        jobs: of `benchmark.sweep.jobs.sort_out`.
        common: what the requests of all have in common.
    """
    seeds = sorted({job.request.seed for job in jobs})
    found: dict[int, frozenset[str]] = {}
    for number in numbers:
        asked = requests_of([number], common, seeds=seeds)
        if names := frozenset(job.name for job in jobs if job.request in asked):
            found[number] = names
    return found
