"""What a sweep will take: the costs of its runs, when each will end, what fits a budget."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmark.files import replacing
from benchmark.listing import aligned
from benchmark.methods import METHODS
from benchmark.resolve import resolve
from benchmark.sweep.costs import Cost, cost_of
from benchmark.sweep.embedded import Slot
from benchmark.sweep.jobs import Job
from benchmark.sweep.probe import Probe
from benchmark.sweep.probes import ProbeError, Probes, conditions, measure
from benchmark.sweep.schedule import (
    Run,
    Timed,
    bound,
    complete_after,
    in_order,
    makespan,
    simulate,
)

FORMAT = 1
HEADINGS = ("run", "steps", "time", "memory", "disk", "begins", "ends")


@dataclass(frozen=True, slots=True)
class Costs:
    """Of some runs, by name."""

    of: Mapping[str, Cost]
    unknown: Mapping[str, str]  # why a run could not be probed
    start: float  # seconds until a process can take its first run


@dataclass(frozen=True, slots=True)
class Forecast:
    """A sweep played through."""

    costs: Costs
    timed: Sequence[Timed]  # in the order in which they begin
    slots: Sequence[Slot]
    done: int  # runs whose record is there
    tables: Mapping[int, frozenset[str]]  # names of the runs that each needs, the done ones too
    budget: float | None = None  # seconds
    whole: Mapping[int, int] = field(default_factory=dict)  # runs of a table, the others too

    @property
    def runs(self) -> list[Run]:
        """Those to be done."""
        return [each.run for each in self.timed]

    @property
    def complete(self) -> dict[int, float]:
        """Table -> seconds until its last run is done; without those that cannot be told."""
        return {
            number: complete_after(self.timed, names)
            for number, names in self.tables.items()
            if not names & self.costs.unknown.keys()
        }

    def fits(self, ends: float) -> bool:
        """Whether what ends after so many seconds ends within the budget."""
        return self.budget is None or ends <= self.budget


def costs_of(
    jobs: Sequence[Job],
    slots: Sequence[Slot],
    *,
    again: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Costs:
    """Costs of runs; what was not measured before is, once for all runs that are alike in it.

    Args:
        jobs: to be done, with their results in the same folder.
        slots: that work at the same time.
        again: measure also what was measured before.
        say: told of every method that is measured.
    """
    found: dict[str, Cost] = {}
    unknown: dict[str, str] = {}
    met: dict[str, Probe | str] = {}  # a probe, or why there is none
    for job in jobs:
        plan = resolve(job.request)
        of = conditions(plan, slots)
        key = json.dumps(of)
        if key not in met:
            met[key] = _probe(job, of, slots, again=again, say=say)
        probe = met[key]
        if isinstance(probe, str):
            unknown[job.name] = probe
        else:
            found[job.name] = cost_of(plan, probe)
    starts = [probe.start_s for probe in met.values() if isinstance(probe, Probe)]
    return Costs(found, unknown, median(starts or [0.0]))


def _probe(
    job: Job,
    of: dict[str, Any],
    slots: Sequence[Slot],
    *,
    again: bool,
    say: Callable[[str], None],
) -> Probe | str:
    probes = Probes(job.request.results)
    if not again and (known := probes.get(of)):
        return known
    say(f"probing {METHODS[job.request.method].title} ({job.name}) ...")
    try:
        probe = measure(job, slots)
    except ProbeError as error:
        return str(error)
    probes.put(of, probe)
    return probe


def forecast(
    costs: Costs,
    slots: Sequence[Slot],
    *,
    order: str = "longest",
    done: int = 0,
    tables: Mapping[int, frozenset[str]] | None = None,
    budget: float | None = None,
    whole: Mapping[int, int] | None = None,
) -> Forecast:
    """Play a sweep through.

    Args:
        costs: of the runs to be done.
        slots: that do them.
        order: one of `benchmark.sweep.schedule.ORDERS`.
        done: runs whose record is there.
        tables: as `Forecast` has them.
        budget: seconds.
        whole: number -> how many runs a table has, if the sweep is of some of them only.
    """
    tables = tables or {}
    runs = [Run(name, cost.seconds, cost.again) for name, cost in costs.of.items()]
    timed = simulate(in_order(order, runs, tables), len(slots), costs.start)
    return Forecast(costs, timed, slots, done, tables, budget, whole or {})


def as_table(found: Forecast) -> Table:
    """A row a run, for a terminal; those that do not fit the budget are dim."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "run" else "right", no_wrap=True)
    for each in found.timed:
        table.add_row(*_cells(found, each), style="" if found.fits(each.ends) else "dim")
    return table


