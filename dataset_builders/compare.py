"""What differs between two built data sets, by their columns alone: `usbench diff-data`.

The hashes of pixels and masks stand in the rows, so no picture is opened; that the pictures are
those of the hashes is what `dataset_builders.verify` proves.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_builders.built import content_rows, read_manifest
from dataset_builders.content import FOUND_LATER
from dataset_builders.manifest import Row
from dataset_builders.parquet import CONTENT_COLUMNS
from dataset_builders.tasks import TASKS

# what a differing column is called; the others go by their own name
NAMES = {"pixel_sha256": "pixels", "mask_sha256": "mask"}


@dataclass(frozen=True, slots=True)
class Difference:
    """Two data sets, A and B, row by row; ids in the order of their data set."""

    content: tuple[str, str]  # content hash of each, by its manifest
    images: tuple[int, int]
    only: tuple[tuple[str, ...], tuple[str, ...]]  # ids in one and not in the other
    differing: Mapping[str, tuple[str, ...]]  # "pixels", "mask" or a column -> ids in both
    found_later: tuple[str, ...]  # ids of which only the finding `duplicate_of` differs
    other_bytes: tuple[str, ...]  # shards that are not the same file in both
    versions: Mapping[str, tuple[str, str]]  # writers of other versions

    @property
    def is_equal(self) -> bool:
        """Whether the content is the same, whatever wrote it."""
        return not (self.only[0] or self.only[1] or self.differing)


def compare(a: Path, b: Path) -> Difference:
    """Compare two data sets by their content columns.

    Raises:
        BuiltError: one of them is no data set, or has a damaged shard.
    """
    manifests = read_manifest(a), read_manifest(b)
    first, second = (
        {row["id"]: row for row in content_rows(root, manifest)}
        for root, manifest in zip((a, b), manifests, strict=True)
    )
    differing: dict[str, list[str]] = {}
    for name, row in first.items():
        if name in second:
            for column in _differing(row, second[name]):
                differing.setdefault(column, []).append(name)
    found_later = differing.pop(FOUND_LATER, [])
    return Difference(
        (manifests[0]["content_sha256"], manifests[1]["content_sha256"]),
        (len(first), len(second)),
        (_missing(first, second), _missing(second, first)),
        {column: tuple(ids) for column, ids in differing.items()},
        tuple(found_later),
        _other_bytes(*manifests),
        _other_versions(*manifests),
    )


def _differing(row: Row, other: Row) -> Iterator[str]:
    for column in CONTENT_COLUMNS:
        if row[column] != other[column]:
            yield NAMES.get(column, column)


def _missing(ids: Iterable[str], others: Mapping[str, Row]) -> tuple[str, ...]:
    return tuple(name for name in ids if name not in others)


def _other_bytes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    one, two = ({entry["name"]: entry["sha256"] for entry in said["files"]} for said in (a, b))
    return tuple(name for name in {**one, **two} if one.get(name) != two.get(name))


def _other_versions(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    versions = {
        name: (str(a["versions"].get(name)), str(b["versions"].get(name)))
        for name in [*a["versions"], *b["versions"]]
    }
    return {name: pair for name, pair in versions.items() if pair[0] != pair[1]}


def counts(ids: Iterable[str]) -> dict[tuple[str, str], int]:
    """(task, source) -> how many of the ids are theirs, in the order of the tasks.

    An id names both: "BC/busi/benign (1)".
    """
    found: Counter[tuple[str, str]] = Counter()
    for name in ids:
        task, _, rest = name.partition("/")
        found[task, rest.partition("/")[0]] += 1
    order = {task: number for number, task in enumerate(TASKS)}
    return dict(sorted(found.items(), key=lambda of: (order.get(of[0][0], len(order)), of[0][1])))
