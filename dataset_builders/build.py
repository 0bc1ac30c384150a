"""Sources to shards to manifest: the whole of `usbench build-data`.

    OUT/BC/train-00000-of-00001.parquet   one file per task and split
    OUT/splits/BC/{train,test,1_16,1_8,1_4}.txt
    OUT/manifest.json                     written last, into a folder that then gets its name

An interrupted build leaves the old data set, or nothing.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dataset_builders.acquire import Finder, unclaimed
from dataset_builders.built import exchange, others_files
from dataset_builders.content import PROVENANCE, content_sha256, provenance_sha256
from dataset_builders.errors import UsageError
from dataset_builders.images import encode_png, pixel_sha256
from dataset_builders.licences import ANY, left_out
from dataset_builders.manifest import MANIFEST, Row, describe, file_sha256, write_id_lists
from dataset_builders.parquet import CONTENT_COLUMNS, write_shard
from dataset_builders.schema import Item, Listing, NothingFoundError, Source
from dataset_builders.selection import Placed, select
from dataset_builders.sources import SOURCES
from dataset_builders.tasks import TASKS

Progress = Callable[[str, int, int], None]  # (task, images done, images in all)


class BuildError(UsageError):
    """The build cannot start: sources are missing, or the target is no data set of ours."""


def build(
    raw: Path,
    out: Path,
    *,
    sources: Iterable[str] = tuple(SOURCES),
    allow_missing: bool = False,
    license_filter: str = ANY,
    workers: int | None = None,
    progress: Progress = lambda task, done, total: None,
) -> dict[str, Any]:
    """Build the data set and return its manifest.

    Args:
        raw: the publishers' files, a folder or an archive per source.
        out: the data set; an older one there is replaced once the new one is complete.
        sources: names of `SOURCES` to use.
        allow_missing: build from what is there, and say "partial" wherever the data go.
        license_filter: of `licences.FILTERS`; sources that it leaves out count as missing.
        workers: decoding threads; by default one per core.
        progress: told after every image.

    Raises:
        LicenceError: an unknown filter, or one that leaves no source.
        BuildError: missing or incomplete sources without `allow_missing`; `out` holds files that
            are not a data set's.
        SourceError: a file that cannot be used; nothing is written.
    """
    _check_target(out)
    names = tuple(sources)
    forbidden = left_out(names, license_filter)
    chosen = [SOURCES[name] for name in names if name not in forbidden]
    with (
        tempfile.TemporaryDirectory(prefix=".usbench-", dir=out.parent) as scratch,
        ThreadPoolExecutor(workers or os.cpu_count()) as pool,
    ):
        finder = Finder(raw, Path(scratch) / "unpacked")
        listings, lacking = _index(chosen, finder)
        if lacking and (not allow_missing or not listings):
            raise BuildError(_how_to_get(raw, lacking))

        placed = select(item for listing in listings.values() for item in listing.items)
        target = Path(scratch) / "dataset"
        shards = []
        rows: list[Row] = []
        for row_of_shard in _shards(placed, pool, progress):
            shards.append(_write(row_of_shard, target))
            rows += [{name: row[name] for name in CONTENT_COLUMNS} for row in row_of_shard]
        write_id_lists(rows, target / "splits")
        manifest = {
            "content_sha256": content_sha256(rows),
            **describe(rows, SOURCES, listings, {**lacking, **forbidden}, finder.archives),
            "license_filter": license_filter,
            "files": shards,
        }
        manifest[PROVENANCE] = provenance_sha256(manifest)
        (target / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        exchange(target, out, Path(scratch))
    return manifest


def _check_target(out: Path) -> None:
    """Refuse to replace anything but a data set.

    Raises:
        BuildError: `out` holds something else, or its place cannot be written to.
    """
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise BuildError(
            f"{out} exists and is not a data set of usbench (no {MANIFEST}); "
            "choose another --out or remove it"
        )
    if others := others_files(out):
        few = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise BuildError(
            f"{out} holds files that are no part of a data set and would be deleted with the one "
            f"there: {few}; move them away or choose another --out"
        )
    if not _writable(out.parent):
        raise BuildError(f"{out.parent} cannot be written to; choose another --out")


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _index(sources: Iterable[Source], finder: Finder) -> tuple[dict[str, Listing], dict[str, str]]:
    """Listings of the sources that are there; and source -> what it lacks, of the others too."""
    listings: dict[str, Listing] = {}
    lacking: dict[str, str] = {}
    for source in sources:
        files = finder.find(source)
        if not files:
            lacking[source.name] = "not found"
            continue
        try:
            listing = listings[source.name] = source.index(files)
        except NothingFoundError as error:
            lacking[source.name] = str(error)
            continue
        for task, complete in source.expected.items():
            found = sum(item.task == task for item in listing.items)
            if found < (expected := listing.expected or complete):
                lacking[source.name] = f"{found} of {expected} images"
    return listings, lacking


def _how_to_get(raw: Path, lacking: Mapping[str, str]) -> str:
    lines = [
        f"  {name} ({problem}): put it into {raw / name}/, as a folder or an archive.\n"
        f"      To get it, {SOURCES[name].card.access}"
        for name, problem in lacking.items()
    ]
    if strange := unclaimed(raw, SOURCES.values()):
        lines.append(f"  No source goes by the name {', '.join(strange)}: misspelt or misplaced?")
    absent = "" if raw.is_dir() else f"there is no folder {raw} (is --raw right?): "
    return (
        f"{absent}{len(lacking)} of {len(SOURCES)} sources are missing or incomplete in {raw}:\n"
        + "\n".join(lines)
        + "\nWith --allow-missing the tasks take what there is, and all results say 'partial'."
    )


def _shards(
    placed: Iterable[Placed], pool: ThreadPoolExecutor, progress: Progress
) -> Iterator[list[Row]]:
    """Rows of one task and split at a time, in order of rank, decoded in parallel.

    A task is begun before the one before it is handed out, so the cores decode while that one is
    written.
    """
    # OpenCV's own threads would fight with ours for the same cores
    cv2.setNumThreads(1)
    ready: Iterator[list[Row]] | None = None
    for _, of_task in groupby(placed, key=lambda entry: entry.item.task):
        begun = _decoded(list(of_task), pool, progress)
        next(begun)  # submits the work
        if ready:
            yield from ready
        ready = begun
    if ready:
        yield from ready


def _decoded(
    entries: list[Placed], pool: ThreadPoolExecutor, progress: Progress
) -> Iterator[list[Row]]:
    """First an empty list, when the work is submitted; then the task's train and test rows."""
    # in the order of the files: several frames of one clip, or tasks of one picture, follow
    # each other and are read once
    order = sorted(range(len(entries)), key=lambda index: _file_order(entries[index].item))
    results = pool.map(make_row, [entries[index] for index in order])
    yield []
    rows: list[Row] = [{}] * len(entries)
    for done, (index, row) in enumerate(zip(order, results, strict=True), start=1):
        rows[index] = row
        progress(str(row["task"]), done, len(entries))
    for _, shard in groupby(rows, key=lambda row: row["split"]):
        yield list(shard)


