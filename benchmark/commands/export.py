"""`usbench export onnx`: a trained model for programs that know nothing of usbench."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import Results, plain_errors
from benchmark.commands.predict import Checkpoint, RunName, Task
from dataset_builders.errors import UsageError

export = typer.Typer(help="Write a trained model for other programs.", no_args_is_help=True)


@export.callback()
def _formats() -> None:
    """Keeps `onnx` a command of its own while it is the only one."""


@export.command("onnx")
def onnx(
    out: Annotated[Path, typer.Option(help="File to write, such as model.onnx.")],
    task: Task,
    run: RunName = None,
    checkpoint: Checkpoint = None,
    results: Results = Path("results"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
) -> None:
    """Picture of any size in, mask of the same size out, as one ONNX file."""
    with plain_errors():
        if out.exists() and not overwrite:
            raise UsageError(f"{out} is there already; name another, or add --overwrite")
        from benchmark.export import export_onnx
        from benchmark.predict import weights_path

        export_onnx(weights_path(run, checkpoint, results, task), task, out)
    typer.echo(f"model: {out}")
