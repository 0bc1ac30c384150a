"""The built data set on disk, read: manifest, and images of one task and split at one size.

Training opens the shards of the training split only; nothing but an evaluation asks for the test
split. No torch.
"""

import json
import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmark import cache
from benchmark.published import Published
from dataset_builders.errors import UsageError
from dataset_builders.manifest import FORMAT, MANIFEST
from dataset_builders.publish.contents import pictures_withheld
from dataset_builders.selection import labelled
from dataset_builders.tasks import TASKS

SQUARE = 0.01  # height and width of a pixel may differ by this share: resized copies are rounded


class DatasetError(UsageError):
    """The folder is no data set of ours, or not the one it says it is."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What the manifest says."""

    root: Path
    content_sha256: str
    partial: tuple[str, ...]
    images: Mapping[str, tuple[int, int]]  # task -> (train, test), tasks that have images only
    # task -> source -> images whose pictures were withheld from publication
    withheld: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    published: Published | None = None  # None: it was built here

    def labelled(self, task: str, split: str) -> int:
        """How many training images of a task carry a label in a partition."""
        return labelled(self.images[task][0], split)

    def require_pictures(self, tasks: Iterable[str]) -> None:
        """Make sure that every image of some tasks is there.

        Raises:
            DatasetError: pictures of their sources were withheld when the data set was published.
        """
        lacking = [task for task in tasks if task in self.withheld]
        if not lacking:
            return
        counts = "; ".join(
            f"{task}: {', '.join(f'{n} of {source}' for source, n in self.withheld[task].items())}"
            for task in lacking
        )
        whole = [f"--task {task}" for task in self.images if task not in self.withheld]
        name = self.published.name if self.published else str(self.root)
        others = f", or run {' '.join(whole)}" if whole else ""
        raise DatasetError(
            f"{name} lacks pictures that may not be re-hosted ({counts}); put the archives of "
            "these sources into raw/ (`usbench list sources` says how to get them) and make it "
            f"whole with `usbench build-data --complete {name} --out data`, then use --data data"
            f"{others}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """One task and split at one size, in order of rank."""

    task: str
    ids: list[str]
    groups: list[str]
    pixels: NDArray[np.uint8]  # (N, C, S, S); C is 3 where the task is in colour, else 1
    masks: NDArray[np.uint8]  # (N, S, S), 0 or 1


@dataclass(frozen=True, slots=True)
class Native:
    """What the data set knows of one task's images beyond their pixels at one size.

    In the order of `Images`. Masks stay encoded: at native size those of a task may take 200 MB.
    """

    masks: list[bytes]  # PNG, of the size of the source's image
    spacing_mm: list[float]  # side of a pixel; NaN where unknown or not square
    duplicate_of: list[str | None]  # id of an image elsewhere in the data set that shows the same


def open_dataset(root: Path, *, whole: bool = True) -> Dataset:
    """Read the manifest.

    Args:
        root: folder of a data set.
        whole: refuse one that lacks pictures, as a published one may.

    Raises:
        DatasetError: no manifest there, one of another format, or not whole.
    """
    path = root / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        if manifest["format"] != FORMAT:
            raise DatasetError(
                f"{path}: format {manifest['format']}, this usbench reads {FORMAT}; "
                "build the data set again with `usbench build-data`"
            )
        dataset = Dataset(
            root,
            manifest["content_sha256"],
            tuple(manifest["partial"]),
            {code: (task["train"], task["test"]) for code, task in manifest["tasks"].items()},
            pictures_withheld(manifest),
        )
        if whole:
            dataset.require_pictures(dataset.images)
        return dataset
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(
            f"{root} holds no data set (no {MANIFEST}); build one with "
            f"`usbench build-data --out {root}`, or name another with --data"
        ) from None
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path} is damaged ({error!r}); build the data set again with `usbench build-data`"
        ) from None


def load(dataset: Dataset, task: str, split: str, size: int) -> Images:
    """Images and masks of one task and split, decoded once: `benchmark.cache` keeps them.

    Args:
        dataset: of `open_dataset`.
        task: code of a task that has images.
        split: "train" or "test".
        size: height and width in px.
    """
    dataset.require_pictures([task])
    shards = _shards(dataset, task, split)
    names = pq.read_table(shards, columns=["id", "group"]).to_pydict()
    colour, count = TASKS[task].colour, len(names["id"])
    key = cache.Key(
        dataset.root, dataset.content_sha256, task, split, size, 3 if colour else 1, count
    )
    kept = cache.read(key)
    if kept is None:
        kept = _decode(shards, size, colour=colour)
        cache.write(key, *kept)
    return Images(task, names["id"], names["group"], *kept)


def native(dataset: Dataset, task: str, split: str) -> Native:
    """Masks at native size, pixel spacing and duplicates of one task and split.

    Args:
        dataset: of `open_dataset`.
        task: code of a task that has images.
        split: "train" or "test".
    """
    dataset.require_pictures([task])
    columns = ["mask", "spacing_mm", "duplicate_of"]
    rows = pq.read_table(_shards(dataset, task, split), columns=columns).to_pydict()
    return Native(
        [mask["bytes"] for mask in rows["mask"]],
        [_side(spacing) for spacing in rows["spacing_mm"]],
        rows["duplicate_of"],
    )


def _side(spacing_mm: list[float] | None) -> float:
    """Side of a square pixel whose height and width are given, else NaN."""
    if spacing_mm is None or max(spacing_mm) > (1 + SQUARE) * min(spacing_mm):
        return math.nan
    return math.sqrt(spacing_mm[0] * spacing_mm[1])


def _shards(dataset: Dataset, task: str, split: str) -> list[Path]:
    shards = sorted((dataset.root / task).glob(f"{split}-*.parquet"))
    for shard in shards:
        try:
            pq.read_metadata(shard)
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(
                f"{shard} is damaged ({error}); build the data set again with `usbench build-data`"
            ) from None
    if not shards:
        raise DatasetError(
            f"{dataset.root}: no shard of task {task}, split {split}; "
            "build the data set again with `usbench build-data`"
        )
    return shards


def _decode(
    shards: list[Path], size: int, *, colour: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rows = [
        (row["image"]["bytes"], row["mask"]["bytes"])
        for shard in shards
        for row in pq.read_table(shard, columns=["image", "mask"]).to_pylist()
    ]
    with ThreadPoolExecutor() as pool:
        resized = list(pool.map(lambda row: resize(row[0], row[1], size, colour=colour), rows))
    return np.stack([image for image, _ in resized]), np.stack([mask for _, mask in resized])


def resize(
    image: bytes, mask: bytes, size: int, *, colour: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Decode and bring to (C, size, size) and (size, size): area average, and nearest pixel.

    The aspect ratio is not kept, as in the released ProPL code; so that speckle does not alias,
    the image is averaged over the area of each new pixel.
    """
    mode = cv2.IMREAD_COLOR_RGB if colour else cv2.IMREAD_GRAYSCALE
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), mode | cv2.IMREAD_IGNORE_ORIENTATION)
    truth = cv2.imdecode(np.frombuffer(mask, np.uint8), cv2.IMREAD_GRAYSCALE)
    truth = cv2.resize(truth, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    return square(np.asarray(pixels, np.uint8), size), (truth > 0).astype(np.uint8)


def square(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(C, size, size) of decoded pixels (H, W) or (H, W, 3), by area average."""
    pixels = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None])
