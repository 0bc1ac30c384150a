"""`usbench run`: train, evaluate, leave one record."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    STOPPED,
    Compile,
    DataOrHub,
    Device,
    Graph,
    NoWeights,
    Precision,
    Preset,
    Results,
    Settings,
    Split,
    plain_errors,
)


def run(
    method: Annotated[str, typer.Option(help="See `usbench list methods`.")],
    split: Split,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; repeatable.")] = None,
    seed: int = 0,
    data: DataOrHub = Path("data"),
    results: Results = Path("results"),
    device: Device = "auto",
    preset: Preset = "paper",
    variant: Annotated[str, typer.Option(help="paper, or released where code differs.")] = "paper",
    encoder: Annotated[str | None, typer.Option(help="timm's name.")] = None,
    weights: Annotated[str | None, typer.Option(help="imagenet, packaged or none.")] = None,
    validation: Annotated[
        float | None, typer.Option(help="Share of the labelled groups to watch, not learn from.")
    ] = None,
    set_: Settings = None,
    precision: Precision = None,
    compile_: Compile = None,
    graph: Graph = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same bits every time on a GPU too.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Replace a run that is there.")
    ] = False,
    no_weights: NoWeights = False,
) -> None:
    """Train a method, evaluate it, leave one record and the weights, and print the scores."""
    with plain_errors():
        from benchmark.settings import joined, parse_overrides

        options = {"encoder": encoder, "weights": weights, "validation": validation}
        given = {name: value for name, value in options.items() if value is not None}
        overrides = joined(parse_overrides(set_ or ()), given)

        # Threads that wait by spinning take the core of the one they wait for, where cores are
        # shared: a step took 2.5 to 8 s so, and 0.7 s like this. Read once, when torch is loaded.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

        from benchmark.record import load
        from benchmark.resolve import Request
        from benchmark.run import run as run_method
        from benchmark.summary import score_lines
        from benchmark.train import Interrupted

        request = Request(
            method=method,
            split=split,
            seed=seed,
            tasks=tuple(dict.fromkeys(task or ())),
            preset=preset,
            variant=variant,
            overrides=overrides,
            data=data,
            results=results,
            device=device,
            precision=precision,
            compile=compile_,
            graph=graph,
            deterministic=deterministic,
            resume=resume,
            restart=restart,
            keep_weights=not no_weights,
        )
        try:
            path = run_method(request)
        except Interrupted as stop:
            again = [word for word in sys.argv[1:] if word not in ("--resume", "--restart")]
            typer.echo(f"{stop}; go on with: usbench {' '.join(again)} --resume", err=True)
            raise typer.Exit(STOPPED) from None
        typer.echo(f"record: {path}")
        for line in score_lines(load(path), results):
            typer.echo(line)
