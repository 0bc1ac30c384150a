"""`usbench build-data`: sources to data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.commands.options import plain_errors


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
    from dataset_builders.acquire import unclaimed
    from dataset_builders.build import build
    from dataset_builders.sources import SOURCES

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with plain_errors(), Bars(*columns, TimeElapsedColumn()) as bars:
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
    typer.echo(_summary(out, manifest, unclaimed(raw, SOURCES.values())))


def _summary(out: Path, manifest: Any, strange: Sequence[str]) -> str:  # noqa: ANN401 - JSON
    """What was built, and what of the raw data was not used.

    Args:
        out: the data set.
        manifest: of it.
        strange: what lies among the raw data under no source's name.
    """
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
    if strange:
        lines.append(
            f"  not used, for no source goes by that name: {', '.join(strange)} (misspelt or "
            "misplaced? `usbench list sources` names the folders)"
        )
    if manifest["partial"]:
        lines.append(f"  PARTIAL: {' '.join(manifest['partial'])}")
        lines += [f"    lacks {name}: {what}" for name, what in manifest["missing"].items()]
    return "\n".join(lines)