def _file_order(item: Item) -> tuple[str, str, int]:
    return item.source, str(item.files[0]), item.frame


def make_row(placed: Placed) -> Row:
    """Decode one image and make its row, columns as in `dataset_builders.parquet`."""
    item = placed.item
    task = TASKS[item.task]
    source = SOURCES[item.source]
    sample = source.read(item)
    mask = sample.mask.astype(np.uint8) * 255
    height, width = mask.shape
    return {
        "id": item.id,
        "task": item.task,
        "organ": task.organ,
        "image": {"bytes": sample.encoded or encode_png(sample.image), "path": None},
        "mask": {"bytes": encode_png(mask, mask=True), "path": None},
        "source": item.source,
        "source_id": item.source_id,
        "group": f"{item.source}/{item.group}",
        "split": placed.split,
        "rank": placed.rank,
        "width": width,
        "height": height,
        "spacing_mm": sample.spacing_mm and list(sample.spacing_mm),
        "view": item.view,
        "license": source.card.licence,
        "pixel_sha256": pixel_sha256(sample.image),
        "mask_sha256": pixel_sha256(mask),
        "duplicate_of": None,
    }


def _write(rows: list[Row], target: Path) -> dict[str, Any]:
    """One shard, and its line in the manifest."""
    name = f"{rows[0]['task']}/{rows[0]['split']}-00000-of-00001.parquet"
    path = target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shard(rows, path)
    size, digest = path.stat().st_size, file_sha256(path)
    return {"name": name, "rows": len(rows), "bytes": size, "sha256": digest}
