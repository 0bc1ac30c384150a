"""The README's picture: one image of each of the eight tasks."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmark.dataset import Dataset
from benchmark.figures.pictures import decode
from benchmark.masks import unpack
from dataset_builders.tasks import TASKS

PANEL = 224  # px, height of a panel
OUTLINE = (255, 200, 40)  # RGB: seen on grey, and apart from Doppler's red and blue


def tasks_picture(dataset: Dataset, path: Path) -> None:
    """Write one training image of each task, two rows of four, target outlined.

    Args:
        dataset: of `open_dataset`.
        path: a PNG file.
    """
    figure = Figure(figsize=(11, 6.2), dpi=110, facecolor="black")
    for place, code in enumerate(dataset.images, start=1):
        axes = figure.add_subplot(2, 4, place)
        axes.imshow(_outlined(dataset, code))
        axes.set_title(f"{code}  {TASKS[code].name}", color="white", fontsize=12)
        axes.axis("off")
        axes.set_anchor("N")
    figure.tight_layout(pad=0.6)
    partial = path.with_suffix(".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(partial, format="png", metadata={"Software": None})
    partial.replace(path)


def _outlined(dataset: Dataset, code: str) -> NDArray[np.uint8]:
    """(PANEL, W, 3) RGB of the task's first training image that has a target of middling size."""
    (shard, *_) = sorted((dataset.root / code).glob("train-*.parquet"))
    rows = pq.read_table(shard, columns=["image", "mask"]).slice(0, 20).to_pylist()
    pairs = [(decode(row["image"]["bytes"]), unpack(row["mask"]["bytes"])) for row in rows]
    areas = [float(np.mean(mask)) for _, mask in pairs]
    image, mask = pairs[int(np.argsort(areas)[len(areas) // 2])]
    scale = PANEL / mask.shape[0]
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = cv2.resize(
        mask.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT
    )
    edges, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlined: NDArray[np.uint8] = cv2.drawContours(image.copy(), edges, -1, OUTLINE, 2)
    return outlined
