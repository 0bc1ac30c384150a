"""`usbench verify-data`: is the data set on the disk the one that was built?"""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.bars import task_bars
from benchmark.commands.options import plain_errors

SHOWN = 20


def verify_data(
    data: Annotated[Path, typer.Argument(help="A data set, or hf:ORG/NAME@REVISION.")] = Path(
        "data"
    ),
    show_all: Annotated[bool, typer.Option("--all", help=f"Not only {SHOWN} findings.")] = False,
) -> None:
    """Recompute every hash and count of a data set; exit code 1 if something differs."""
    from benchmark.hub_data import folder_of
    from dataset_builders.findings import STEPS
    from dataset_builders.verify import verify

    with plain_errors():
        root = folder_of(data)
    with plain_errors(), task_bars() as progress:
        proof = verify(root, progress=progress)
    looked = f"{proof.images} images in {proof.shards} shards"
    if proof.withheld:
        looked += f" ({proof.withheld} of them withheld: columns only)"
    if not proof.findings:
        typer.echo(f"{data}: proven, {looked}, content {proof.content_sha256[:12]}")
        for what in proof.unsealed:
            typer.echo(
                f"  not proven: what only the manifest knows ({what}); "
                "it was written by an older usbench"
            )
        return
    typer.echo(f"{data}: {len(proof.findings)} findings, {looked}")
    shown = proof.findings if show_all else proof.findings[:SHOWN]
    for finding in shown:
        typer.echo(f"  {finding}")
    if hidden := len(proof.findings) - len(shown):
        typer.echo(f"  and {hidden} more; --all prints them")
    for step in dict.fromkeys(finding.step for finding in proof.findings):
        typer.echo(f"  {step}: {STEPS[step]}")
    raise typer.Exit(1)
