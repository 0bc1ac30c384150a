"""`usbench report`: records to tables, figures and a page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import Format, ProfileName, Results, plain_errors, to_stderr
from dataset_builders.errors import UsageError


def report(
    results: Results = Path("results"),
    table: Annotated[list[int] | None, typer.Option(help="1 to 6; repeatable.")] = None,
    format_: Format = "terminal",
    profile: ProfileName = "paper",
    profiles: Annotated[
        bool, typer.Option("--profiles", help="How much the definition moves scores and ranks.")
    ] = False,
    claims: Annotated[
        bool, typer.Option("--claims", help="The paper's claims against our records.")
    ] = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="Also write RESULTS/figures/.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Write everything as one page.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data set, for pictures.")] = None,
    images: Annotated[
        str | None, typer.Option(help="In the page: thumbnails (if --data) or none.")
    ] = None,
    only_run: Annotated[
        bool | None,
        typer.Option(
            "--only-run/--all-methods",
            help="Whether methods without a run have no row; by default so in the terminal.",
            show_default=False,
        ),
    ] = None,
    write: Annotated[bool, typer.Option(help="Also write RESULTS/tables/ (profile paper).")] = True,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Leave out what cannot be read, and say so.")
    ] = False,
) -> None:
    """Print the paper's tables from the records, beside the paper's own numbers."""
    with plain_errors():
        if claims or profiles:
            given = {
                f"--profile {profile}": profile != "paper",
                "--table": table,
                "--figures": figures,
                "--html": html,
                "--claims": claims and profiles,
            }
            _refuse("--profiles" if profiles else "--claims", given)
            typer.echo(
                _other_report(results, format_, claims=claims, keep_going=keep_going), nl=False
            )
            return
        from benchmark.report import report as make_report

        text = make_report(
            results,
            table or None,
            format_,
            profile=profile,
            only_run=only_run,
            write=write,
            keep_going=keep_going,
        )
        typer.echo(text, nl=not text.endswith("\n"))
        if figures:
            from benchmark.figures import make_all

            folder = results / "figures"
            made = make_all(results, data, folder, profile=profile, say=to_stderr)
            to_stderr(f"{len(made)} files in {folder}")
        if html is not None:
            from benchmark.page import write as write_page

            page = write_page(results, html, data, profile, images, keep_going=keep_going)
            to_stderr(f"page: {page}")


def _refuse(report: str, given: Mapping[str, object]) -> None:
    """Options of the tables that another report would ignore."""
    if ignored := [option for option, value in given.items() if value]:
        raise UsageError(
            f"{', '.join(ignored)}: not with {report}, a report of its own; ask for one at a time"
        )


def _other_report(results: Path, format_: str, *, claims: bool, keep_going: bool) -> str:
    from benchmark import claims_text, profile_report
    from benchmark.claims import check_claims

    left_out: list[str] | None = [] if keep_going else None
    if claims:
        text = claims_text.as_text(check_claims(results, left_out=left_out), format_)
    else:
        text = profile_report.report(results, format_, left_out)
    for message in left_out or ():
        to_stderr(f"Left out: {message}")
    return text
