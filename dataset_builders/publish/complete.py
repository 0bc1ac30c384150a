"""A published data set made whole: withheld pictures come from the user's own archives.

Only the sources that were withheld are needed. Each picture must have the hashes of its row, so
the result has the content hash that was published.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dataset_builders.acquire import Finder
from dataset_builders.build import make_row
from dataset_builders.built import content_rows, read_manifest, shards
from dataset_builders.content import content_sha256, with_seal
from dataset_builders.errors import UsageError
from dataset_builders.manifest import MANIFEST, Row, file_sha256, write_id_lists
from dataset_builders.parquet import write_shard
from dataset_builders.publish.withheld import PICTURES, describe
from dataset_builders.schema import Item, NothingFoundError
from dataset_builders.selection import Placed
from dataset_builders.sources import SOURCES
from dataset_builders.verify_rows import NAME

HASHES = ("pixel_sha256", "mask_sha256")
Progress = Callable[[str, int, int], None]  # (task, images done, images in all)


class CompleteError(UsageError):
    """The published data set cannot be made whole from what is here."""


def complete(
    published: Path,
    raw: Path,
    out: Path,
    *,
    allow_missing: bool = False,
    progress: Progress = lambda task, done, total: None,
) -> dict[str, Any]:
    """Write the whole data set and return its manifest.

    Args:
        published: folder of a published data set.
        raw: the publishers' files of the withheld sources, a folder or an archive per source.
        out: a new folder.
        allow_missing: leave pictures null that are not here.
        progress: told after every shard.

    Raises:
        CompleteError: pictures are missing without `allow_missing`, or are not those that were
            published; `out` exists. Nothing is written then.
        SourceError: a file that cannot be used.
    """
    manifest = read_manifest(published)
    if strange := [name for name in shards(manifest) if not NAME.fullmatch(name)]:
        raise CompleteError(f"{published} is damaged: {strange[0]!r} is no shard's name")
    rows = content_rows(published, manifest)
    if content_sha256(rows) != manifest["content_sha256"]:
        raise CompleteError(f"{published} is damaged: its rows do not have its content hash")
    if out.exists() and any(out.iterdir()):
        raise CompleteError(f"{out} exists and is not empty; choose another --out")
    withheld = manifest.get("withheld", {})
    if strange := withheld.keys() - SOURCES.keys():
        raise CompleteError(
            f"{published}: its {MANIFEST} withholds {', '.join(sorted(strange))}, which this "
            "usbench does not know; use the version that published it"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".usbench-", dir=out.parent) as scratch:
        items = _items(withheld, Finder(raw, Path(scratch) / "unpacked"))
        lacking = [row for row in rows if row["source"] in withheld and row["id"] not in items]
        if lacking and not allow_missing:
            raise CompleteError(_how_to_get(raw, lacking))
        target = Path(scratch) / "dataset"
        files, done = [], Counter[str]()
        for entry in manifest["files"]:
            files.append(_restore_shard(entry["name"], published, target, items))
            task = entry["name"].partition("/")[0]
            done[task] += entry["rows"]
            counts = manifest["tasks"][task]
            progress(task, done[task], counts["train"] + counts["test"])
        write_id_lists(rows, target / "splits", clean="leakage" in manifest)
        still = describe(lacking, withheld)
        made = {name: value for name, value in manifest.items() if name != "withheld"}
        made = with_seal(made | {"files": files} | ({"withheld": still} if still else {}))
        (target / MANIFEST).write_text(json.dumps(made, indent=1) + "\n")
        target.rename(out)  # replaces an empty folder
    return made


def _items(sources: Iterable[str], finder: Finder) -> dict[str, Item]:
    """Id -> item of what is in the raw data of some sources."""
    items: dict[str, Item] = {}
    for name in sources:
        files = finder.find(SOURCES[name])
        try:
            listing = SOURCES[name].index(files) if files else None
        except NothingFoundError:
            continue
        items |= {item.id: item for item in listing.items} if listing else {}
    return items


def _how_to_get(raw: Path, lacking: Iterable[Row]) -> str:
    counts = Counter(row["source"] for row in lacking)
    lines = [
        f"  {name}: {count} images; to get them, {SOURCES[name].card.access}"
        for name, count in counts.items()
    ]
    return (
        f"pictures of {len(counts)} sources are not in {raw}:\n"
        + "\n".join(lines)
        + "\nWith --allow-missing the others are restored, and these stay without pictures."
    )


def _restore_shard(
    name: str, published: Path, target: Path, items: Mapping[str, Item]
) -> dict[str, Any]:
    """Write one shard with the pictures that are here; return its line in the manifest."""
    rows: list[Row] = pq.read_table(published / name).to_pylist()
    gaps = [index for index, row in enumerate(rows) if row["image"] is None and row["id"] in items]
    # in the order of the files: frames of one clip follow each other and are read once
    gaps.sort(key=lambda index: _file_order(items[rows[index]["id"]]))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(lambda index: _pictures(rows[index], items[rows[index]["id"]]), gaps)
        for index, pictures in zip(gaps, made, strict=True):
            rows[index] |= pictures
    path = target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shard(rows, path)
    size, digest = path.stat().st_size, file_sha256(path)
    return {"name": name, "rows": len(rows), "bytes": size, "sha256": digest}


def _file_order(item: Item) -> tuple[str, str, int]:
    return item.source, str(item.files[0]), item.frame


def _pictures(row: Row, item: Item) -> Row:
    """Image and mask of a row, decoded from the user's files.

    Raises:
        CompleteError: they are not those that were published.
    """
    made = make_row(Placed(item, row["split"], row["rank"]))
    for name in HASHES:
        if made[name] != row[name]:
            raise CompleteError(
                f"{row['id']}: '{item.files[0].name}' is not the picture that was published "
                f"({name} {made[name][:12]}, published {row[name][:12]}); "
                f"get the same release: {SOURCES[item.source].card.access}"
            )
    return {name: made[name] for name in PICTURES}
