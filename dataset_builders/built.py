"""A built data set on disk: its manifest, its rows without their pixels, and its replacement."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataset_builders.errors import UsageError
from dataset_builders.manifest import FORMAT, MANIFEST, Row
from dataset_builders.parquet import CONTENT_COLUMNS

_ENTRIES = {
    "content_sha256": str,
    "partial": list,
    "selection_seed": str,
    "tasks": dict,
    "sources": dict,
    "missing": dict,
    "versions": dict,
    "files": list,
}
_FILE = {"name": str, "rows": int, "bytes": int, "sha256": str}
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
    for name, kind in _ENTRIES.items():
        if not isinstance(manifest.get(name), kind):
            raise BuiltError(f"{path} is damaged (no {name}); {_AGAIN}")
    _check_entries(manifest, path)
    return manifest


def _check_entries(manifest: dict[str, Any], path: Path) -> None:
    for name in ("tasks", "sources"):
        for key, entry in manifest[name].items():
            if not isinstance(entry, dict):
                raise BuiltError(f"{path} is damaged ({name}: {key}); {_AGAIN}")
    for number, entry in enumerate(manifest["files"]):
        if not isinstance(entry, dict) or any(
            not isinstance(entry.get(name), kind) for name, kind in _FILE.items()
        ):
            raise BuiltError(f"{path} is damaged (files: entry {number}); {_AGAIN}")


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
