"""What the manifest and the id lists claim, against the rows that they speak of.

No picture is opened. `dataset_builders.verify` asks this beside its proof of the pictures;
publishing asks it before the claims reach the card.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataset_builders.content import (
    ADDED,
    PROVENANCE,
    added,
    added_sha256,
    content_sha256,
    provenance_sha256,
)
from dataset_builders.findings import Finding
from dataset_builders.manifest import MANIFEST, Row, describe, write_id_lists
from dataset_builders.schema import Listing
from dataset_builders.sources import SOURCES
from dataset_builders.tasks import TASKS

# all that a manifest may hold; a seal under a damaged name would otherwise go unseen
_ENTRIES = {
    *("format", "content_sha256", "files", "tasks", "partial", "selection_seed", "sources"),
    *("missing", "versions", "license_filter", PROVENANCE, "leakage", "withheld", ADDED),
}


@dataclass(slots=True)
class Rows:
    """What could be read of the shards."""

    of_shard: dict[str, list[Row]] = field(default_factory=dict)  # in canonical order
    broken: set[str] = field(default_factory=set)  # shards of which not every row could be read
    bare: list[Row] = field(default_factory=list)  # those without pictures, as the manifest says

    def of_task(self, code: str) -> list[Row]:
        """Rows of one task; task and split are those of the file, which the lists follow."""
        return [
            {**row, "task": code, "split": "train" if "/train-" in name else "test"}
            for name, rows in self.of_shard.items()
            for row in rows
            if name.startswith(f"{code}/")
        ]

    def is_whole(self, code: str) -> bool:
        """Whether all rows of a task could be read."""
        return not any(name.startswith(f"{code}/") for name in self.broken)

    def all(self) -> list[Row]:
        """Every row, in canonical order."""
        return [row for rows in self.of_shard.values() for row in rows]


def list_findings(root: Path, rows: Rows, *, clean: bool) -> Iterator[Finding]:
    """The id lists, written anew from the rows and compared line by line; and no other list.

    Args:
        root: the data set.
        rows: of it.
        clean: whether it has lists of test ids without duplicates.
    """
    whole = [code for code in TASKS if rows.is_whole(code)]
    with tempfile.TemporaryDirectory() as folder:
        write_id_lists(
            (row for code in whole for row in rows.of_task(code)), Path(folder), clean=clean
        )
        right = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(Path(folder).rglob("*"), key=_by_task)
        }
        for name, path in right.items():
            if path.is_file() and (problem := _problem(root / "splits" / name, path.read_bytes())):
                yield Finding("list", f"splits/{name}", problem)
    splits = root / "splits"
    for strange in (path.relative_to(splits) for path in sorted(splits.rglob("*"))):
        known = strange.as_posix() in right or not rows.is_whole(strange.parts[0])
        if not known and not strange.name.startswith("."):  # a file manager's, no list
            problem = "no such list follows from the rows"
            yield Finding("list", f"splits/{strange.as_posix()}", problem)


def _by_task(path: Path) -> tuple[int, Path]:
    code = path.name if path.name in TASKS else path.parent.name
    return list(TASKS).index(code), path


def _problem(path: Path, right: bytes) -> str:
    try:
        found = path.read_bytes()
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if found == right:
        return ""
    lines, expected = found.split(b"\n"), right.split(b"\n")
    for number, (line, id_) in enumerate(zip(lines, expected, strict=False), start=1):
        if line != id_:
            shown = line.decode(errors="backslashreplace")
            return f"line {number} is {shown!r}, the shard has {id_.decode()!r}"
    return f"{len(lines) - 1} ids, the shard has {len(expected) - 1}"


def manifest_findings(manifest: Mapping[str, Any], rows: Rows, *, agrees: bool) -> list[Finding]:
    """What the manifest says, against what follows from the rows and from its own seals.

    Args:
        manifest: of the data set.
        rows: of it.
        agrees: whether they have the manifest's content hash.
    """
    problems = [
        f"{entry}: {said}, the shards give {found}"
        for entry, said, found in _recomputed(manifest, rows, agrees=agrees)
        if said != found
    ]
    named = manifest["sources"].keys()
    problems += [f"sources: {name!r} is no source" for name in sorted(named - SOURCES.keys())]
    drawn = {row["source"] for row in rows.all()}
    problems += [
        f"sources: {name!r} has images, but is not there" for name in sorted(drawn - named)
    ]
    problems += [f"{name!r} is no entry of ours" for name in sorted(manifest.keys() - _ENTRIES)]
    problems += _seal_problems(manifest)
    return [Finding("manifest", MANIFEST, problem) for problem in problems]


def _recomputed(
    manifest: Mapping[str, Any], rows: Rows, *, agrees: bool
) -> Iterator[tuple[str, object, object]]:
    """(entry, as the manifest has it, as it should be) where enough rows could be read."""
    for entry in manifest["files"]:
        if (name := entry["name"]) in rows.of_shard and name not in rows.broken:
            yield f"rows of {name}", entry["rows"], len(rows.of_shard[name])
    whole = [code for code in TASKS if rows.is_whole(code)]
    # what the sources' archives held is no matter here, only which sources there were
    listings = {name: Listing((), {}) for name in manifest["sources"] if name in SOURCES}
    again = describe(
        [row for code in whole for row in rows.of_task(code)],
        SOURCES,
        listings,
        manifest["missing"],
        {name: [] for name in listings},
    )
    yield "selection_seed", manifest["selection_seed"], again["selection_seed"]
    for code in whole:
        said, found = manifest["tasks"].get(code, {}), again["tasks"].get(code, {})
        for name in dict.fromkeys([*said, *found]):
            yield f"task {code}: {name}", said.get(name), found.get(name)
    if not rows.broken:
        yield "tasks", sorted(manifest["tasks"]), sorted(again["tasks"])
        yield "partial", manifest["partial"], again["partial"]
        yield from _additions(manifest, rows)
        if not agrees:
            yield "content_sha256", manifest["content_sha256"], content_sha256(rows.all())


def _additions(manifest: Mapping[str, Any], rows: Rows) -> Iterator[tuple[str, object, object]]:
    """What can be counted again of what was added after the build."""
    if withheld := manifest.get("withheld"):
        images = {name: said.get("images") for name, said in withheld.items()}
        yield "withheld", images, _by_source(rows.bare)
    if "leakage" in manifest:
        said = manifest["leakage"]
        repeating = sum(row["duplicate_of"] is not None for row in rows.all())
        yield "leakage: duplicates", said.get("duplicates"), repeating
        clean = {
            code: sum(row["split"] == "test" and row["duplicate_of"] is None for row in of_task)
            for code in TASKS
            if (of_task := rows.of_task(code))
        }
        yield "leakage: clean", said.get("clean"), clean


def _by_source(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """Source -> task -> how many."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row["source"], Counter())[row["task"]] += 1
    return {name: dict(of_source) for name, of_source in counts.items()}


def _seal_problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    if (PROVENANCE in manifest) != ("license_filter" in manifest):
        yield f"{PROVENANCE} or license_filter is missing"
    elif PROVENANCE in manifest and manifest[PROVENANCE] != provenance_sha256(manifest):
        yield f"{PROVENANCE} differs: sources, missing, versions or settings were changed"
    if ADDED in manifest and manifest[ADDED] != added_sha256(manifest):
        yield f"{ADDED} differs: leakage or withheld was changed"


def unsealed(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What only the manifest knows and has no seal, as older versions wrote it."""
    if PROVENANCE not in manifest:
        yield "archives, skipped files, versions"
    if added(manifest) and ADDED not in manifest:
        yield f"limits, pairs and terms under {' and '.join(added(manifest))}"
