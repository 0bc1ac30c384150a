"""Labels of points that cover neither each other nor the points."""

from collections.abc import Sequence
from itertools import product
from math import cos, radians, sin

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmark.figures import style

RADII = (3.0, 7.0, 12.0, 18.0, 25.0, 33.0, 42.0, 52.0)  # pt, from a marker to its label's edge
ANGLES = range(0, 360, 15)  # degrees
MARKER = 3.0  # pt, half of a marker
HEIGHT = 1.2 * style.NOTE  # pt, of a label
GAP = 1.0  # pt, kept between two labels
LEADER = 5.0  # pt; a label farther away gets a line to its point
SWEEPS = 4  # times that each label is put anew while the others stay

Boxes = NDArray[np.float64]  # (..., 4): left, bottom, right, top in pt


def place(axes: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str]) -> None:
    """Write a text beside each point; call it when all else of the figure is drawn.

    The same points give the same places.

    Args:
        axes: of a figure whose layout stays as it is from now on.
        points: (x, y) in data coordinates.
        texts: one a point.
    """
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    pixel = 72 / figure.dpi  # pt
    anchors = axes.transData.transform(points) * pixel
    frame = np.array(axes.get_window_extent().extents) * pixel
    sizes = [(style.breadth(text) + GAP, HEIGHT + GAP) for text in texts]
    for anchor, point, text, box in zip(
        anchors, points, texts, arrange(anchors, np.array(sizes), frame), strict=True
    ):
        offset = (box[:2] + box[2:]) / 2 - anchor
        line = {"arrowstyle": "-", "color": style.GREY, "lw": 0.4, "shrinkA": 0, "shrinkB": 2}
        axes.annotate(
            text,
            point,
            tuple(offset),
            textcoords="offset points",
            ha="center",
            va="center",
            size=style.NOTE,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3},
            arrowprops=line if _distance(box, anchor) > LEADER + MARKER else None,
        )


def arrange(anchors: NDArray[np.float64], sizes: NDArray[np.float64], frame: Boxes) -> Boxes:
    """Boxes beside points, each where it covers least, is nobody else's, and is near its point.

    Args:
        anchors: (N, 2) points in pt.
        sizes: (N, 2) width and height of each box in pt.
        frame: (4,) what no box should leave.

    Returns:
        (N, 4) boxes.
    """
    markers = np.hstack((anchors - MARKER, anchors + MARKER))
    options = np.stack(
        [_around(anchor, size) for anchor, size in zip(anchors, sizes, strict=True)]
    )  # (N, places, 4)
    cost = np.linspace(0, 4, options.shape[1]) + 10 * _outside(options, frame)
    cost += _covered(options, markers).sum(axis=-1) + 4 * _nearer_others(options, anchors)
    chosen = options[np.arange(len(anchors)), cost.argmin(axis=1)]
    for _, i in product(range(SWEEPS), range(len(anchors))):
        others = np.delete(chosen, i, axis=0)
        chosen[i] = options[i, (cost[i] + _covered(options[i], others).sum(axis=-1)).argmin()]
    return np.asarray(chosen, np.float64)


def _around(anchor: NDArray[np.float64], size: NDArray[np.float64]) -> Boxes:
    """(places, 4) boxes around a point, the nearest first, on the right before elsewhere."""
    boxes = []
    for radius, angle in product(RADII, ANGLES):
        x, y = cos(radians(angle)), sin(radians(angle))
        # the box touches an ellipse: its middle is half its size farther out in each direction
        middle = anchor + (radius + MARKER) * np.array((x, y)) + size / 2 * (x, y)
        boxes.append((*(middle - size / 2), *(middle + size / 2)))
    return np.array(boxes)


def _covered(boxes: Boxes, others: Boxes) -> NDArray[np.float64]:
    """Shared area in pt^2 of every box with every other, (..., others)."""
    low = np.maximum(boxes[..., None, :2], others[:, :2])
    high = np.minimum(boxes[..., None, 2:], others[:, 2:])
    shared: NDArray[np.float64] = np.prod(np.clip(high - low, 0, None), axis=-1)
    return shared


def _outside(boxes: Boxes, frame: Boxes) -> NDArray[np.float64]:
    """How far each box leaves the frame, in pt."""
    low = np.clip(frame[:2] - boxes[..., :2], 0, None)
    high = np.clip(boxes[..., 2:] - frame[2:], 0, None)
    left: NDArray[np.float64] = (low + high).sum(axis=-1)
    return left


def _nearer_others(options: Boxes, anchors: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many other points are as near to each box (N, places, 4) as its own, or nearer."""
    distances = _distance(options[:, :, None], anchors)  # (N, places, N)
    own = np.diagonal(distances, axis1=0, axis2=2).T  # (N, places)
    nearer = distances < own[..., None] + MARKER
    return np.asarray(nearer.sum(axis=-1) - 1, np.float64)


def _distance(boxes: Boxes, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """From boxes (..., 4) to points (..., 2); 0 within."""
    apart = np.maximum(boxes[..., :2] - points, points - boxes[..., 2:]).clip(min=0)
    return np.asarray(np.hypot(apart[..., 0], apart[..., 1]), np.float64)


def stack(heights: Sequence[float], gap: float) -> list[float]:
    """Heights moved apart to at least `gap`, as little as possible, in their order.

    Args:
        heights: where each should stand.
        gap: the least distance between two.
    """
    order = np.argsort(heights, kind="stable")
    # Apart from the gaps the heights must not fall: pool neighbours that would, at their mean.
    pools: list[list[float]] = []
    for rank, index in enumerate(order):
        pools.append([heights[index] - rank * gap])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    even = [float(np.mean(pool)) for pool in pools for _ in pool]
    moved = [0.0] * len(heights)
    for rank, index in enumerate(order):
        moved[index] = even[rank] + rank * gap
    return moved
