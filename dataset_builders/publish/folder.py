"""The tree to upload, made from a built data set.

README.md LICENSES.md croissant.json eval.yaml      what it is, for people and machines
BC/train-00000-of-00001.parquet ...                 the shards; withheld pictures are null
splits/BC/{train,test,1_16,1_8,1_4}.txt             the ids of every split and partition
manifest.json                                       written last
"""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dataset_builders.built import content_rows, read_manifest, used_sources
from dataset_builders.content import content_sha256, with_seal
from dataset_builders.licences import licences_markdown
from dataset_builders.manifest import MANIFEST, Row, file_sha256, link_or_copy, write_id_lists
from dataset_builders.parquet import write_shard
from dataset_builders.publish import card, croissant, evaluation
from dataset_builders.publish.contents import Contents, PublishError, Shard
from dataset_builders.publish.withheld import describe, withheld_sources, without_pictures
from dataset_builders.verify_claims import Rows, list_findings, manifest_findings


def assemble(root: Path, target: Path, repo: str, revision: str) -> Contents:
    """Write the tree of a published data set.

    Args:
        root: a built data set.
        target: a folder that does not exist yet.
        repo: where it will lie, "ORG/NAME".
        revision: tag of this version, or "main".

    Raises:
        BuiltError: no data set there.
        PublishError: its shards, lists and manifest contradict each other.
    """
    manifest = read_manifest(root)
    if manifest.get("withheld"):
        raise PublishError(
            f"{root} lacks the pictures of {', '.join(manifest['withheld'])}, for it was published "
            "before; publish the data set that `usbench build-data` makes"
        )
    rows = _checked(root, manifest)
    sources = withheld_sources(used_sources(manifest))
    shards = [_publish(root, target, entry["name"], sources) for entry in manifest["files"]]
    published = with_seal(
        {
            **manifest,
            "withheld": describe(rows, sources),
            "files": [_entry(shard) for shard in shards],
        }
    )
    contents = Contents(repo, revision, published, shards, rows)
    write_id_lists(rows, target / "splits", clean="leakage" in manifest)
    for name, text in {
        "README.md": card.readme(contents),
        "LICENSES.md": licences_markdown(published),
        "croissant.json": croissant.croissant(contents),
        "eval.yaml": evaluation.evaluation(contents),
        MANIFEST: json.dumps(published, indent=1) + "\n",
    }.items():
        (target / name).write_text(text, encoding="utf-8")
    return contents


def _checked(root: Path, manifest: dict[str, Any]) -> list[Row]:
    """All rows without their pictures, once all that is said of them is found true.

    Raises:
        PublishError: shards, id lists and manifest contradict each other.
    """
    rows = Rows()
    for entry in manifest["files"]:
        path = root / entry["name"]
        if not path.is_file() or file_sha256(path) != entry["sha256"]:
            raise PublishError(
                f"{path} is missing or not the file of {MANIFEST}; "
                "build the data set again with `usbench build-data`"
            )
        rows.of_shard[entry["name"]] = content_rows(root, {"files": [entry]})
    if content_sha256(rows.all()) != manifest["content_sha256"]:
        raise PublishError(
            f"{root}: its rows do not have the content hash of its {MANIFEST}; "
            "build it again with `usbench build-data`"
        )
    findings = manifest_findings(manifest, rows, agrees=True)
    findings += list_findings(root, rows, clean="leakage" in manifest)
    if findings:
        more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
        raise PublishError(
            f"{root} contradicts itself: {findings[0].where}: {findings[0].problem}{more}; "
            f"`usbench verify-data {root}` lists all, and `usbench build-data` builds it again"
        )
    return rows.all()


def _publish(root: Path, target: Path, name: str, sources: set[str]) -> Shard:
    """One shard in the tree: as it is, or without the withheld pictures."""
    path, copy = root / name, target / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    if sources.isdisjoint(pq.read_table(path, columns=["source"])["source"].to_pylist()):
        link_or_copy(path, copy)
    else:
        rows: list[Row] = pq.read_table(path).to_pylist()
        write_shard([without_pictures(row, sources) for row in rows], copy)
    table = pq.read_table(copy)
    return Shard(name, table.num_rows, copy.stat().st_size, table.nbytes, file_sha256(copy))


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
