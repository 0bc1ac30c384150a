"""`usbench leakage`: images that repeat, and what stands on both sides of the split."""

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.commands.options import plain_errors, to_stderr


def leakage(
    data: Annotated[Path, typer.Argument(help="Built data set.")] = Path("data"),
    raw: Annotated[
        Path | None, typer.Option(help="Search all images of the sources in this folder instead.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write every pair to this CSV file.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Mark duplicates in the data set; list clean test ids.")
    ] = False,
) -> None:
    """Find images that repeat, exactly or nearly, and patients on both sides of the split.

    Ends with code 1 if anything stands on both sides.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from benchmark.files import replacing
    from dataset_builders.errors import UsageError
    from dataset_builders.leakage.findings import search
    from dataset_builders.leakage.mark import mark
    from dataset_builders.leakage.pictures import of_data_set, of_sources
    from dataset_builders.leakage.report import summary, table

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with plain_errors():
        if raw and write:
            raise UsageError(
                "--write marks a built data set, and --raw searches what it was built from; "
                "leave one of them out"
            )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            shown: dict[str, Any] = {}

            def progress(what: str, done: int, total: int) -> None:
                if what not in shown:
                    shown[what] = bars.add_task(what, total=total)
                bars.update(shown[what], completed=done)

            pictures = of_sources(raw, progress) if raw else of_data_set(data, progress)
            found = search(pictures, progress)
        typer.echo(summary(found))
        if out:
            content = table(found)
            with replacing(out, len(content)) as file:
                file.write(content)
        if write:
            marked = mark(data, found)
            to_stderr(f"{data}: {marked} images marked; splits/*/clean.txt list the other test ids")
    if found.straddling:
        raise typer.Exit(1)
