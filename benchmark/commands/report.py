"""`usbench report`: records to tables, figures and a page."""

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
    write: Annotated[bool, typer.Option(help="Also write RESULTS/tables/ (profile paper).")] = True,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Leave out what cannot be read, and say so.")
    ] = False,
) -> None:
    """Print the paper's tables from the records, beside the paper's own numbers."""
    with plain_errors():
        if claims or profiles:
            _refuse_both(claims=claims, profiles=profiles, profile=profile)
            from benchmark import claims_text, profile_report
            from benchmark.claims import check_claims

            text = (
                claims_text.as_text(check_claims(results), format_)
                if claims
                else profile_report.report(results, format_)
            )
            typer.echo(text, nl=False)
            return
        from benchmark.report import report as make_report

        text = make_report(
            results, table or None, format_, profile=profile, write=write, keep_going=keep_going
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


def _refuse_both(*, claims: bool, profiles: bool, profile: str) -> None:
    if claims and profiles:
        raise UsageError("--claims and --profiles are two reports; ask for one at a time")
    if profile != "paper":
        what = "--claims" if claims else "--profiles"
        raise UsageError(f"--profile {profile} does not go with {what}, which chooses its own")
