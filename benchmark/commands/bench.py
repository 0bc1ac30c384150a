"""`usbench bench`: speed of a method's training step on this machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.options import plain_errors, to_stderr
from dataset_builders.errors import UsageError

if TYPE_CHECKING:
    from benchmark.resolve import Request


def bench(
    method: Annotated[list[str] | None, typer.Option(help="A method; repeatable.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All methods there are.")] = False,
    preset: Annotated[str, typer.Option(help="paper, fast, mini or smoke.")] = "paper",
    split: Annotated[str, typer.Option(help="Labelled share: 1_16, 1_8, 1_4 or full.")] = "1_4",
    set_: Annotated[list[str] | None, typer.Option("--set", help="name=value; repeatable.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data set; default: random images.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16; else what suits.")] = None,
    compile_: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="torch.compile.")
    ] = None,
    graph: Annotated[
        bool | None, typer.Option("--graph/--no-graph", help="A step as one CUDA graph.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Timed on each side; else 100, on a CPU 10.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the CPU; else all.")] = None,
    budget: Annotated[
        float | None, typer.Option(min=1, help="Seconds after which no method is begun.")
    ] = None,
    pack: Annotated[
        str | None, typer.Option(help="Rather so many runs at a time, such as 1,2,4.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write JSON.")] = None,
) -> None:
    """Measure the speed of training steps, beside a plain loop over the same losses.

    With --pack: how many images several trainings at a time learn from, beside one alone.

    Weights are random unless --set weights= names others: speed does not depend on them.
    """
    with plain_errors():
        from benchmark.methods import METHODS
        from benchmark.settings import PROTOCOL, choose, parse_overrides

        names = list(dict.fromkeys(method or ()))
        if bool(names) == all_:
            raise UsageError("name the methods with --method, or take them all with --all")
        if pack and budget:
            raise UsageError("--budget is not for --pack; name fewer methods with --method")
        if all_:
            names = [name for name, entry in METHODS.items() if entry.target]
        for name in names:
            choose("method", name, METHODS)
        overrides = parse_overrides(set_ or ())
        if not overrides.keys() & {"weights", f"{PROTOCOL}.weights"}:
            overrides["weights"] = "none"

        # as for `usbench run`; read once, when torch is loaded
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        import torch

        from benchmark.resolve import Request

        if threads is not None:
            torch.set_num_threads(threads)
        requests = {
            name: Request(
                method=name,
                split=split,
                preset=preset,
                overrides=overrides,
                data=data or Path("data"),
                device=device,
                precision=precision,
                compile=compile_,
                graph=graph,
            )
            for name in names
        }
        if pack:
            failed = _pack(requests, pack, steps, data is None, out)
        else:
            failed = _bench(requests, steps, budget, data is None, out)
        if out is not None:
            to_stderr(f"written: {out}")
        if failed:
            raise typer.Exit(1)


def _bench(
    requests: "dict[str, Request]",
    steps: int | None,
    budget: float | None,
    random: bool,
    out: Path | None,
) -> bool:
    """Step against plain loop; whether a method failed."""
    from benchmark.bench.show import as_text
    from benchmark.bench.suite import bench

    report = bench(requests, steps=steps, budget_s=budget, random=random, out=out, say=to_stderr)
    typer.echo(as_text(report), nl=False)
    return bool(report.failed)


def _pack(
    requests: "dict[str, Request]", counts: str, steps: int | None, random: bool, out: Path | None
) -> bool:
    """Several at a time against one; whether a method failed."""
    from benchmark.bench.pack import pack, pack_counts
    from benchmark.bench.show_pack import as_text

    report = pack(requests, pack_counts(counts), steps=steps, random=random, out=out, say=to_stderr)
    typer.echo(as_text(report), nl=False)
    return bool(report.failed)
