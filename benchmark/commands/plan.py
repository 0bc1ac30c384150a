"""`usbench plan`: what a sweep will take, and what of it fits a budget."""

import os
from pathlib import Path
from typing import Annotated

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


def plan(
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
    budget: Annotated[
        str | None, typer.Option(help="What fits into this time: 90s, 25m, 1.5h, 2d.")
    ] = None,
    order: Order = "longest",
    probe_again: Annotated[
        bool, typer.Option("--probe-again", help="Measure anew what was measured before.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Also write JSON.")] = None,
) -> None:
    """Predict hours, memory and gigabytes of the runs that `usbench sweep` would do.

    Of every method some steps are timed on this device, as many at once as there are slots.
    """
    # as for `usbench run`; read once, when torch is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with plain_errors():
        from rich.console import Console

        from benchmark.settings import choose
        from benchmark.sweep.embedded import slots_here
        from benchmark.sweep.forecast import (
            as_lines,
            as_table,
            costs_of,
            forecast,
            summary,
            write,
        )
        from benchmark.sweep.jobs import requests_of, sort_out
        from benchmark.sweep.schedule import ORDERS, runs_of_tables

        limit = None if budget is None else seconds_in(budget)
        choose("order", order, ORDERS)
        common = common_request(
            data, results, preset, device, set_, precision,
            compile_=compile_, keep_weights=not no_weights,
        )  # fmt: skip
        todo, done = sort_out(selected(tables, methods, splits, seeds, common))
        places = slots_here(slots, device)[: max(1, len(todo))]
        costs = costs_of(todo, places, again=probe_again, say=to_stderr)
        needed = runs_of_tables(numbers(tables), [*done, *todo], common)
        every = {n: len(requests_of([n], common, seeds=numbers(seeds))) for n in needed}
        found = forecast(
            costs, places, order=order, done=len(done), tables=needed, budget=limit, whole=every
        )
        if out is not None:
            write(found, out)
        console = Console()
        if found.timed and console.is_terminal:
            console.print(as_table(found))
        elif found.timed:
            typer.echo(as_lines(found))
        for line in summary(found):
            typer.echo(line)
        if out is not None:
            to_stderr(f"written: {out}")
        if costs.unknown:
            raise typer.Exit(1)
