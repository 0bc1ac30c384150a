"""A built data set on disk: its manifest, its rows without their pixels, and its replacement."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataset_builders.errors import UsageError
from dataset_builders.manifest import FORMAT, MANIFEST, Row
from dataset_builders.parquet import CONTENT_COLUMNS
from dataset_builders.tasks import TASKS

# What a manifest holds: a type, [kind of all entries], {str: kind of all values}, or a dict of
# names, where one that ends in "?" may be absent.
_COUNTS, _TEXTS = {str: int}, {str: str}
_KIND = {
    "content_sha256": str,
    "partial": [str],
    "selection_seed": str,
    "tasks": {str: {"train": int, "test": int, "labelled": _COUNTS, "sources": _COUNTS}},
    "sources": {
        str: {
            "found": int,
            "expected": int,
            "skipped": _TEXTS,
            "licence": str,
            "archives": _TEXTS,
        }
    },
    "missing": _TEXTS,
    "versions": _TEXTS,
    "files": [{"name": str, "rows": int, "bytes": int, "sha256": str}],
    "license_filter?": str,
    "provenance_sha256?": str,
    "additions_sha256?": str,
    "withheld?": {str: {"images": _COUNTS, "licence": str, "homepage": str, "access": str}},
    "leakage?": {"pairs?": _COUNTS, "duplicates?": int, "straddling?": int, "clean?": _COUNTS},
}
_AGAIN = "build the data set again with `usbench build-data`"


class BuiltError(UsageError):
    """The folder is no data set of ours, or it cannot be read."""


def read_manifest(root: Path) -> dict[str, Any]:
    """The manifest, with all entries there and of the right kind.

    Raises:
        BuiltError: no manifest there, a damaged one, or one of another format.
    """
    path = root / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise BuiltError(
            f"{root} holds no data set (no {MANIFEST}); build one with "
            f"`usbench build-data --out {root}`, or name another"
        ) from None
    except (ValueError, RecursionError) as error:  # not JSON, or not even text
        raise BuiltError(f"{path} is damaged ({error}); {_AGAIN}") from None
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise BuiltError(f"{path} is damaged (it names no format); {_AGAIN}")
    if manifest["format"] != FORMAT:
        raise BuiltError(
            f"{path}: format {manifest['format']!r}, this usbench reads {FORMAT}; {_AGAIN}"
        )
    if fault := _fault(manifest, _KIND):
        raise BuiltError(f"{path} is damaged ({fault}); {_AGAIN}")
    return manifest


def _fault(value: Any, kind: Any, where: str = "") -> str:  # noqa: ANN401 - JSON
    """Where a value is not of its kind, as "tasks: BC: no train"; empty if nowhere."""
    if isinstance(kind, type):
        return "" if type(value) is kind else f"{where}{value!r} is no {kind.__name__}"
    if not isinstance(value, type(kind)):
        return f"{where}{value!r} is no {type(kind).__name__}"
    if isinstance(kind, list):
        inner = ((f"entry {number}", entry, kind[0]) for number, entry in enumerate(value))
    elif str in kind:
        inner = ((name, entry, kind[str]) for name, entry in value.items())
    else:
        for name in kind:
            if not name.endswith("?") and name not in value:
                return f"{where}no {name}"
        names = ((name.removesuffix("?"), of_name) for name, of_name in kind.items())
        inner = ((name, value[name], of_name) for name, of_name in names if name in value)
    faults = (_fault(entry, of_entry, f"{where}{name}: ") for name, entry, of_entry in inner)
    return next(filter(None, faults), "")


def content_rows(root: Path, manifest: dict[str, Any]) -> list[Row]:
    """All rows in the order of the manifest, content columns only; no picture is read.

    Raises:
        BuiltError: a shard that is missing or damaged.
    """
    rows: list[Row] = []
    for entry in manifest["files"]:
        path = root / entry["name"]
        try:
            rows += pq.read_table(path, columns=list(CONTENT_COLUMNS)).to_pylist()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise BuiltError(
                f"{path} cannot be read ({error}); `usbench verify-data {root}` says more"
            ) from None
    return rows


def shards(manifest: dict[str, Any]) -> list[str]:
    """Names of a data set's shards, in canonical order."""
    return [entry["name"] for entry in manifest["files"]]


def used_sources(manifest: dict[str, Any]) -> list[str]:
    """Names of the sources that images come from, in the order of the manifest's tasks."""
    return list(
        dict.fromkeys(
            name for task in manifest["tasks"].values() for name in task.get("sources", {})
        )
    )


def content_of(root: Path) -> str:
    """Content hash of the data set in a folder; empty if there is none, "unknown" if damaged."""
    if not (root / MANIFEST).is_file():
        return ""
    with suppress(BuiltError):
        return str(read_manifest(root)["content_sha256"])
    return "unknown"


def others_files(root: Path) -> list[str]:
    """Names of the files in a data set's folder that no command of ours puts there.

    The manifest is not asked, so that a damaged data set can be replaced too.
    """
    ours = {root / MANIFEST}
    ours.update(path for code in TASKS for path in (root / code).glob("t*-?????-of-?????.parquet"))
    return sorted(
        name.as_posix()
        for path in root.rglob("*")
        if path not in ours
        and not path.is_dir()
        and (name := path.relative_to(root)).parts[0] not in ("splits", "cache")
    )


def exchange(target: Path, root: Path, scratch: Path) -> None:
    """Give a finished folder the name of the data set; if that fails, the older one has it again.

    Args:
        target: the finished folder.
        root: the data set, which may not exist yet.
        scratch: on the same disk, deleted by the caller; the older data set ends there.
    """
    older = scratch / "older"
    try:
        if root.exists():
            root.rename(older)
        target.rename(root)
    except BaseException:
        if older.exists() and not root.exists():
            older.rename(root)
        raise
