"""`usbench cite`: the references of a data set."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import plain_errors

FORMATS = ("bibtex", "text")


def cite(
    dataset: Annotated[
        Path | None,
        typer.Option(
            help="Cite the sources of this data set, a folder or hf:ORG/NAME@REVISION; "
            "default: all sources."
        ),
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="bibtex or text.")] = "bibtex",
) -> None:
    """Print what to cite: the sources of the images, the ProPL paper, and usbench."""
    from benchmark.hub_data import folder_of
    from benchmark.settings import choose
    from dataset_builders.built import read_manifest, used_sources
    from dataset_builders.citing import CITED, bibtex, references, text

    with plain_errors():
        write = {"bibtex": bibtex, "text": text}[choose("format", format_, FORMATS)]
        sources = used_sources(read_manifest(folder_of(dataset))) if dataset else list(CITED)
        for name in sources:
            choose("source", name, CITED)
    typer.echo(write(references(sources)), nl=False)
