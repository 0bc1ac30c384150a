"""`usbench compare`: two methods on the same images."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import Format, ProfileName, Results, plain_errors


def compare(
    first: Annotated[str, typer.Argument(help="A method.")],
    second: Annotated[str, typer.Argument(help="Another.")],
    split: Annotated[str, typer.Option(help="Labelled share: 1_16, 1_8, 1_4 or full.")],
    results: Results = Path("results"),
    profile: ProfileName = "paper",
    format_: Format = "terminal",
) -> None:
    """Difference of two methods on the same images, its interval, and how sure it is."""
    with plain_errors():
        from benchmark.compare import compare as compare_methods

        text = compare_methods(results, first, second, split, profile, format_)
    typer.echo(text, nl=not text.endswith("\n"))
