"""`usbench publish`: a built data set to the Hugging Face Hub."""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import plain_errors


def publish(
    data: Annotated[Path, typer.Argument(help="Built data set.")],
    repo: Annotated[str, typer.Option(help="ORG/NAME on the Hub.")],
    private: Annotated[bool, typer.Option("--private", help="Only you see it.")] = False,
    tag: Annotated[str | None, typer.Option(help="Name of this version: v1.0.0.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be uploaded; needs no network.")
    ] = False,
) -> None:
    """Upload a data set with card, licences and metadata; without pictures that may not go."""
    with plain_errors():
        from dataset_builders.publish.contents import UNTAGGED
        from dataset_builders.publish.folder import assemble, tree_lines
        from dataset_builders.publish.upload import check_names, check_token, planned, upload

        check_names(repo, tag)
        if not dry_run:
            check_token()
        with tempfile.TemporaryDirectory(prefix=".usbench-", dir=_beside(data)) as scratch:
            folder = Path(scratch) / "published"
            contents = assemble(data, folder, repo, tag or UNTAGGED)
            for line in tree_lines(folder, contents):
                typer.echo(line)
            for source, said in contents.withheld.items():
                counts = ", ".join(f"{task} {count}" for task, count in said["images"].items())
                typer.echo(f"pictures withheld: {source} ({counts}); licence: {said['licence']}")
            if dry_run:
                typer.echo("nothing was uploaded; these calls would be made:")
                for call, arguments in planned(repo, tag, private=private).items():
                    words = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
                    typer.echo(f"  {call}({words})")
                return
            commit = upload(folder, repo, tag, private=private)
        typer.echo(f"published: hf:{repo}@{tag or commit}")


def _beside(data: Path) -> Path | None:
    """A folder on the data set's disk, where a file can have a second name; else anywhere."""
    parent = data.absolute().parent
    return parent if os.access(parent, os.W_OK) else None
