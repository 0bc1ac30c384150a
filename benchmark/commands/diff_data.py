"""`usbench diff-data`: what differs between two data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import plain_errors

SHOWN = 10


def diff_data(
    a: Annotated[Path, typer.Argument(help="A built data set, or hf:ORG/NAME@REVISION.")],
    b: Annotated[Path, typer.Argument(help="Another one.")],
    show_all: Annotated[bool, typer.Option("--all", help=f"Not only {SHOWN} ids each.")] = False,
) -> None:
    """Say which images differ, and in what; exit code 1 if any does."""
    from benchmark.hub_data import folder_of
    from dataset_builders.compare import compare

    with plain_errors():
        found = compare(folder_of(a), folder_of(b))
    for root, images, content in zip((a, b), found.images, found.content, strict=True):
        typer.echo(f"{root}: {images} images, content {content[:12]}")
    most = None if show_all else SHOWN
    for root, ids in zip((a, b), found.only, strict=True):
        if ids:
            _list(f"only in {root}", ids, most)
    for column, ids in found.differing.items():
        _list(f"{column} differ{'' if column == 'pixels' else 's'}", ids, most)
    if found.found_later:
        _list("duplicate_of differs (found later, no part of the content)", found.found_later, most)
    if not found.is_equal:
        raise typer.Exit(1)
    typer.echo(_equal(found.other_bytes, found.versions))


def _equal(other_bytes: Sequence[str], versions: Mapping[str, tuple[str, str]]) -> str:
    if not other_bytes:
        return "equal, by their manifests byte for byte"
    by = ", ".join(f"{name} {one} and {two}" for name, (one, two) in versions.items())
    written = f" (written by {by})" if by else ""
    return f"equal in content, though {len(other_bytes)} shards differ in bytes{written}"


def _list(title: str, ids: Sequence[str], most: int | None) -> None:
    """A heading with counts by task and source, and the first ids."""
    from dataset_builders.compare import counts

    by = ", ".join(f"{task} {source} {n}" for (task, source), n in counts(ids).items())
    typer.echo(f"{title}: {len(ids)} ({by})")
    for name in ids[:most]:
        typer.echo(f"  {name}")
    if most is not None and len(ids) > most:
        typer.echo(f"  and {len(ids) - most} more; --all prints them")
