"""Prove that a built data set is what its manifest says: `usbench verify-data`.

Every file, image, mask and list is read. The sha256 of a shard finds any flipped bit; the hashes of
its rows then say which image it hit, or that it hit none. The manifest has no hash of itself: its
counts and lists are made again from the shards, and what only it knows is covered by two seals,
`provenance_sha256` for the build (archives, skipped files, versions) and `additions_sha256` for
what came after it (how `usbench leakage` searched, the terms of withheld pictures). Seals find
damage and careless edits; who forges one can forge the other, but not the content hash of a record.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa

from dataset_builders.built import read_manifest
from dataset_builders.content import content_sha256
from dataset_builders.findings import Finding
from dataset_builders.manifest import MANIFEST, file_sha256
from dataset_builders.tasks import TASKS
from dataset_builders.verify_claims import Rows, list_findings, manifest_findings, unsealed
from dataset_builders.verify_rows import NAME, Checked, Said, Shard, check_group, open_shard

Progress = Callable[[str, int, int], None]  # (task, images done, images in all)


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, and all that is wrong."""

    content_sha256: str  # as the manifest says; proven if there are no findings
    shards: int
    images: int
    withheld: int  # images that were published without their pictures: hashes, nothing to hash
    unsealed: tuple[str, ...]  # what only the manifest knows and could not be checked
    findings: tuple[Finding, ...]


def verify(
    root: Path,
    *,
    workers: int | None = None,
    progress: Progress = lambda task, done, total: None,
) -> Verification:
    """Recompute all that a data set says of itself; go on after a finding.

    Args:
        root: a built data set.
        workers: decoding threads; by default one per core.
        progress: told after every row group.

    Raises:
        BuiltError: no data set there, or a manifest that cannot be read.
    """
    manifest = read_manifest(root)
    entries = {entry["name"]: entry for entry in manifest["files"]}
    names, findings = _names(root, manifest)
    # OpenCV's own threads would fight with ours for the same cores
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        files = {name: pool.submit(_file_problem, root, entries[name]) for name in names}
        rows, of_rows = _read(root, names, manifest, pool, progress)
        changed = {name: problem for name, future in files.items() if (problem := future.result())}

    findings += _among_rows(rows)
    findings += list_findings(root, rows, clean="leakage" in manifest)
    agrees = not rows.broken and content_sha256(rows.all()) == manifest["content_sha256"]
    findings += manifest_findings(manifest, rows, agrees=agrees)
    findings += _explained(changed, of_rows, rows, agrees=agrees)
    findings += of_rows
    images = sum(len(of_one) for of_one in rows.of_shard.values())
    return Verification(
        manifest["content_sha256"],
        len(names),
        images,
        len(rows.bare),
        tuple(unsealed(manifest)),
        tuple(findings),
    )


def _names(root: Path, manifest: Mapping[str, Any]) -> tuple[list[str], list[Finding]]:
    """Shards of the manifest in canonical order, and where they are not those on the disk."""
    listed = [entry["name"] for entry in manifest["files"]]
    names, findings = [], []
    for name in sorted(set(listed)):
        match = NAME.fullmatch(name)
        if not match or match["task"] not in TASKS:
            findings.append(Finding("manifest", MANIFEST, f"files: {name!r} is no shard's name"))
        else:
            names.append(name)
        if listed.count(name) > 1:
            findings.append(Finding("manifest", MANIFEST, f"files: {name!r} is listed twice"))
    present = {f"{code}/{path.name}" for code in TASKS for path in (root / code).glob("*.parquet")}
    findings += [
        Finding("file", name, "the manifest does not name it; nothing proves it")
        for name in sorted(present - set(names))
    ]
    tasks = list(TASKS)
    names.sort(key=lambda name: (tasks.index(name[:2]), "/test-" in name, name))
    return names, findings


