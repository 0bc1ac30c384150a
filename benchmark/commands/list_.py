"""`usbench list`: what there is."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import Results, plain_errors


def list_(
    what: Annotated[str, typer.Argument(help="methods, tasks, sources or runs.")],
    results: Results = Path("results"),
) -> None:
    """Show what there is."""
    with plain_errors():
        from benchmark.listing import listing

        typer.echo(listing(what, results))