def as_lines(found: Forecast) -> str:
    """The same as plain text."""
    return aligned([HEADINGS, *(_cells(found, each) for each in found.timed)])


def _cells(found: Forecast, each: Timed) -> tuple[str, ...]:
    cost = found.costs.of[each.run.name]
    return (
        each.run.name,
        f"{cost.steps:,}",
        duration(each.ends - each.begins),
        size(cost.memory_mb),
        size(cost.disk_mb),
        duration(each.begins),
        duration(each.ends),
    )


def summary(found: Forecast) -> Iterator[str]:
    """Lines below the table: sums, hours with the slots, what fits."""
    costs, runs, count = list(found.costs.of.values()), found.runs, len(found.slots)
    before = f", {found.done} done before" if found.done else ""
    work = sum(each.ends - each.begins for each in found.timed)
    yield f"{len(runs)} run{'s' * (len(runs) != 1)} to do{before}: {duration(work)} of work"
    if runs:
        threads = found.slots[0].threads
        yield (
            f"{count} at a time, {threads} CPU thread{'s' * (threads > 1)} each: done after "
            f"{duration(makespan(found.timed))}; no order needs less than "
            f"{duration(bound(runs, count))}"
        )
        most = max(cost.memory_mb for cost in costs)
        saved = sorted((cost.checkpoint_mb for cost in costs), reverse=True)[:count]
        yield (
            f"memory: {size(most)} a run at most; disk: {size(sum(c.disk_mb for c in costs))} "
            f"stay, and up to {size(sum(saved))} of checkpoints meanwhile"
        )
    if found.budget is not None:
        fitting = sum(found.fits(each.ends) for each in found.timed)
        yield f"within {duration(found.budget)}: {fitting} of {len(runs)} runs"
    yield from _of_tables(found)
    for reason in dict.fromkeys(found.costs.unknown.values()):
        names = [name for name, why in found.costs.unknown.items() if why == reason]
        yield f"not known: {', '.join(names)}: {reason}"


def _of_tables(found: Forecast) -> Iterator[str]:
    for number, names in found.tables.items():
        ends = found.complete.get(number)
        late = [e for e in found.timed if e.run.name in names and not found.fits(e.ends)]
        whole = found.whole.get(number, len(names))
        part = f" ({len(names)} of its {whole} runs)" if len(names) < whole else ""
        if late:
            said = f"{len(late)} of {len(names)} runs too late"
        elif ends is None:
            said = "not known"
        else:
            done = "done" if part else "complete"
            said = f"{done} after {duration(ends)}" if ends else done
        yield f"Table {number}{part}: {said}"


def write(found: Forecast, path: Path) -> None:
    """As JSON, whole or not at all.

    Raises:
        WriteError: the file cannot be written.
    """
    values = {
        "format": FORMAT,
        "slots": len(found.slots),
        "threads": found.slots[0].threads,
        "start_s": found.costs.start,
        "makespan_s": makespan(found.timed),
        "bound_s": bound(found.runs, len(found.slots)),
        "budget_s": found.budget,
        "done": found.done,
        "runs": [
            {
                "name": each.run.name,
                **asdict(found.costs.of[each.run.name]),
                "slot": each.slot,
                "begins_s": each.begins,
                "ends_s": each.ends,
                "fits": found.fits(each.ends),
            }
            for each in found.timed
        ],
        "tables": {
            str(number): {
                "runs": sorted(names),
                "of": found.whole.get(number, len(names)),
                "complete_s": found.complete.get(number),
            }
            for number, names in found.tables.items()
        },
        "unknown": dict(found.costs.unknown),
    }
    text = json.dumps(values, indent=1).encode() + b"\n"
    with replacing(path, len(text)) as file:
        file.write(text)


def duration(seconds: float) -> str:
    """`35 s`, `3.2 min`, `6.3 h`, `2.5 days`."""
    for unit, length, enough in (("s", 1, 99.5), ("min", 60, 99.5), ("h", 3600, 72)):
        if seconds < enough * length:
            return f"{seconds / length:.{0 if unit == 's' else 1}f} {unit}"
    return f"{seconds / 86400:.1f} days"


def size(megabytes: float) -> str:
    """`35 MB`, `1.24 GB`."""
    return f"{megabytes:.0f} MB" if megabytes < 999.5 else f"{megabytes / 1e3:.2f} GB"