def _file_problem(root: Path, entry: Mapping[str, Any]) -> str:
    """How a shard's bytes differ from the manifest's; empty if they do not."""
    path = root / entry["name"]
    try:
        size = path.stat().st_size
        found = file_sha256(path)
    except FileNotFoundError:
        return "the file is missing"
    except OSError as error:
        return f"the file cannot be read ({error.strerror or error})"
    if size != entry["bytes"]:
        return f"the file has {size} bytes, the manifest says {entry['bytes']}"
    if found != entry["sha256"]:
        return f"its sha256 is {found[:12]}..., the manifest says {entry['sha256'][:12]}..."
    return ""


def _read(
    root: Path,
    names: list[str],
    manifest: Mapping[str, Any],
    pool: ThreadPoolExecutor,
    progress: Progress,
) -> tuple[Rows, list[Finding]]:
    """Decode and check all rows of all shards, a row group in each thread."""
    shards: list[Shard] = []
    rows, findings = Rows(), list[Finding]()
    for name in names:
        before = sum(shard.rows for shard in shards if shard.side == name.partition("-")[0])
        try:
            shard, problems = open_shard(root, name, before)
        except (pa.ArrowException, OSError) as error:
            if (root / name).exists():
                problem = f"no row can be read: {str(error).strip()[:120]}"
                findings.append(Finding("row", name, problem))
            rows.broken.add(name)
            continue
        shards.append(shard)
        rows.of_shard[name] = []
        findings += problems
    said = Said(
        {name: source.get("licence") for name, source in manifest["sources"].items()},
        frozenset(manifest.get("withheld", ())),
    )
    jobs = [(shard, group) for shard in shards for group in range(len(shard.groups))]
    done = dict.fromkeys(TASKS, 0)

    def check(job: tuple[Shard, int]) -> Checked:
        return check_group(*job, said)

    for checked in pool.map(check, jobs):
        shard = checked.shard
        findings += checked.findings
        rows.of_shard[shard.name] += checked.rows
        rows.bare += checked.bare
        if len(checked.rows) < checked.count:
            rows.broken.add(shard.name)
        done[shard.task] += checked.count
        progress(shard.task, done[shard.task], sum(s.rows for s in shards if s.task == shard.task))
    return rows, findings


def _among_rows(rows: Rows) -> Iterator[Finding]:
    """Ids that come twice, groups on both sides of the split, and duplicates of nothing."""
    seen: dict[str, str] = {}
    sides: dict[str, tuple[str, str]] = {}
    for name, of_shard in rows.of_shard.items():
        side = "test" if "/test-" in name else "train"
        for number, row in enumerate(of_shard):
            where, whose = f"{name} row {number}", (row["id"], row["source"])
            if row["id"] in seen:
                yield Finding("column", where, f"its id is that of {seen[row['id']]} too", *whose)
            seen[row["id"]] = where
            other, there = sides.setdefault(row["group"], (side, where))
            if other != side:
                problem = f"group {row['group']!r} is on both sides of the split, see {there}"
                yield Finding("column", where, problem, *whose)
    if rows.broken:
        return
    for name, of_shard in rows.of_shard.items():
        for number, row in enumerate(of_shard):
            if row["duplicate_of"] is not None and row["duplicate_of"] not in seen:
                problem = f"duplicate_of is {row['duplicate_of']!r}, which is no id here"
                yield Finding("column", f"{name} row {number}", problem, row["id"], row["source"])


def _explained(
    changed: Mapping[str, str], of_rows: list[Finding], rows: Rows, *, agrees: bool
) -> Iterator[Finding]:
    """Each changed file, and where in it the change lies as far as that can be told."""
    for name, problem in changed.items():
        if "missing" in problem:
            where = ""
        elif name in rows.broken or any(seen.where.startswith(name) for seen in of_rows):
            where = "; see its rows"
        elif agrees:
            where = (
                "; all pixels, masks and columns are right, so the change lies outside of the "
                "content: footer, padding, or another encoding of the same pixels"
            )
        else:
            where = (
                "; its pixels and masks are right, so a column that has no hash of its own may "
                "differ (source_id, group, spacing_mm, view)"
            )
        yield Finding("file", name, f"{problem}{where}")
