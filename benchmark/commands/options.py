"""Options that several commands share, and how an error of the user's or Ctrl-C is shown."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from dataset_builders.errors import UsageError

Data = Annotated[Path, typer.Option("--data", help="Built data set.")]
DataOrHub = Annotated[Path, typer.Option("--data", help="Built data set, or hf:ORG/NAME@REVISION.")]
Preset = Annotated[str, typer.Option(help="paper, fast, mini or smoke.")]
Split = Annotated[str, typer.Option(help="Labelled share: 1_16, 1_8, 1_4 or full.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="name=value; repeatable.")]
Precision = Annotated[str | None, typer.Option(help="fp32 or bf16; else what suits.")]
Compile = Annotated[bool | None, typer.Option("--compile/--no-compile", help="torch.compile.")]
Graph = Annotated[bool | None, typer.Option("--graph/--no-graph", help="A step as one CUDA graph.")]
NoWeights = Annotated[bool, typer.Option("--no-weights", help="Do not keep the trained weights.")]
Results = Annotated[Path, typer.Option("--results", help="Folder of records.")]
ProfileName = Annotated[
    str, typer.Option("--profile", help="paper, pooled, medpy, monai, deepmind, native or mm.")
]
Format = Annotated[str, typer.Option("--format", help="terminal, md, csv or latex.")]


STOPPED = 130  # exit code after Ctrl-C, as shells have it


@contextmanager
def plain_errors(
    kept: str = "what was there before is kept, and nothing is half-written",
) -> Iterator[None]:
    """End in one message on stderr: code 2 for errors about the user's input, 130 for Ctrl-C.

    Args:
        kept: what is left after Ctrl-C, or how to go on.
    """
    try:
        yield
    except (UsageError, OSError) as error:  # a full disk, a folder that cannot be written
        colours = False if os.environ.get("NO_COLOR") else None  # None: if it is a terminal
        typer.secho(f"Error: {_said(error)}", fg=typer.colors.RED, err=True, color=colours)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        to_stderr(f"stopped; {kept}")
        raise typer.Exit(STOPPED) from None


def _said(error: Exception) -> str:
    """What it says; of the system's own, which say no more than a number and a name, what to do."""
    if not (isinstance(error, OSError) and error.strerror):
        return str(error)
    if not error.filename:
        return f"{error.strerror}; mend that, then repeat the command"
    return (
        f"{error.filename} cannot be used ({error.strerror}); name another path, or see that "
        "it is there and may be read and written, then repeat the command"
    )


def to_stderr(text: str) -> None:
    """What is said beside the result, so that the result can be piped."""
    typer.echo(text, err=True)
