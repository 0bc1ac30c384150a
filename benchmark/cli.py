"""`usbench`: each command calls one function of the package.

Modules are imported by the command that needs them, so that `--help`, `list` and `report` start
without torch.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from dataset_builders.errors import UsageError

app = typer.Typer(
    name="usbench",
    help="Universal semi-supervised ultrasound segmentation: one data set, 21 methods.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Data = Annotated[Path, typer.Option("--data", help="Built data set.")]
Results = Annotated[Path, typer.Option("--results", help="Folder of records.")]
ProfileName = Annotated[
    str, typer.Option("--profile", help="paper, pooled, medpy, monai, deepmind, native or mm.")
]
Format = Annotated[str, typer.Option("--format", help="terminal, md, csv or latex.")]


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Errors that we raise about the user's input end in one message, not in a traceback."""
    try:
        yield
    except (UsageError, OSError) as error:  # a full disk, a folder that cannot be written
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(2) from None


@app.command("build-data")
def build_data(
    raw: Annotated[Path, typer.Option(help="The publishers' files, a folder per source.")] = Path(
        "raw"
    ),
    out: Annotated[Path, typer.Option(help="Where the data set goes.")] = Path("data"),
    source: Annotated[list[str] | None, typer.Option(help="Use this one; repeatable.")] = None,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Build what is there.")] = (
        False
    ),
) -> None:
    """Turn the sources into one Parquet data set with fixed splits."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    from benchmark.settings import choose
    from dataset_builders.build import build
    from dataset_builders.sources import SOURCES

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with _plain_errors(), Bars(*columns, TimeElapsedColumn()) as bars:
        for name in source or ():
            choose("source", name, SOURCES)
        shown: dict[str, Any] = {}

        def progress(task: str, done: int, total: int) -> None:
            if task not in shown:
                shown[task] = bars.add_task(task, total=total)
            bars.update(shown[task], completed=done)

        manifest = build(
            raw,
            out,
            sources=source or tuple(SOURCES),
            allow_missing=allow_missing,
            progress=progress,
        )
    typer.echo(_summary(out, manifest))


def _summary(out: Path, manifest: Any) -> str:  # noqa: ANN401 - a JSON object
    lines = [f"{out}: content {manifest['content_sha256'][:12]}"]
    for code, task in manifest["tasks"].items():
        drawn = " + ".join(f"{name} {count}" for name, count in task["sources"].items())
        lines.append(
            f"  {code}  {task['train'] + task['test']:>4} images "
            f"({task['train']} train, {task['test']} test)  {drawn}"
        )
    for name, source in manifest["sources"].items():
        reasons: dict[str, list[str]] = {}
        for what, why in source["skipped"].items():
            reasons.setdefault(why, []).append(what)
        for why, what in reasons.items():
            few = ", ".join(what[:3]) + (f" and {len(what) - 3} more" if len(what) > 3 else "")
            lines.append(f"  {name} skipped {few}: {why}")
    if manifest["partial"]:
        lacking = ", ".join(f"{name} ({what})" for name, what in manifest["missing"].items())
        lines.append(f"  PARTIAL: {' '.join(manifest['partial'])}; lacking: {lacking}")
    return "\n".join(lines)


@app.command()
def run(
    method: Annotated[str, typer.Option(help="See `usbench list methods`.")],
    split: Annotated[str, typer.Option(help="Labelled share: 1_16, 1_8, 1_4 or full.")],
    task: Annotated[list[str] | None, typer.Option(help="Only this task; repeatable.")] = None,
    seed: int = 0,
    data: Data = Path("data"),
    results: Results = Path("results"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    preset: Annotated[str, typer.Option(help="paper, fast, mini or smoke.")] = "paper",
    variant: Annotated[str, typer.Option(help="paper, or released where code differs.")] = "paper",
    encoder: Annotated[str | None, typer.Option(help="timm's name.")] = None,
    weights: Annotated[str | None, typer.Option(help="imagenet, packaged or none.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="name=value; repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Replace a run that is there.")
    ] = False,
) -> None:
    """Train a method, evaluate it, and leave one record."""
    with _plain_errors():
        from benchmark.settings import parse_overrides

        overrides = parse_overrides(set_ or ())
        for name, value in (("encoder", encoder), ("weights", weights)):
            if value is not None:
                overrides[name] = value

        # Threads that wait by spinning take the core of the one they wait for, where cores are
        # shared: a step took 2.5 to 8 s so, and 0.7 s like this. Read once, when torch is loaded.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

        from benchmark.resolve import Request
        from benchmark.run import run as run_method
        from benchmark.train import Interrupted

        request = Request(
            method=method,
            split=split,
            seed=seed,
            tasks=tuple(dict.fromkeys(task or ())),
            preset=preset,
            variant=variant,
            overrides=overrides,
            data=data,
            results=results,
            device=device,
            resume=resume,
            restart=restart,
        )
        try:
            path = run_method(request)
        except Interrupted as stop:
            again = [word for word in sys.argv[1:] if word not in ("--resume", "--restart")]
            typer.echo(f"{stop}; go on with: usbench {' '.join(again)} --resume", err=True)
            raise typer.Exit(130) from None
    typer.echo(f"record: {path}")


@app.command()
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
    with _plain_errors():
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
            made = make_all(results, data, folder, profile=profile, say=_to_stderr)
            _to_stderr(f"{len(made)} files in {folder}")
        if html is not None:
            from benchmark.page import write as write_page

            page = write_page(results, html, data, profile, images, keep_going=keep_going)
            _to_stderr(f"page: {page}")


def _to_stderr(text: str) -> None:
    typer.echo(text, err=True)


def _refuse_both(*, claims: bool, profiles: bool, profile: str) -> None:
    if claims and profiles:
        raise UsageError("--claims and --profiles are two reports; ask for one at a time")
    if profile != "paper":
        what = "--claims" if claims else "--profiles"
        raise UsageError(f"--profile {profile} does not go with {what}, which chooses its own")


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A method.")],
    second: Annotated[str, typer.Argument(help="Another.")],
    split: Annotated[str, typer.Option(help="Labelled share: 1_16, 1_8, 1_4 or full.")],
    results: Results = Path("results"),
    profile: ProfileName = "paper",
    format_: Format = "terminal",
) -> None:
    """Difference of two methods on the same images, its interval, and how sure it is."""
    with _plain_errors():
        from benchmark.compare import compare as compare_methods

        text = compare_methods(results, first, second, split, profile, format_)
    typer.echo(text, nl=not text.endswith("\n"))


@app.command()
def audit(
    tables: Annotated[Path, typer.Argument(help="Printed numbers as CSV.")],
    claims: Annotated[Path | None, typer.Option(help="Statements about them as CSV.")] = None,
    format_: Annotated[str, typer.Option("--format", help="terminal, md or json.")] = "terminal",
) -> None:
    """Find what arithmetic can find in printed tables; results/paper/ holds the paper's."""
    with _plain_errors():
        from benchmark.audit import audit_files, findings

        text = findings.as_text(audit_files(tables, claims), format_)
    typer.echo(text, nl=False)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="methods, tasks, sources or runs.")],
    results: Results = Path("results"),
) -> None:
    """Show what there is."""
    with _plain_errors():
        from benchmark.listing import listing

        typer.echo(listing(what, results))


def main() -> None:
    """Entry point of the `usbench` script."""
    app()


if __name__ == "__main__":
    main()
