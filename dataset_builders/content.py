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
