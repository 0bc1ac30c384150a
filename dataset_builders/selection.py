"""Which 800 images a task has, which of them are test, and in which order labels are given out.

Everything follows from names through a keyed hash: the order of files, the machine and the other
sources play no part. A source's test groups are the first quarter of its groups in hash order, so
a few missing images move only the groups next to the cut, and CAMUS patients, whose pictures serve
three tasks, stand on one side in all of them.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dataset_builders.schema import Item
from dataset_builders.tasks import PARTITIONS, TASKS, TEST_IMAGES, TRAIN_IMAGES

SEED = "usbench-1"  # a new one makes a new benchmark; it is part of the manifest


@dataclass(frozen=True, slots=True)
class Placed:
    """An item with its place in the benchmark."""

    item: Item
    split: str  # "train" or "test"
    rank: int  # order in the split; the first n training ranks are the labelled ones


def key(purpose: str, name: str) -> int:
    """64 bits that depend on the seed, the purpose and the name alone."""
    digest = hashlib.sha256(f"{SEED}\0{purpose}\0{name}".encode()).digest()
    return int.from_bytes(digest[:8])


def test_groups(sizes: Mapping[str, int], source: str) -> set[str]:
    """Groups of one source that go to the test side: a quarter of its images, no group cut.

    Args:
        sizes: group -> number of its images.
        source: name of the source.
    """
    whole = TRAIN_IMAGES + TEST_IMAGES
    target = round(sum(sizes.values()) * TEST_IMAGES / whole)
    chosen: set[str] = set()
    filled = 0
    for group in sorted(sizes, key=lambda group: key("side", f"{source}/{group}")):
        if filled + sizes[group] <= target:
            chosen.add(group)
            filled += sizes[group]
    return chosen


def shares(available: Sequence[int], wanted: int) -> list[int]:
    """Equal shares of `wanted`; who has less gives all, and the others fill up.

    >>> shares([163, 647], 800), shares([2000, 2349], 800), shares([11, 637], 800)
    ([163, 637], [400, 400], [11, 637])
    """
    taken = [0] * len(available)
    order = sorted(range(len(available)), key=lambda index: available[index])
    for position, index in enumerate(order):
        taken[index] = min(available[index], wanted // (len(order) - position))
        wanted -= taken[index]
    return taken


def select(items: Iterable[Item]) -> list[Placed]:
    """Choose, split and rank; task by task in the order of `TASKS`, train before test."""
    items = list(items)
    on_test = _test_sides(items)
    placed: list[Placed] = []
    for code, task in TASKS.items():
        for split, wanted in (("train", TRAIN_IMAGES), ("test", TEST_IMAGES)):
            pools = [
                sorted(
                    (
                        item
                        for item in items
                        if (item.task, item.source) == (code, source)
                        and ((source, item.group) in on_test) == (split == "test")
                    ),
                    key=lambda item: key("select", item.id),
                )
                for source in task.sources
            ]
            counts = shares([len(pool) for pool in pools], wanted)
            chosen = [i for pool, count in zip(pools, counts, strict=True) for i in pool[:count]]
            # another key than the selection's, or the source that had more to choose from,
            # whose chosen keys are therefore smaller, would get all the labels
            chosen.sort(key=lambda item: key("rank", item.id))
            placed += [Placed(item, split, rank) for rank, item in enumerate(chosen)]
    return placed


def _test_sides(items: Iterable[Item]) -> set[tuple[str, str]]:
    """(source, group) of every group on the test side."""
    sizes: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        sizes[item.source][item.group] += 1
    return {
        (source, group) for source, counts in sizes.items() for group in test_groups(counts, source)
    }


def labelled(training_images: int, partition: str) -> int:
    """How many training images carry a label: 37, 75, 150 of 600 for 1/16, 1/8, 1/4."""
    return training_images // PARTITIONS[partition]
