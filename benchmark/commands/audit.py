"""`usbench audit`: what arithmetic finds in printed tables."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import plain_errors


def audit(
    tables: Annotated[Path, typer.Argument(help="Printed numbers, or our own report, as CSV.")],
    claims: Annotated[Path | None, typer.Option(help="Statements about them as CSV.")] = None,
    format_: Annotated[str, typer.Option("--format", help="terminal, md or json.")] = "terminal",
) -> None:
    """Find what arithmetic can find in printed tables; results/paper/ holds the paper's."""
    with plain_errors():
        from benchmark.audit import audit_files, findings

        text = findings.as_text(audit_files(tables, claims), format_)
    typer.echo(text, nl=False)
