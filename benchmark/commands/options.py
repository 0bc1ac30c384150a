"""Options that several commands share, and how an error of the user's is shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from dataset_builders.errors import UsageError

Data = Annotated[Path, typer.Option("--data", help="Built data set.")]
Results = Annotated[Path, typer.Option("--results", help="Folder of records.")]
ProfileName = Annotated[
    str, typer.Option("--profile", help="paper, pooled, medpy, monai, deepmind, native or mm.")
]
Format = Annotated[str, typer.Option("--format", help="terminal, md, csv or latex.")]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Errors that we raise about the user's input end in one message, not in a traceback."""
    try:
        yield
    except (UsageError, OSError) as error:  # a full disk, a folder that cannot be written
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(2) from None


def to_stderr(text: str) -> None:
    """What is said beside the result, so that the result can be piped."""
    typer.echo(text, err=True)
