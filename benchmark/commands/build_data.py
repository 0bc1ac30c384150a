"""`usbench build-data`: sources to data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.commands.bars import task_bars
from benchmark.commands.options import plain_errors
from dataset_builders.errors import UsageError


def build_data(
    raw: Annotated[Path, typer.Option(help="The publishers' files, a folder per source.")] = Path(
        "raw"
    ),
    out: Annotated[Path, typer.Option(help="Where the data set goes.")] = Path("data"),
    source: Annotated[list[str] | None, typer.Option(help="Use this one; repeatable.")] = None,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Build what is there.")] = (
        False
    ),
    license_filter: Annotated[
        str, typer.Option(help="any, or commercial: only sources known to allow commercial use.")
    ] = "any",
    download: Annotated[bool, typer.Option("--download", help="First fetch what is missing.")] = (
        False
    ),
    complete: Annotated[
        Path | None,
        typer.Option(
            help="Add what was withheld to this published one: hf:ORG/NAME@REVISION or a folder."
        ),
    ] = None,
) -> None:
    """Turn the sources into one Parquet data set with fixed splits."""
    from benchmark.commands.download import fetch_or_say
    from benchmark.settings import choose
    from dataset_builders.acquire import unclaimed
    from dataset_builders.build import build
    from dataset_builders.built import content_of
    from dataset_builders.licences import left_out
    from dataset_builders.sources import SOURCES

    if complete:
        with plain_errors():
            if source or license_filter != "any":
                raise UsageError(
                    "--complete restores what was published, all of it; "
                    "leave --source and --license-filter out"
                )
        _complete(complete, raw, out, download=download, allow_missing=allow_missing)
        return
    with plain_errors():
        chosen = [choose("source", name, SOURCES) for name in source or SOURCES]
        forbidden = left_out(chosen, license_filter)
    if download:
        fetch_or_say([name for name in chosen if name not in forbidden], raw)
    with plain_errors(), task_bars() as progress:
        older = content_of(out)
        manifest = build(
            raw,
            out,
            sources=chosen,
            allow_missing=allow_missing,
            license_filter=license_filter,
            progress=progress,
        )
    typer.echo(_summary(out, manifest, older, unclaimed(raw, SOURCES.values())))


def _complete(
    published: Path, raw: Path, out: Path, *, download: bool, allow_missing: bool
) -> None:
    """Make a published data set whole."""
    from benchmark.commands.download import fetch_or_say
    from benchmark.hub_data import folder_of
    from dataset_builders.built import read_manifest
    from dataset_builders.publish.complete import complete

    with plain_errors():
        folder = folder_of(published)
        withheld = list(read_manifest(folder).get("withheld", ()))
    if download:
        fetch_or_say(withheld, raw)
    with plain_errors(), task_bars() as progress:
        made = complete(folder, raw, out, allow_missing=allow_missing, progress=progress)
    lines = [f"{out}: content {made['content_sha256'][:12]}, as published"]
    lines += [
        f"  still without pictures: {name} ({', '.join(said['images'])})"
        for name, said in made.get("withheld", {}).items()
    ]
    typer.echo("\n".join(lines))


def _summary(
    out: Path,
    manifest: Any,  # noqa: ANN401 - JSON
    older: str,
    strange: Sequence[str],
) -> str:
    """What was built, what it replaced, and what of the raw data was not used.

    Args:
        out: the data set.
        manifest: of it.
        older: content hash of the data set that was there before; empty if there was none.
        strange: what lies among the raw data under no source's name.
    """
    lines = [f"{out}: content {manifest['content_sha256'][:12]}"]
    if older:
        lines.append(
            f"  an older data set there was replaced, content {older[:12]}; its cache and what "
            "`usbench leakage --write` had marked went with it"
        )
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
