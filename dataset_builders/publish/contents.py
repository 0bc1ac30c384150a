"""What a published data set holds: read once, for all the documents that go with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataset_builders.built import used_sources
from dataset_builders.errors import UsageError
from dataset_builders.manifest import Row
from dataset_builders.sources import SOURCES

ALL = "all"  # the configuration of every task
SPLITS = ("train", "test")
UNTAGGED = "main"  # revision of a version without a tag


class PublishError(UsageError):
    """The data set cannot be published, or not there."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet file."""

    name: str  # "BC/train-00000-of-00001.parquet"
    rows: int
    bytes: int  # of the file
    loaded: int  # bytes of its table in memory
    sha256: str

    @property
    def task(self) -> str:
        """Code of the task it belongs to."""
        return self.name.partition("/")[0]

    @property
    def split(self) -> str:
        """Of its rows: "train" or "test"."""
        return self.name.partition("/")[2].partition("-")[0]


@dataclass(frozen=True, slots=True)
class Contents:
    """A data set as it is published."""

    repo: str  # "ORG/NAME"
    revision: str  # tag of this version, "main" where it has none
    manifest: Mapping[str, Any]  # as published: with what is withheld
    shards: Sequence[Shard]  # in the manifest's order
    rows: Sequence[Row]  # all columns but the pictures

    @property
    def configs(self) -> dict[str, tuple[str, ...]]:
        """Configuration -> its tasks; the default comes first."""
        tasks = tuple(self.manifest["tasks"])
        return {ALL: tasks, **{task: (task,) for task in tasks}}

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources that images come from, in the order of `SOURCES`."""
        used = used_sources(dict(self.manifest))
        return tuple(name for name in SOURCES if name in used)

    def shards_of(self, config: str, split: str) -> list[Shard]:
        """The files of a configuration's split."""
        tasks = self.configs[config]
        return [shard for shard in self.shards if shard.task in tasks and shard.split == split]

    @property
    def withheld(self) -> Mapping[str, Any]:
        """Source -> what `dataset_builders.publish.withheld.describe` says of it."""
        found: Mapping[str, Any] = self.manifest["withheld"]
        return found


def pictures_withheld(manifest: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Task -> source -> images without pictures in a published data set; empty for a built one."""
    lacking: dict[str, dict[str, int]] = {}
    for source, said in manifest.get("withheld", {}).items():
        for task, count in said["images"].items():
            lacking.setdefault(task, {})[source] = count
    return lacking
