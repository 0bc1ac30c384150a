"""Images of the data set in a figure, with masks as contours over them.

Such figures show the sources' images, under the sources' licences: they are written where git
does not look, and are never committed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow.parquet as pq
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from benchmark.dataset import Dataset, DatasetError
from benchmark.figures import style
from benchmark.masks import unpack
from benchmark.record import MASKS, RecordError, RunRecord, images_of, path_of
from dataset_builders.tasks import TASKS

SIDE = 350  # px, the longer side of an embedded image: 300 dpi of what is printed 1.2 in wide
HIGHEST = 0.95  # in, of a row, so that eight fit a page; higher images are shown narrower
NAMES = 0.28  # in, for the names of the tasks on the left
GAP = 0.04  # in, between images
LINE = 0.1  # in, height of a line of letters above or below an image

Mask = NDArray[np.bool_]  # (h, w)


class Masks(NamedTuple):
    """Of one image, at the protocol's size."""

    mask: Mask
    pred: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A test image."""

    pixels: NDArray[np.uint8]  # (H, W, 3) RGB, reduced to `SIDE`
    source: str
    licence: str


@dataclass(frozen=True, slots=True)
class Stroke:
    """How a contour is drawn."""

    colour: str
    width: float  # pt
    dashes: str = "-"

    def of(self, mask: Mask) -> "Outline":
        """The contour of a mask (h, w) of any grid; it is stretched over the image."""
        return Outline(mask, self)


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A contour over an image."""

    mask: Mask
    stroke: Stroke


# The mask's line is the broader one and lies below, so that both are seen where they agree.
MASK = Stroke(style.SKY, 1.6)
PREDICTION = Stroke(style.ORANGE, 0.8)
OTHER_PREDICTION = Stroke(style.PURPLE, 0.8, "--")
# Many predictions are thin and lie below the mask.
MANY_PREDICTIONS = Stroke(style.ORANGE, 0.4)
THIN_MASK = Stroke(style.SKY, 1.0)


