"""`usbench sweep`: all runs that the tables need."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.options import (
    Compile,
    Data,
    Device,
    NoWeights,
    Precision,
    Preset,
    Results,
    Settings,
    plain_errors,
    to_stderr,
)
from benchmark.commands.selection import (
    Methods,
    Order,
    Seeds,
    Slots,
    Splits,
    Tables,
    common_request,
    numbers,
    seconds_in,
    selected,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from benchmark.sweep.engines import Place
    from benchmark.sweep.jobs import Job
    from benchmark.sweep.queue import Entry, Queue, Task

TEND_SECONDS = 0.5


def sweep(
    tables: Tables = "1-6",
    methods: Methods = "",
    splits: Splits = "",
    seeds: Seeds = "0",
    data: Data = Path("data"),
    results: Results = Path("results"),
    preset: Preset = "paper",
    device: Device = "auto",
    set_: Settings = None,
    precision: Precision = None,
    compile_: Compile = None,
    no_weights: NoWeights = False,
    slots: Slots = None,
    pack: Annotated[int, typer.Option(min=1, help="Runs at a time on one GPU.")] = 1,
    order: Order = "longest",
    budget: Annotated[
        str | None, typer.Option(help="Stop after 90s, 25m, 1.5h, 2d; call again to go on.")
    ] = None,
    engine: Annotated[str, typer.Option(help="embedded, ray or slurm.")] = "embedded",
    address: Annotated[
        str | None,
        typer.Option(help="Of a Ray cluster: host:port, or auto; else one is started here."),
    ] = None,
    slurm: Annotated[
        list[str] | None, typer.Option(help="name=value, as partition=gpu; repeatable.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave it to SLURM; call again to look.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the runs.")] = False,
) -> None:
    """Do all runs that the tables need and that are not there yet; exit code 1 if any fails.

    What `usbench plan` measured before gives their order and the time left.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with plain_errors("the same command goes on from the checkpoints"):
        from benchmark.settings import choose
        from benchmark.sweep.engines import Place, leave_to_slurm
        from benchmark.sweep.jobs import sort_out
        from benchmark.sweep.queue import Queue
        from benchmark.sweep.schedule import ORDERS, runs_of_tables
        from dataset_builders.errors import UsageError

        choose("order", order, ORDERS)
        seconds = None if budget is None else seconds_in(budget)
        if detach and budget:
            raise UsageError("--budget is not for --detach; say --slurm time=MINUTES")
        place = Place(engine, device, slots, pack, address, tuple(slurm or ()), detach)
        common = common_request(
            data, results, preset, device, set_, precision,
            compile_=compile_, keep_weights=not no_weights,
        )  # fmt: skip
        requests = selected(tables, methods, splits, seeds, common)
        todo, done = sort_out(requests, elsewhere=engine != "embedded")
        if dry_run:
            for job in done:
                typer.echo(f"{job.name}  done")
            for job in todo:
                typer.echo(job.name)
            return
        left: list[Entry] = []
        if todo:
            queue = Queue(results / "sweep.sqlite")
            needed = runs_of_tables(numbers(tables), [*done, *todo], common)
            queue.put(_in_order(todo, needed, order, place))
            if retry:
                queue.retry({job.name for job in todo})
            if detach:
                typer.echo(leave_to_slurm(place, queue))
                return
            left = _work(queue, place, {job.name for job in todo}, len(done), seconds)
    typer.echo(f"report: usbench report --results {results}")
    _tell(left, len(done) + len(todo))


def _tell(left: "Sequence[Entry]", total: int) -> None:
    """Say what was not done; exit code 1 if any of it failed."""
    from benchmark.sweep.queue import FAILED

    failed = [entry.name for entry in left if entry.state == FAILED]
    if len(left) > len(failed):
        to_stderr(f"{len(left) - len(failed)} of {total} runs are left")
    if failed:
        again = ", ".join(failed)
        to_stderr(f"{len(failed)} of {total} failed: {again}; mend that and add --retry")
        raise typer.Exit(1)


def _in_order(
    todo: "Sequence[Job]", tables: "Mapping[int, Collection[str]]", order: str, place: "Place"
) -> "list[Task]":
    """What the queue is to hold; a run that was not probed counts as the mean of those that were.

    Args:
        todo: runs.
        tables: number -> names of runs that it needs.
        order: "longest" or "tables".
        place: for the probes' conditions.
    """
    from statistics import fmean

    from benchmark.sweep.costs import predicted
    from benchmark.sweep.embedded import slots_here
    from benchmark.sweep.queue import Task
    from benchmark.sweep.schedule import Run, in_order

    slots = slots_here(place.slots, place.device, place.pack)[: len(todo)]
    seconds = predicted(todo, todo[0].request.results, slots)
    usual = fmean(seconds.values()) if seconds else 0.0
    runs = [Run(job.name, own := seconds.get(job.name, usual), own) for job in todo]
    specs = {job.name: job.spec for job in todo}
    return [
        Task(run.name, specs[run.name], run.seconds, run.rank)
        for run in in_order(order, runs, tables)
    ]


def _work(
    queue: "Queue", place: "Place", asked: set[str], before: int, budget: float | None
) -> "list[Entry]":
    """Do the jobs; returns those that are not done.

    Ctrl-C, or the end of the budget, leaves a checkpoint of every run that is under way.

    Raises:
        QueueError: another sweep took jobs out of the queue.
    """
    from benchmark.sweep.engines import engine_at
    from benchmark.sweep.queue import DONE, QueueError
    from benchmark.sweep.view import View

    def entries() -> "list[Entry]":
        return [entry for entry in queue.entries() if entry.name in asked]

    until = None if budget is None else time.monotonic() + budget
    with View(queue.path, before + len(asked), before) as view:
        with engine_at(place, queue) as engine:
            try:
                while engine.tend():
                    view.show(entries())
                    if until is not None and time.monotonic() > until:
                        to_stderr("the budget is spent; runs write their checkpoints")
                        break
                    time.sleep(TEND_SECONDS)
            except KeyboardInterrupt:
                to_stderr("stopping; runs write their checkpoints")
                raise
        view.show(entries())
    if taken := len(asked) - len(entries()):
        raise QueueError(
            f"{taken} runs were taken out of {queue.path} by another sweep; call this one again "
            "when that is over, or give another --results"
        )
    return [entry for entry in entries() if entry.state != DONE]
