"""`usbench leakage`: images that repeat, and what stands on both sides of the split."""

import errno
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.bars import task_bars
from benchmark.commands.options import plain_errors, to_stderr


def leakage(
    data: Annotated[
        Path | None,
        typer.Argument(help="A data set, or hf:ORG/NAME@REVISION.", show_default="data"),
    ] = None,
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
    from benchmark.files import replacing
    from benchmark.hub_data import folder_of
    from dataset_builders.leakage.findings import search
    from dataset_builders.leakage.mark import mark
    from dataset_builders.leakage.pictures import of_data_set, of_sources
    from dataset_builders.leakage.report import summary, table

    with plain_errors():
        _check(data, raw, out, write=write)
        root = Path() if raw else folder_of(data or Path("data"))
        with task_bars(transient=True) as progress:
            pictures = of_sources(raw, progress) if raw else of_data_set(root, progress)
            found = search(pictures, progress)
        typer.echo(summary(found))
        if out:
            content = table(found)
            with replacing(out, len(content)) as file:
                file.write(content)
        if write:
            marked = mark(root, found)
            to_stderr(f"{root}: {marked} images marked; splits/*/clean.txt list the other test ids")
    if found.straddling:
        raise typer.Exit(1)


def _check(data: Path | None, raw: Path | None, out: Path | None, *, write: bool) -> None:
    """Refuse before the search what could not be done after it.

    Raises:
        UsageError: options that exclude each other; a place that cannot be written to.
    """
    from benchmark.hub_data import SCHEME
    from dataset_builders.errors import UsageError

    if raw and write:
        raise UsageError(
            "--write marks a built data set, and --raw searches what it was built from; "
            "leave one of them out"
        )
    if raw and data:
        raise UsageError(f"{data} would not be searched, but --raw {raw}; leave one of them out")
    if write and str(data).startswith(SCHEME):
        raise UsageError(
            f"{data} is a published data set, which does not change; make your own of it with "
            f"`usbench build-data --complete {data}`, and mark that"
        )
    if out is None:
        return
    try:
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise UsageError(
            f"--out {out} cannot be written ({error.strerror or error}); name another file"
        ) from None
