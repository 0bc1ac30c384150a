"""The pictures to compare: of a built data set, or all that the sources hold.

A picture may serve several tasks (CAMUS), and then stands in several rows; it is decoded once.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dataset_builders.acquire import Finder
from dataset_builders.built import read_manifest, shards
from dataset_builders.errors import UsageError
from dataset_builders.images import decode, pixel_sha256
from dataset_builders.leakage.fingerprints import Fingerprint, fingerprint
from dataset_builders.schema import Item, NothingFoundError
from dataset_builders.selection import select
from dataset_builders.sources import SOURCES
from dataset_builders.tasks import TASKS

T = TypeVar("T")
Progress = Callable[[str, int, int], None]  # (what is done, steps done, steps in all)

# What makes two frames one film, whose frames are alike by nature: from (name, group).
_FILM: Mapping[str, Callable[[str, str], str]] = {
    "camus": lambda name, group: name.rpartition("_")[0],  # ED and ES of one loop
    "hmc_qu": lambda name, group: name.rpartition("#")[0],
    "tg3k": lambda name, group: group,
}


class LeakageError(UsageError):
    """The folder holds nothing that can be searched, or the search cannot be written there."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A row of the data set that shows a picture; sorts train before test, then task, then rank."""

    on_test: bool
    task_order: int
    rank: int
    id: str

    @property
    def task(self) -> str:
        return self.id.partition("/")[0]

    @property
    def split(self) -> str:
        return "test" if self.on_test else "train"


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture and every row that shows it."""

    source: str
    name: str  # the publisher's, unique in the source
    group: str  # "busi/scene22"
    organ: str  # decides with which others a part of it is compared
    pixels: str  # hash of the decoded pixels
    places: tuple[Place, ...]  # sorted; none where the picture was not selected
    print: Fingerprint

    @property
    def key(self) -> tuple[str, str, str]:
        return self.source, self.name, self.pixels

    @property
    def film(self) -> tuple[str, str]:
        """Frames of one film are expected to look alike; any other picture is a film of its own."""
        of_source = _FILM.get(self.source)
        return self.source, of_source(self.name, self.group) if of_source else self.name


def of_data_set(root: Path, progress: Progress = lambda what, done, total: None) -> list[Picture]:
    """Every picture of a built data set, sorted by source and name.

    Raises:
        BuiltError: no data set there.
        LeakageError: a shard that cannot be read, or a published data set without its pictures.
    """
    rows: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    columns = ["id", "task", "source", "source_id", "group", "split", "rank", "pixel_sha256"]
    manifest = read_manifest(root)
    if withheld := manifest.get("withheld"):
        raise LeakageError(
            f"{root} was published without the pictures of {', '.join(withheld)}; make it whole "
            f"with `usbench build-data --complete {root}`"
        )
    for shard in shards(manifest):
        try:
            table = pq.read_table(root / shard, columns=[*columns, "image"])
        except (pa.ArrowException, OSError) as error:
            raise LeakageError(
                f"{root / shard} is damaged ({error}); build the data set again"
            ) from None
        for row in table.to_pylist():
            key = row["source"], row["source_id"], row["pixel_sha256"]
            if key in rows:
                del row["image"]
            rows.setdefault(key, []).append(row)

    def picture(of_picture: list[dict[str, Any]]) -> Picture:
        first = of_picture[0]
        pixels = decode(first["source"], first["id"], first.pop("image")["bytes"], colour=True)
        return picture_of(
            first["source"],
            first["source_id"],
            first["group"],
            first["task"],
            first["pixel_sha256"],
            (place_of(row["id"], row["split"], row["rank"]) for row in of_picture),
            pixels,
        )

    return _in_parallel(picture, [rows[key] for key in sorted(rows)], progress)


def of_sources(raw: Path, progress: Progress = lambda what, done, total: None) -> list[Picture]:
    """Every picture of the sources in `raw`, also those that no build selects; sorted.

    Where each would stand in the data set follows from the names, so no data set is needed.

    Raises:
        LeakageError: no source there.
        SourceError: a file that cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix=".usbench-") as scratch:
        finder = Finder(raw, Path(scratch))
        items: dict[tuple[str, str], list[Item]] = {}
        for source in SOURCES.values():
            files = finder.find(source)
            try:
                listed = source.index(files).items if files else ()
            except NothingFoundError:
                continue
            for item in listed:
                items.setdefault((item.source, item.source_id), []).append(item)
        if not items:
            raise LeakageError(
                f"no source in {raw}; name the folder that `usbench build-data --raw` reads"
            )
        chosen = {
            placed.item.id: place_of(placed.item.id, placed.split, placed.rank)
            for placed in select(item for of_picture in items.values() for item in of_picture)
        }

        def picture(of_picture: list[Item]) -> Picture:
            item = of_picture[0]
            pixels = SOURCES[item.source].read(item).image
            places = (chosen[item.id] for item in of_picture if item.id in chosen)
            group = f"{item.source}/{item.group}"
            digest = pixel_sha256(pixels)
            return picture_of(item.source, item.source_id, group, item.task, digest, places, pixels)

        return _in_parallel(picture, [items[key] for key in sorted(items)], progress)


def place_of(sample: str, split: str, rank: int) -> Place:
    """The row of this id."""
    return Place(split == "test", list(TASKS).index(sample.partition("/")[0]), rank, sample)


def picture_of(
    source: str,
    name: str,
    group: str,
    task: str,
    digest: str,
    places: Iterable[Place],
    pixels: NDArray[np.uint8],
) -> Picture:
    """A picture from its pixels, (H, W) or (H, W, 3) RGB; `task` is any that it serves."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    return Picture(
        source,
        name,
        group,
        TASKS[task].organ,
        digest,
        tuple(sorted(places)),
        fingerprint(np.asarray(grey, np.uint8)),
    )


def _in_parallel(
    picture: Callable[[T], Picture], wanted: list[T], progress: Progress
) -> list[Picture]:
    cv2.setNumThreads(1)  # OpenCV's own threads would fight with ours for the same cores
    done: list[Picture] = []
    with ThreadPoolExecutor() as pool:
        for made in pool.map(picture, wanted):
            done.append(made)
            progress("pictures read", len(done), len(wanted))
    return done
