"""The manifest and the id lists of a built data set: what it holds, and what it was made from."""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from dataset_builders.schema import Listing, Source
from dataset_builders.selection import SEED, labelled
from dataset_builders.tasks import PARTITIONS, TASKS, TEST_IMAGES, TRAIN_IMAGES

FORMAT = 1  # raise it when a field changes its meaning
MANIFEST = "manifest.json"
_WRITERS = ("usbench", "pyarrow", "opencv-python-headless")  # decide the bytes, not the content

Row = dict[str, Any]


def describe(
    rows: Iterable[Row],
    sources: Mapping[str, Source],
    listings: Mapping[str, Listing],
    lacking: Mapping[str, str],
    archives: Mapping[str, list[Path]],
) -> dict[str, Any]:
    """All of the manifest that follows from names; no time and no path, so equal data agree.

    Args:
        rows: of the data set, task by task.
        sources: by name, for their cards.
        listings: of the sources that were found.
        lacking: source -> what is missing of it.
        archives: source -> archives its files came from.
    """
    tasks = {code: _task(list(of_task)) for code, of_task in groupby(rows, lambda row: row["task"])}
    return {
        "format": FORMAT,
        "partial": [code for code in TASKS if _is_partial(code, tasks, listings, lacking)],
        "selection_seed": SEED,
        "tasks": tasks,
        "sources": {
            name: {
                "found": len(listing.items),
                "expected": listing.expected or sum(sources[name].expected.values()),
                "skipped": dict(listing.skipped),
                "licence": sources[name].card.licence,
                "archives": {path.name: file_sha256(path) for path in archives[name]},
            }
            for name, listing in listings.items()
        },
        "missing": dict(lacking),
        "versions": {name: version(name) for name in _WRITERS},
    }


def _task(rows: list[Row]) -> dict[str, Any]:
    train = sum(row["split"] == "train" for row in rows)
    return {
        "train": train,
        "test": len(rows) - train,
        "labelled": {name: labelled(train, name) for name in PARTITIONS},
        "sources": dict(sorted(Counter(row["source"] for row in rows).items())),
    }


def _is_partial(
    code: str,
    tasks: Mapping[str, Any],
    listings: Mapping[str, Listing],
    lacking: Mapping[str, str],
) -> bool:
    """Whether the whole sources would have given other images; so also of a full task."""
    if code not in tasks or any(s in lacking or s not in listings for s in TASKS[code].sources):
        return True
    return bool(tasks[code]["train"] + tasks[code]["test"] < TRAIN_IMAGES + TEST_IMAGES)


def write_id_lists(rows: Iterable[Row], folder: Path, *, clean: bool = False) -> None:
    """The ids of every split and partition as text, in order of rank: `folder/BC/1_16.txt`.

    Args:
        rows: of the data set, task by task.
        folder: where a folder a task is made.
        clean: also the test ids that have no `duplicate_of`, once these were searched for.
    """
    for code, of_task in groupby(rows, lambda row: row["task"]):
        ids: dict[str, list[str]] = {"train": [], "test": []}
        if clean:
            ids["clean"] = []
        for row in of_task:
            ids[row["split"]].append(row["id"])
            if clean and row["split"] == "test" and row["duplicate_of"] is None:
                ids["clean"].append(row["id"])
        lists = {
            name: ids["train"][: labelled(len(ids["train"]), name)]
            for name in PARTITIONS
            if name != "full"  # the same as train
        }
        (folder / code).mkdir(parents=True)
        for name, names in {**ids, **lists}.items():
            text = "".join(f"{sample}\n" for sample in names)
            (folder / code / f"{name}.txt").write_text(text)


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(path: Path, copy: Path) -> None:
    """The same file under a second name, where the disk can do that; else a copy of it."""
    try:
        os.link(path.resolve(), copy)
    except OSError:
        shutil.copy2(path, copy)
