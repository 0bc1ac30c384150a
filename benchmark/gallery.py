"""The gallery of the page, as data: some predictions of every run, and small images."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmark.captions import Filled
from benchmark.dataset import Dataset, DatasetError
from benchmark.masks import unpack
from benchmark.profiles import PNGS, Profile
from benchmark.record import RunRecord, images_of
from benchmark.scoring import columns_of
from dataset_builders.tasks import PARTITIONS

PLACES = ("worst", "median", "best")
EACH = 3  # images of each place, per run and task
THUMBNAIL = 128  # px, the longer side
QUALITY = 65  # of WebP; speckle still looks like speckle
TOLERANCE = 1 / 200  # of the grid's side, by which an outline may miss a mask's border

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """A run that the gallery shows."""

    record: RunRecord
    method: str  # as printed, with what is left out of it
    labelled: str  # share of the training images: "1/4"


def shown(tables: Iterable[Filled]) -> list[Shown]:
    """One run of every row that was run; a row that stands in two tables, once."""
    runs = {
        record.name: Shown(record, row.title, f"1/{PARTITIONS[record.split]}")
        for filled in tables
        for row, record in filled.records.items()
    }
    return list(runs.values())


def gallery(
    runs: Sequence[Shown], results: Path, profile: Profile, dataset: Dataset | None
) -> Json:
    """What the page's script draws.

    Args:
        runs: of `shown`.
        results: folder that holds `runs/`.
        profile: how images are scored, and so ranked.
        dataset: where the images are; None for masks alone.

    Returns:
        `cards`, which name their run and image by position in `runs` and `images`; images name
        theirs in `thumbnails` (WebP in base64). Outlines are SVG paths on a grid of `grid` px.
        `unit` is that of HD95, `unseen` the runs whose rows hold no masks.

    Raises:
        DatasetError: a run saw another data set, or one of its images is not there.
        RecordError: a run's rows are missing or lack what the profile needs.
    """
    if dataset is not None:
        _refuse_others(runs, dataset)
    images: list[Json] = []
    positions: dict[tuple[str, str], int] = {}  # by id and mask, which differs between sizes
    cards: list[Json] = []
    unseen: list[str] = []
    for index, run in enumerate(runs):
        rows = images_of(run.record, results, {*columns_of(profile), *PNGS})
        if not set(PNGS) <= set(rows):
            unseen.append(f"{run.method} ({run.labelled})")
            continue
        for row, place in _picked(rows, profile):
            mask, pred = unpack(row["mask_png"]), unpack(row["pred_png"])
            key = (row["id"], outline(mask))
            if key not in positions:
                positions[key] = len(images)
                grid = mask.shape[::-1]
                images.append({"id": key[0], "task": row["task"], "grid": grid, "mask": key[1]})
            card = {"run": index, "image": positions[key], "place": place, "pred": outline(pred)}
            cards.append(card | {name: _rounded(row[name]) for name in ("dice", "iou", "hd95")})
    return {
        "runs": [{"method": run.method, "labelled": run.labelled} for run in runs],
        "images": images,
        "thumbnails": _thumbnails(images, dataset) if dataset else [],
        "cards": cards,
        "unit": profile.unit,
        "unseen": unseen,
    }


def _refuse_others(runs: Iterable[Shown], dataset: Dataset) -> None:
    for run in runs:
        if (seen := run.record.dataset.content_sha256) != dataset.content_sha256:
            raise DatasetError(
                f"{run.record.name} was run on data set {seen[:12]}, {dataset.root} is "
                f"{dataset.content_sha256[:12]}; name the right one with --data, or leave it out "
                "for a page without images"
            )


def _picked(rows: pd.DataFrame, profile: Profile) -> Iterator[tuple[Json, str]]:
    scored = pd.concat([rows, profile.per_image(rows)], axis=1).dropna(subset="dice")
    for _, of_task in scored.groupby("task", sort=False):
        ranked = of_task.sort_values(["dice", "id"]).to_dict("records")
        for position, place in picks(len(ranked)).items():
            yield ranked[position], place  # type: ignore[misc]


def picks(count: int, each: int = EACH) -> dict[int, str]:
    """Which positions of a ranking from worst to best are shown, and as what; none twice."""
    starts = {"worst": 0, "best": count - each, "median": (count - each) // 2}
    places: dict[int, str] = {}
    for place, start in starts.items():
        for position in range(max(start, 0), min(start + each, count)):
            places.setdefault(position, place)
    return dict(sorted(places.items()))


def _rounded(score: float) -> float | None:
    return None if np.isnan(score) else round(float(score), 4)


def outline(mask: NDArray[np.bool_]) -> str:
    """The border of a mask (H, W) as an SVG path through the centres of its border pixels."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    lines = (cv2.approxPolyDP(line, max(mask.shape) * TOLERANCE, True)[:, 0] for line in found)
    return "".join(_closed(line) for line in lines)


def _closed(points: NDArray[np.int32]) -> str:
    """`M3 4l1 0-2 5z`: a start, then steps; a minus also separates."""
    (x, y), *_ = points
    steps = " ".join(str(step) for step in np.diff(points, axis=0).flat).replace(" -", "-")
    return f"M{x} {y}l{steps}z" if steps else f"M{x} {y}z"


def _thumbnails(images: Sequence[Json], dataset: Dataset) -> list[str]:
    """Thumbnails without repetition; tells each image its own and its native size.

    Two tasks may show one frame of the heart.
    """
    encoded: dict[str, int] = {}
    for task in dict.fromkeys(image["task"] for image in images):
        wanted = {image["id"] for image in images if image["task"] == task}
        found = {row["id"]: row for row in _rows(dataset, task, wanted)}
        if lacking := sorted(wanted - set(found)):
            raise DatasetError(
                f"{dataset.root}: image {lacking[0]} is not in it; build the data set again with "
                "`usbench build-data`"
            )
        small = {name: thumbnail(row["image"]["bytes"]) for name, row in found.items()}
        for image in images:
            if image["task"] == task:
                row = found[image["id"]]
                image["size"] = [row["width"], row["height"]]
                image["thumbnail"] = encoded.setdefault(small[image["id"]], len(encoded))
    return list(encoded)


def _rows(dataset: Dataset, task: str, ids: Iterable[str]) -> list[Json]:
    shards = sorted((dataset.root / task).glob("test-*.parquet"))
    columns = ["id", "image", "width", "height"]
    rows = (
        pq.read_table(shard, columns=columns, filters=[("id", "in", list(ids))]).to_pylist()
        for shard in shards
    )
    return [row for of_shard in rows for row in of_shard]


def thumbnail(encoded: bytes) -> str:
    """An image file as WebP of `THUMBNAIL` px, in base64; aspect and colour are kept."""
    mode = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = np.asarray(cv2.imdecode(np.frombuffer(encoded, np.uint8), mode))
    scale = min(THUMBNAIL / max(pixels.shape[:2]), 1)
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, webp = cv2.imencode(".webp", small, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    return base64.b64encode(webp.tobytes()).decode()
