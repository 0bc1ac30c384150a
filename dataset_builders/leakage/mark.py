"""Write what a search found into the data set: `duplicate_of`, and the lists of clean test ids.

    data/splits/BC/clean.txt    the test ids that show nothing shown before them in the data set
    data/manifest.json          "leakage": by which limits, and how many, with its own hash; new
                                hashes of the shards

Only shards whose column changes are written; all other files are the same files in the new folder,
which then takes the old one's name. The content hash does not change: what an image repeats is a
finding, not content.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dataset_builders.built import exchange, read_manifest, shards
from dataset_builders.content import with_seal
from dataset_builders.leakage.candidates import ALIKE
from dataset_builders.leakage.confirm import MIN_INLIERS, SAME
from dataset_builders.leakage.findings import Findings
from dataset_builders.manifest import MANIFEST, file_sha256, link_or_copy
from dataset_builders.parquet import write_shard

CLEAN = "clean.txt"


def mark(root: Path, findings: Findings) -> int:
    """Write the findings of a data set into it, all or nothing; a second time changes nothing.

    Args:
        root: the data set.
        findings: of all its pictures.

    Returns:
        How many images have a duplicate before them.

    Raises:
        OSError: the folder that holds the data set cannot be written to; nothing is changed.
    """
    root = root.resolve()
    manifest = read_manifest(root)
    changed = _changed(root, shards(manifest), findings.duplicate_of)
    clean = _clean_lists(findings)
    told = with_seal({**manifest, "leakage": _told(findings, clean)})
    lists = {root / name: text for name, text in clean.items()}
    if (
        not changed
        and manifest == told
        and all(path.is_file() and path.read_text() == text for path, text in lists.items())
    ):
        return len(findings.duplicate_of)
    with tempfile.TemporaryDirectory(prefix=".usbench-", dir=root.parent) as scratch:
        target = Path(scratch) / "dataset"
        written = {*changed, *clean, MANIFEST}
        _same_files(root, target, without=written)
        for name, rows in changed.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            write_shard(rows, target / name)
        for name, text in clean.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_text(text)
        for entry in told["files"]:
            if entry["name"] in changed:
                path = target / entry["name"]
                entry |= {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        (target / MANIFEST).write_text(json.dumps(told, indent=1) + "\n")
        exchange(target, root, Path(scratch))
    return len(findings.duplicate_of)


def _changed(
    root: Path, names: list[str], duplicate_of: Mapping[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Rows, with the column as it should be, of the shards where it is not."""
    changed = {}
    for name in names:
        columns = pq.read_table(root / name, columns=["id", "duplicate_of"]).to_pydict()
        wanted = [duplicate_of.get(sample) for sample in columns["id"]]
        if wanted != columns["duplicate_of"]:
            rows = pq.read_table(root / name).to_pylist()
            for row, value in zip(rows, wanted, strict=True):
                row["duplicate_of"] = value
            changed[name] = rows
    return changed


def _clean_lists(findings: Findings) -> dict[str, str]:
    """File of a task -> its test ids without those that have a duplicate, in order of rank."""
    lists: dict[str, list[str]] = {}
    for place in sorted(place for picture in findings.pictures for place in picture.places):
        kept = lists.setdefault(f"splits/{place.task}/{CLEAN}", [])
        if place.on_test and place.id not in findings.duplicate_of:
            kept.append(place.id)
    return {name: "".join(f"{sample}\n" for sample in ids) for name, ids in lists.items()}


def _told(findings: Findings, clean: Mapping[str, str]) -> dict[str, Any]:
    """The manifest's entry."""
    return {
        "correlation": ALIKE,
        "detail": SAME,
        "key_points": MIN_INLIERS,
        "pairs": dict(sorted(Counter(pair.kind for pair in findings.pairs).items())),
        "clusters": len(findings.clusters),
        "duplicates": len(findings.duplicate_of),
        "straddling": len(findings.straddling),
        "clean": {name.split("/")[1]: text.count("\n") for name, text in clean.items()},
    }


def _same_files(root: Path, target: Path, without: set[str]) -> None:
    """All files of `root` in `target` too, by hard link where the disk allows it."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_dir() or name.as_posix() in without:
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(path, target / name)
