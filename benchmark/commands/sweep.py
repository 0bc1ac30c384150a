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
    Seeds,
    Slots,
    Splits,
    Tables,
    common_request,
    selected,
)

if TYPE_CHECKING:
    from benchmark.sweep.jobs import Job
    from benchmark.sweep.queue import Entry

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
    slots: Slots = None,
    no_weights: NoWeights = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the runs.")] = False,
) -> None:
    """Do all runs that the tables need and that are not there yet; exit code 1 if any fails."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with plain_errors():
        from benchmark.sweep.jobs import sort_out

        common = common_request(
            data, results, preset, device, set_, precision,
            compile_=compile_, keep_weights=not no_weights,
        )  # fmt: skip
        requests = selected(tables, methods, splits, seeds, common)
        todo, done = sort_out(requests)
        if dry_run:
            for job in done:
                typer.echo(f"{job.name}  done")
            for job in todo:
                typer.echo(job.name)
            return
        failed = _work(todo, len(done), slots, retry=retry)
    typer.echo(f"report: usbench report --results {results}")
    if failed:
        again = ", ".join(entry.name for entry in failed)
        to_stderr(f"{len(failed)} of {len(requests)} failed: {again}; mend that and add --retry")
        raise typer.Exit(1)


def _work(todo: "Sequence[Job]", before: int, slots: int | None, *, retry: bool) -> "list[Entry]":
    """Do the jobs on this machine; returns those that failed.

    Ctrl-C leaves a checkpoint of every run that is under way.
    """
    from benchmark.sweep.embedded import Workers, slots_here
    from benchmark.sweep.queue import FAILED, Queue, Task
    from benchmark.sweep.view import View

    if not todo:
        return []
    common = todo[0].request
    queue = Queue(common.results / "sweep.sqlite")
    queue.put(Task(job.name, job.spec) for job in todo)
    if retry:
        queue.retry()
    asked = {job.name for job in todo}
    with View(queue.path, before + len(todo), before) as view:
        try:
            with Workers(queue, slots_here(slots, common.device)) as workers:
                while workers.tend():
                    view.show(_of(queue.entries(), asked))
                    time.sleep(TEND_SECONDS)
        except KeyboardInterrupt:
            to_stderr("stopped; the same command goes on from the checkpoints")
            raise typer.Exit(130) from None
        view.show(_of(queue.entries(), asked))
    return [entry for entry in _of(queue.entries(), asked) if entry.state == FAILED]


def _of(entries: "Sequence[Entry]", names: set[str]) -> "list[Entry]":
    return [entry for entry in entries if entry.name in names]