def decode(image: bytes) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of an image file."""
    mode = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    return np.asarray(cv2.imdecode(np.frombuffer(image, np.uint8), mode), np.uint8)


def load_pictures(
    dataset: Dataset, record: RunRecord, tasks: Mapping[str, str]
) -> dict[str, Picture]:
    """Test images of a data set, by id.

    Args:
        dataset: of `open_dataset`.
        record: of a run that saw these images.
        tasks: image id -> its task.

    Raises:
        DatasetError: the run saw another data set, or an image is not there.
    """
    if (seen := record.dataset.content_sha256) != dataset.content_sha256:
        raise DatasetError(
            f"{record.name} was run on data set {seen[:12]}, {dataset.root} is "
            f"{dataset.content_sha256[:12]}; name the right one with --data"
        )
    found: dict[str, Picture] = {}
    columns = ["id", "image", "source", "license"]
    for task in sorted(set(tasks.values())):
        for shard in sorted((dataset.root / task).glob("test-*.parquet")):
            rows = pq.read_table(shard, columns=columns, filters=[("id", "in", list(tasks))])
            for row in rows.to_pylist():
                pixels = _reduced(decode(row["image"]["bytes"]))
                found[row["id"]] = Picture(pixels, row["source"], row["license"])
    if lacking := sorted(set(tasks) - set(found)):
        raise DatasetError(
            f"{dataset.root}: test image {lacking[0]} is not in it; build the data set again "
            "with `usbench build-data`"
        )
    return found


def _reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = min(SIDE / max(pixels.shape[:2]), 1)
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def load_masks(record: RunRecord, results: Path, ids: Collection[str]) -> dict[str, Masks]:
    """Masks and predictions of a run, by image id.

    Raises:
        RecordError: they were not kept, or are not here.
    """
    rows = images_of(record, results, ("id", *MASKS))
    if not set(rows) >= set(MASKS):
        path = path_of(results, record.name).with_suffix(".masks.parquet")
        raise RecordError(
            f"{record.name}: its masks are not here ({path.name}); run it again with --restart"
        )
    wanted = rows[rows.id.isin(ids)]
    pngs = zip(wanted.id, wanted.mask_png, wanted.pred_png, strict=True)
    return {image: Masks(unpack(mask), unpack(pred)) for image, mask, pred in pngs}


def licences(pictures: Iterable[Picture]) -> str:
    """Whose images a figure shows, and under which licence."""
    stated = dict(sorted({picture.source: picture.licence for picture in pictures}.items()))
    listed = "; ".join(f"{source}: {licence}" for source, licence in stated.items())
    return f"Shows images of {listed}: keep to these licences, do not commit."


def show(axes: Axes, picture: Picture, outlines: Sequence[Outline] = (), corner: str = "") -> None:
    """An image, contours over it, and a text in its lower left corner."""
    height, width, _ = picture.pixels.shape
    axes.imshow(picture.pixels)
    axes.set_axis_off()
    axes.set_anchor("S")  # captions of a row stand at one height
    lines = [
        (line, outline.stroke)
        for outline in outlines
        for line in contour(outline.mask, height, width)
    ]
    axes.add_collection(
        LineCollection(
            [line for line, _ in lines],
            colors=[stroke.colour for _, stroke in lines],
            linewidths=[stroke.width for _, stroke in lines],
            linestyles=[stroke.dashes for _, stroke in lines],
        ),
        autolim=False,
    )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    if corner:
        axes.text(
            0.03,
            0.04,
            corner,
            transform=axes.transAxes,
            size=style.NOTE,
            color="white",
            bbox={"facecolor": "black", "edgecolor": "none", "pad": 1.0, "alpha": 0.7},
        )


def contour(mask: Mask, height: int, width: int) -> list[NDArray[np.float64]]:
    """The borders of a mask (h, w), stretched over an image of `height` x `width` px.

    Returns:
        Lines of (x, y) where pixel centres are whole numbers, as Matplotlib shows images. They
        run through the borders of the grid's pixels; a mask at the image's edge is closed there.
    """
    grid = np.pad(mask, 1).astype(np.float64)
    rows, columns = mask.shape
    x = (np.arange(-1, columns + 1) + 0.5) * width / columns - 0.5
    y = (np.arange(-1, rows + 1) + 0.5) * height / rows - 0.5
    return [np.asarray(line) for line in contour_generator(x, y, grid).lines(0.5)]


def new_grid(
    title: str,
    footer: str,
    rows: Sequence[tuple[str, Sequence[Picture]]],
    headings: int = 0,
    captions: int = 0,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a row of images for each task, as high as they need.

    Args:
        title: of the figure.
        footer: below it.
        rows: task and its images, from left to right.
        headings: lines above the first row.
        captions: lines below each image.

    Returns:
        The figure, and its axes by row.
    """
    pitch = (style.WIDTH - NAMES) / max(len(own) for _, own in rows)
    side = pitch - GAP
    heights = [min(side * _aspect(own), HIGHEST) for _, own in rows]
    above, below = LINE * headings + GAP, LINE * captions + GAP
    plots = above + sum(heights) + below * len(heights)
    figure = style.new_figure(plots, title, footer)
    figure.set_layout_engine("none")
    page = figure.get_figheight()
    top = page - style.TITLE - above  # in, from the bottom of the figure
    grid = []
    for (task, own), height in zip(rows, heights, strict=True):
        bottom = (top - height) / page
        name = f"{task}\n{TASKS[task].name}"
        middle = (NAMES / 2 / style.WIDTH, bottom + height / 2 / page)
        figure.text(*middle, name, rotation=90, ha="center", va="center", size=style.NOTE)
        lefts = [(NAMES + pitch * place) / style.WIDTH for place in range(len(own))]
        size = (side / style.WIDTH, height / page)
        grid.append([figure.add_axes((left, bottom, *size)) for left in lefts])
        top -= height + below
    return figure, grid


def _aspect(pictures: Iterable[Picture]) -> float:
    """Height by width of the tallest."""
    return max(float(one.pixels.shape[0] / one.pixels.shape[1]) for one in pictures)


def legend(figure: Figure, strokes: Mapping[str, Stroke]) -> None:
    """What the contours are."""
    lines = [
        Line2D([], [], color=stroke.colour, ls=stroke.dashes, lw=1.5) for stroke in strokes.values()
    ]
    style.corner_legend(figure, lines, list(strokes))
