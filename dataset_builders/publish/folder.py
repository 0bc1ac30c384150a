"""The tree to upload, made from a built data set.

README.md LICENSES.md croissant.json eval.yaml      what it is, for people and machines
BC/train-00000-of-00001.parquet ...                 the shards; withheld pictures are null
splits/BC/{train,test,1_16,1_8,1_4}.txt             the ids of every split and partition
manifest.json                                       written last
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dataset_builders.built import content_rows, read_manifest
from dataset_builders.content import content_sha256
from dataset_builders.manifest import MANIFEST, Row, file_sha256
from dataset_builders.parquet import write_shard
from dataset_builders.publish import card, croissant, evaluation
from dataset_builders.publish.contents import Contents, PublishError, Shard
from dataset_builders.publish.withheld import describe, withheld_sources, without_pictures


def assemble(root: Path, target: Path, repo: str, revision: str) -> Contents:
    """Write the tree of a published data set.

    Args:
        root: a built data set.
        target: a folder that does not exist yet.
        repo: where it will lie, "ORG/NAME".
        revision: tag of this version, or "main".

    Raises:
        BuiltError: no data set there.
        PublishError: its files are not those of its manifest.
    """
    manifest = read_manifest(root)
    if manifest.get("withheld"):
        raise PublishError(
            f"{root} lacks the pictures of {', '.join(manifest['withheld'])}, for it was published "
            "before; publish the data set that `usbench build-data` makes"
        )
    sources = withheld_sources(manifest["sources"])
    shards = [_publish(root, target, entry, sources) for entry in manifest["files"]]
    rows = content_rows(target, manifest)
    if content_sha256(rows) != manifest["content_sha256"]:
        raise PublishError(
            f"{root}: its rows do not have the content hash of its {MANIFEST}; "
            "build it again with `usbench build-data`"
        )
    published = {
        **manifest,
        "withheld": describe(rows, sources),
        "files": [_entry(shard) for shard in shards],
    }
    contents = Contents(repo, revision, published, shards, rows)
    for task in manifest["tasks"]:
        shutil.copytree(root / "splits" / task, target / "splits" / task)
    for name, text in {
        "README.md": card.readme(contents),
        "LICENSES.md": card.licences(contents),
        "croissant.json": croissant.croissant(contents),
        "eval.yaml": evaluation.evaluation(contents),
        MANIFEST: json.dumps(published, indent=1) + "\n",
    }.items():
        (target / name).write_text(text, encoding="utf-8")
    return contents


def _publish(root: Path, target: Path, entry: dict[str, Any], sources: set[str]) -> Shard:
    """One shard of the manifest in the tree: as it is, or without the withheld pictures.

    Raises:
        PublishError: it is not the file that the manifest names.
    """
    path, copy = root / entry["name"], target / entry["name"]
    if not path.is_file() or file_sha256(path) != entry["sha256"]:
        raise PublishError(
            f"{path} is missing or not the file of {MANIFEST}; "
            "build the data set again with `usbench build-data`"
        )
    copy.parent.mkdir(parents=True, exist_ok=True)
    if sources.isdisjoint(pq.read_table(path, columns=["source"])["source"].to_pylist()):
        _link(path, copy)
    else:
        rows: list[Row] = pq.read_table(path).to_pylist()
        write_shard([without_pictures(row, sources) for row in rows], copy)
    table = pq.read_table(copy)
    return Shard(
        entry["name"], table.num_rows, copy.stat().st_size, table.nbytes, file_sha256(copy)
    )


def _link(path: Path, copy: Path) -> None:
    """The same file under a second name, where the disk can do that; the copies are only read."""
    try:
        os.link(path.resolve(), copy)
    except OSError:
        shutil.copyfile(path, copy)


def _entry(shard: Shard) -> dict[str, Any]:
    return {
        "name": shard.name,
        "rows": shard.rows,
        "bytes": shard.bytes,
        "sha256": shard.sha256,
    }


def tree_lines(folder: Path, contents: Contents) -> list[str]:
    """The tree with sizes, and the rows of each shard; the id lists as one line."""
    rows = {shard.name: f"{shard.rows:>7,} rows" for shard in contents.shards}
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    lists = [name for name in sizes if name.startswith("splits/")]
    lines = [f"{contents.repo} ({contents.revision})"]
    for name, size in sizes.items():
        if name not in lists:
            lines.append(f"  {name:<34}{size:>14,} bytes  {rows.get(name, '')}".rstrip())
    length = sum(sizes[name] for name in lists)
    lines.append(f"  {'splits/':<34}{length:>14,} bytes  {len(lists):>7,} files")
    total = sum(shard.rows for shard in contents.shards)
    lines.append(f"  {'in all':<34}{sum(sizes.values()):>14,} bytes  {total:>7,} rows")
    return lines
