"""The rows of one shard, checked: every image and mask decoded once and hashed again."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataset_builders.findings import Finding
from dataset_builders.images import decode, pixel_sha256
from dataset_builders.manifest import Row
from dataset_builders.parquet import COLUMNS, CONTENT_COLUMNS, SCHEMA
from dataset_builders.schema import SourceError
from dataset_builders.tasks import TASKS, Task

NAME = re.compile(r"(?P<task>[A-Z]+)/(?P<split>train|test)-\d{5}-of-\d{5}\.parquet")

Columns = dict[str, list[Any]]
Problem = tuple[int, str, str]  # row in its group, step of `findings`, what is wrong

_WHOSE = ("id", "source")
# What Arrow raises on damaged bytes: thrift, zstd, levels, UTF-8; a flipped length may ask for
# more memory than there is.
DAMAGE = (pa.ArrowException, OSError, ValueError, MemoryError)


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet file of the data set, its footer read."""

    root: Path
    name: str  # inside the data set: "BC/train-00000-of-00001.parquet"
    first_rank: int
    groups: tuple[int, ...]  # rows of each row group
    columns: tuple[str, ...]  # those of the schema that it has

    @property
    def task(self) -> str:
        return self.name.partition("/")[0]

    @property
    def split(self) -> str:
        return "train" if "/train-" in self.name else "test"

    @property
    def side(self) -> str:
        return f"{self.task}/{self.split}"

    @property
    def rows(self) -> int:
        return sum(self.groups)


@dataclass(frozen=True, slots=True)
class Said:
    """What the manifest says of sources."""

    licences: Mapping[str, str]
    withheld: frozenset[str]  # published without their pictures: null cells are right there


@dataclass(frozen=True, slots=True)
class Checked:
    """One row group, read and checked."""

    shard: Shard
    rows: list[Row]  # content columns; empty where one of them could not be read
    count: int  # rows that the footer promises
    bare: list[Row]  # those of them without pictures, as the manifest says
    findings: list[Finding]


def open_shard(root: Path, name: str, first_rank: int) -> tuple[Shard, list[Finding]]:
    """Read a footer and compare its schema.

    Raises:
        OSError, pa.ArrowException: no Parquet file, or a damaged footer.
    """
    with pq.ParquetFile(root / name) as file:
        schema, metadata = file.schema_arrow, file.metadata
        groups = tuple(metadata.row_group(n).num_rows for n in range(metadata.num_row_groups))
    columns = tuple(column for column in COLUMNS if column in schema.names)
    shard = Shard(root, name, first_rank, groups, columns)
    if schema.equals(SCHEMA):
        return shard, []
    differing = [
        column
        for column in dict.fromkeys([*COLUMNS, *schema.names])
        if column not in schema.names
        or column not in COLUMNS
        or not schema.field(column).equals(SCHEMA.field(column))
    ]
    problem = f"schema differs in {', '.join(differing) or 'the order of its columns'}"
    return shard, [Finding("column", name, problem)]


def check_group(shard: Shard, group: int, said: Said) -> Checked:
    """Read one row group, decode its images and masks, and compare all that can be.

    Args:
        shard: of `open_shard`.
        group: number of the row group.
        said: of sources, by the manifest.
    """
    first, count = sum(shard.groups[:group]), shard.groups[group]
    columns, findings = _read(shard, group)
    problems = [*_column_problems(columns, shard, first, said.licences)]
    bare = _bare(columns, said.withheld)
    colour = TASKS[shard.task].colour
    for kind, colours in (("image", colour), ("mask", False)):
        problems += _picture_problems(columns, kind, bare, colour=colours)
    for index, step, problem in sorted(problems, key=lambda found: found[0]):
        whose = (str(columns[name][index]) if name in columns else "" for name in _WHOSE)
        findings.append(Finding(step, f"{shard.name} row {first + index}", problem, *whose))
    if not columns.keys() >= set(CONTENT_COLUMNS):
        return Checked(shard, [], count, [], findings)
    values = zip(*(columns[name] for name in CONTENT_COLUMNS), strict=True)
    rows = [dict(zip(CONTENT_COLUMNS, of_row, strict=True)) for of_row in values]
    return Checked(shard, rows, count, list(compress(rows, bare)), findings)


