"""What two data sets must share to be the same: hashes over content, whatever wrote the files."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from dataset_builders.parquet import CONTENT_COLUMNS

# A finding about the content rather than a part of it: `usbench leakage` fills it in after a build.
FOUND_LATER = "duplicate_of"

PROVENANCE = "provenance_sha256"  # entry of the manifest
# What the manifest says and no shard can confirm.
_SAID = (
    "format",
    "partial",
    "selection_seed",
    "license_filter",
    "sources",
    "missing",
    "versions",
)

ADDED = "additions_sha256"  # entry of the manifest, where it has one of these
# What is told after a build, and no shard can confirm all of: what `usbench leakage` found, and
# what was published without its pictures.
_ADDITIONS = ("leakage", "withheld")


def content_sha256(rows: Iterable[Mapping[str, Any]]) -> str:
    """Hash of decoded pixels, decoded masks (by their own hashes) and all columns of all rows.

    Args:
        rows: with at least `CONTENT_COLUMNS`; task by task in the order of `TASKS`, train before
            test, by rank. That order is part of the content.
    """
    digest = hashlib.sha256()
    encoder = json.JSONEncoder(sort_keys=True)
    for row in rows:
        fields = {name: row[name] for name in CONTENT_COLUMNS}
        fields[FOUND_LATER] = None
        digest.update(encoder.encode(fields).encode())
    return digest.hexdigest()


def provenance_sha256(manifest: Mapping[str, Any]) -> str:
    """Hash of what a manifest says beyond its shards: archives, what was skipped, versions.

    Counts, file hashes and the content hash are left out: they are recomputed from the shards.
    """
    said = {name: manifest.get(name) for name in _SAID}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def added(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What was added to a manifest after the build."""
    return {name: manifest[name] for name in _ADDITIONS if name in manifest}


def added_sha256(manifest: Mapping[str, Any]) -> str:
    """Hash of what was added to a manifest after the build."""
    return hashlib.sha256(json.dumps(added(manifest), sort_keys=True).encode()).hexdigest()


def with_seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with the hash of its additions, if there are any; that hash stands last."""
    plain = {name: said for name, said in manifest.items() if name != ADDED}
    return {**plain, ADDED: added_sha256(plain)} if added(plain) else plain
