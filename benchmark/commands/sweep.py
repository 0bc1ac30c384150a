"""`usbench sweep`: all runs that the tables need."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.options import Data, Results, plain_errors, to_stderr

if TYPE_CHECKING:
    from benchmark.sweep.jobs import Job
    from benchmark.sweep.queue import Entry

TEND_SECONDS = 0.5


def sweep(
    tables: Annotated[str, typer.Option(help="Of the paper: 1-6, or 1,2,3.")] = "1-6",
    methods: Annotated[str, typer.Option(help="Only these: unet,propl.")] = "",
    splits: Annotated[str, typer.Option(help="Only these: 1_16,1_8,1_4.")] = "",
    seeds: Annotated[str, typer.Option(help="Of every run: 0-2, or 0,5.")] = "0",
    data: Data = Path("data"),
    results: Results = Path("results"),
    preset: Annotated[str, typer.Option(help="paper, fast, mini or smoke.")] = "paper",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    set_: Annotated[list[str] | None, typer.Option("--set", help="name=value; repeatable.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16; else what suits.")] = None,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time; else one a GPU, or one a core.")
    ] = None,
    no_weights: Annotated[
        bool, typer.Option("--no-weights", help="Do not keep the trained weights.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the runs.")] = False,
) -> None:
    """Do all runs that the tables need and that are not there yet; exit code 1 if any fails."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with plain_errors():
        from benchmark.methods import METHODS
        from benchmark.resolve import Request
        from benchmark.settings import choose, parse_overrides
        from benchmark.sweep.jobs import requests_of, sort_out
        from benchmark.tables import TABLES
        from dataset_builders.errors import UsageError
        from dataset_builders.tasks import PARTITIONS

        common = Request(
            method="", split="", preset=preset, overrides=parse_overrides(set_ or ()), data=data,
            results=results, device=device, precision=precision, resume=True,
            keep_weights=not no_weights,
        )  # fmt: skip
        requests = requests_of(
            (int(choose("table", str(number), map(str, TABLES))) for number in _numbers(tables)),
            common,
            methods=[choose("method", name, METHODS) for name in methods.split(",") if name],
            splits=[choose("split", name, PARTITIONS) for name in splits.split(",") if name],
            seeds=_numbers(seeds),
        )
        if not requests:
            raise UsageError(
                f"no run of tables {tables} is of methods {methods or 'any'} and splits "
                f"{splits or 'any'}; Tables 1 and 4 are of 1_16, 2 and 5 of 1_8, 3 and 6 of 1_4"
            )
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


def _numbers(text: str) -> list[int]:
    """`"1-3,6"` as [1, 2, 3, 6].

    Raises:
        UsageError: not of that form.
    """
    from dataset_builders.errors import UsageError

    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            raise UsageError(f"'{text}' is no list of numbers; write it as 1-3 or 0,2,5")
        found += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(found))
