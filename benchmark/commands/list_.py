"""`usbench list`: what there is."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import Results, plain_errors
from dataset_builders.errors import UsageError


def list_(
    what: Annotated[str, typer.Argument(help="methods, tasks, sources or runs.")],
    results: Results = Path("results"),
    cards: Annotated[
        bool, typer.Option("--cards", help="Of methods: what each follows, as Markdown.")
    ] = False,
) -> None:
    """Show what there is."""
    with plain_errors():
        if cards:
            if what != "methods":
                raise UsageError("--cards are of methods; say `usbench list methods --cards`")
            from benchmark.fidelity import cards as fidelity_cards

            typer.echo(fidelity_cards(), nl=False)
            return
        from benchmark.listing import listing

        typer.echo(listing(what, results))
