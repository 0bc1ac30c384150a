"""Groups that no publisher states: tables of measured duplicates, and their clusters."""

import csv
from collections.abc import Iterable
from functools import cache
from pathlib import Path

TABLES = Path(__file__).parent / "tables"


@cache
def table(name: str) -> tuple[dict[str, str], ...]:
    """Rows of a committed table by column name: `table("busi_duplicate_groups.csv")`."""
    with (TABLES / name).open(newline="") as file:
        return tuple(csv.DictReader(file))


def same_scene(source: str) -> list[tuple[str, str]]:
    """Pairs of a source's images that `usbench leakage` found and no other table has."""
    return [(row["a"], row["b"]) for row in table("same_scene.csv") if row["source"] == source]


def clusters(links: Iterable[Iterable[str]]) -> dict[str, str]:
    """Connected components: each linked name -> the smallest name of its cluster.

    Args:
        links: sets of names that belong together; `[("a", "b"), ("b", "c")]` is one cluster.
    """
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for names in links:
        roots = sorted({find(name) for name in names})
        for root in roots[1:]:
            leader[root] = roots[0]
    return {name: find(name) for name in leader}
