"""Sources that may not be re-hosted: their rows are published without pictures.

Such a row stays in its place with all its columns but `image` and `mask`, which are null. So every
configuration loads with its full length, ranks and labelled sets are right, the content hash of the
manifest can be recomputed from the published columns, and the two pixel hashes of a row say when
its pictures have been restored. `usbench diff-data` compares a data set with a published one.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from dataset_builders.licences import TERMS, may_be_passed_on
from dataset_builders.manifest import Row
from dataset_builders.sources import SOURCES

PICTURES = ("image", "mask")


def withheld_sources(sources: Iterable[str]) -> set[str]:
    """Those whose licence is not known to allow copies."""
    return {name for name in sources if not may_be_passed_on(name)}


def without_pictures(row: Row, sources: Iterable[str]) -> Row:
    """The row as it is published: without image and mask if it is of one of the sources."""
    return row | dict.fromkeys(PICTURES) if row["source"] in sources else row


def describe(rows: Iterable[Row], sources: Iterable[str]) -> dict[str, Any]:
    """For the manifest: each withheld source with its images by task, its terms, where to get it.

    Args:
        rows: of the data set.
        sources: of `withheld_sources`.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in sorted(sources)}
    for row in rows:
        if row["source"] in counts:
            counts[row["source"]][row["task"]] += 1
    return {
        name: {
            "images": dict(of_source),
            "licence": TERMS[name].stated,
            "homepage": SOURCES[name].card.homepage,
            "access": SOURCES[name].card.access,
        }
        for name, of_source in counts.items()
        if of_source
    }