def _bare(columns: Columns, withheld: frozenset[str]) -> list[bool]:
    """Of each row, whether it is of a withheld source and has neither image nor mask."""
    pictures = [columns[kind] for kind in ("image", "mask") if kind in columns]
    return [
        source in withheld and all(cells[index] is None for cells in pictures)
        for index, source in enumerate(columns.get("source", ()))
    ]


def _read(shard: Shard, group: int) -> tuple[Columns, list[Finding]]:
    """Columns of one row group as Python values; one by one only where that fails together."""
    first, count = sum(shard.groups[:group]), shard.groups[group]
    with pq.ParquetFile(shard.root / shard.name) as file:
        try:
            return _values(file, group, shard.columns, count), []
        except DAMAGE:
            columns: Columns = {}
            findings = []
            for name in shard.columns:
                try:
                    columns |= _values(file, group, (name,), count)
                except DAMAGE as error:
                    where = f"{shard.name} rows {first} to {first + count - 1}"
                    reason = str(error).strip().split("\n")[0][:120]
                    findings.append(Finding("row", where, f"{name} cannot be read ({reason})"))
            return columns, findings


def _values(file: pq.ParquetFile, group: int, names: tuple[str, ...], count: int) -> Columns:
    table = file.read_row_group(group, columns=list(names), use_threads=False)
    table.validate(full=True)  # a wrong offset inside would end the process, not raise
    columns: Columns = table.to_pydict()
    if set(columns) != set(names) or any(len(values) != count for values in columns.values()):
        raise ValueError(f"{table.num_rows} rows, {count} are right")
    return columns


def _column_problems(
    columns: Columns, shard: Shard, first: int, licences: Mapping[str, str]
) -> Iterator[Problem]:
    """What a column says against the file's name, the manifest and the other columns.

    Whole columns are compared, and single rows only of those that differ: nearly always none.
    """
    task, count = TASKS[shard.task], len(next(iter(columns.values()), []))
    rank = shard.first_rank + first
    right: Columns = {
        "task": [task.code] * count,
        "organ": [task.organ] * count,
        "split": [shard.split] * count,
        "rank": list(range(rank, rank + count)),
    }
    if sources := columns.get("source"):
        right["license"] = [licences.get(source) for source in sources]
        if names := columns.get("source_id"):
            pairs = zip(sources, names, strict=True)
            right["id"] = [f"{task.code}/{source}/{name}" for source, name in pairs]
        yield from _source_problems(task, sources, columns.get("group"))
    for name, values in right.items():
        if name in columns and columns[name] != values:
            for index, (said, value) in enumerate(zip(columns[name], values, strict=True)):
                if said != value:
                    yield index, "column", f"{name} is {said!r}, {value!r} is right"


def _source_problems(task: Task, sources: list[Any], groups: list[Any] | None) -> Iterator[Problem]:
    for index, source in enumerate(sources):
        if source not in task.sources:
            known = " or ".join(task.sources)
            yield index, "column", f"source is {source!r}, {known} is right"
        if groups and not str(groups[index]).startswith(f"{source}/"):
            yield index, "column", f"group is {groups[index]!r}, '{source}/...' is right"


def _picture_problems(
    columns: Columns, kind: str, bare: list[bool], *, colour: bool
) -> Iterator[Problem]:
    """Decode images or masks as training does, hash them again, and compare."""
    step = "pixels" if kind == "image" else "mask"
    digest = "pixel_sha256" if kind == "image" else "mask_sha256"
    needed = (kind, digest, "height", "width")
    if not columns.keys() >= set(needed):
        return
    for index, (cell, said, *size) in enumerate(zip(*(columns[n] for n in needed), strict=True)):
        if bare and bare[index]:
            continue
        picture = cell or {}
        try:
            pixels = decode("", kind, picture.get("bytes") or b"", colour=colour)
        except SourceError:
            yield index, step, f"{kind} cannot be decoded"
            continue
        if (found := pixel_sha256(pixels)) != said:
            problem = f"{kind}, decoded, hashes to {found[:12]}..., "
            yield index, step, f"{problem}{digest} is {str(said)[:12]}..."
        if list(pixels.shape[:2]) != size:
            shown = f"{pixels.shape[1]}x{pixels.shape[0]}"
            yield index, step, f"{kind} is {shown}, the columns say {size[1]}x{size[0]}"
        if picture.get("path") is not None:
            yield index, step, f"{kind}.path is {picture['path']!r}, null is right"
