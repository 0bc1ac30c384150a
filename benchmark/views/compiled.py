"""The costly parts of a view on a processor, as loops by numba: affine map, blur, normalisation.

torch's own operations go over the whole batch once for every term; these go over an image while it
is in the cache. Values are those of the tensor operations, in `warp`, `intensity` and
`benchmark.augment`, to 1e-5, and nothing is reassociated: they are the same on every processor.
What traces a program (`torch.compile`, fake tensors) sees an operator, not its loops; all else
calls the loops: to hand a batch to an operator takes torch a tenth of the time that they take.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.jit import COMPILED, jit
from benchmark.tracing import traced

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint32]
Pairs = npt.NDArray[np.uint64]  # of words: of an image, and of its mask

RADIUS = 6  # px that a blur reaches; a constant, so that its loops are unrolled

# A constant is of the kind of what it meets: numba turns uint32 with int64 into int64.
NONE = np.uint32(0)
BYTE, ONE_BYTE, TWO_BYTES, THREE_BYTES = (np.uint32(n) for n in (255, 8, 16, 24))
EDGE = np.int32(2)  # px of black around an image
HALF, ONE, LEVEL = np.float32(0.5), np.float32(1), np.float32(1 / 255)


def can_do(images: Tensor, dtype: torch.dtype) -> bool:
    """Whether these loops may stand for tensor operations; they give no gradient."""
    here = COMPILED and images.device.type == "cpu" and images.dtype == dtype
    return here and not images.requires_grad and not torch.compiler.is_exporting()


@jit
def _frame(plane: Bytes, framed: Bytes) -> None:
    """Put a plane (H, W) into the black frame of framed (H + 2 * EDGE, W + 2 * EDGE)."""
    for y in range(plane.shape[0]):
        source, out = plane[y], framed[y + EDGE]
        for x in range(source.size):
            out[x + EDGE] = source[x]


@jit
def _joined(upper: Bytes, lower: Bytes, x: int) -> np.uint32:
    """A pixel with its right, lower and lower right neighbours, lowest byte first."""
    top = np.uint32(upper[x]) | (np.uint32(upper[x + 1]) << ONE_BYTE)
    return top | (np.uint32(lower[x]) << TWO_BYTES) | (np.uint32(lower[x + 1]) << THREE_BYTES)


@jit
def _join_corners(framed: Bytes, corners: Words) -> None:
    """Join each pixel with its neighbours: one read then serves a bilinear value.

    Both are of one shape; the last row and column of `corners` are left as they are.
    """
    for y in range(framed.shape[0] - 1):
        upper, lower, out = framed[y], framed[y + 1], corners[y]
        for x in range(framed.shape[1] - 1):
            out[x] = _joined(upper, lower, x)


@jit
def _join_both(framed: Bytes, mask: Bytes, corners: Words) -> None:
    """As `_join_corners`, of image and mask in turn, in a row of twice the width.

    One read of 64 bits then serves both.
    """
    for y in range(framed.shape[0] - 1):
        upper, lower, out = framed[y], framed[y + 1], corners[y]
        upper_mask, lower_mask = mask[y], mask[y + 1]
        for x in range(framed.shape[1] - 1):
            out[2 * x] = _joined(upper, lower, x)
            out[2 * x + 1] = _joined(upper_mask, lower_mask, x)


@jit
def _along_row(matrix: Floats, along: Floats) -> None:
    """What a pixel's column adds to its shift in x and y, along (2, W); the same in every row."""
    middle = np.float32((along.shape[1] - 1) / 2)
    for x in range(along.shape[1]):
        across = np.float32(np.int32(x)) - middle
        along[0, x] = (matrix[0, 0] - ONE) * across
        along[1, x] = matrix[1, 0] * across


@jit
def _origins(
    matrix: Floats,
    along: Floats,
    y: int,
    height: int,
    places: Words,
    dx: Floats,
    dy: Floats,
) -> None:
    """Where each pixel of row `y` comes from: the pixel to its upper left, and how far from that.

    Shifts are computed, not coordinates: they are smaller, so their fractions keep more digits.

    Args:
        matrix: (2, 2).
        along: (2, W) of `_along_row`.
        y: the row.
        height: H.
        places: (W,), written to; indices into a frame, laid flat.
        dx: (W,), written to; px to the right, in [0, 1).
        dy: (W,), written to; px down, in [0, 1).
    """
    width = dx.size
    pitch = np.int32(width + 2 * EDGE)
    # what lies farther outside is as black as what lies there
    first, last_x, last_y = np.float32(-EDGE), np.float32(width), np.float32(height)
    down = np.float32(y) - np.float32((height - 1) / 2)
    start_x, start_y = matrix[0, 1] * down, (matrix[1, 1] - ONE) * down
    for x in range(width):
        place = np.float32(np.int32(x))
        shift_x, shift_y = along[0, x] + start_x, along[1, x] + start_y
        left, top = np.floor(shift_x), np.floor(shift_y)
        dx[x], dy[x] = shift_x - left, shift_y - top
        column = np.int32(min(max(first, left + place), last_x)) + EDGE
        row = np.int32(min(max(first, top + np.float32(y)), last_y)) + EDGE
        places[x] = np.int32(row * pitch) + np.int32(column)


@jit
def _take(flat: Words | Pairs, places: Words, taken: Words | Pairs) -> None:
    """Read here and there; apart, so that the loops around it take many pixels at a time."""
    for x in range(places.size):
        taken[x] = flat[places[x]]


@jit
def _between(four: np.uint32, dx: np.float32, dy: np.float32) -> np.float32:
    """The value in [0, 1] at a place among four joined corners."""
    a = np.float32(np.int32(four & BYTE))
    b = np.float32(np.int32((four >> ONE_BYTE) & BYTE))
    c = np.float32(np.int32((four >> TWO_BYTES) & BYTE))
    d = np.float32(np.int32(four >> THREE_BYTES))
    upper, lower = a + dx * (b - a), c + dx * (d - c)
    return (upper + dy * (lower - upper)) * LEVEL


@jit
def _bilinear(around: Words, dx: Floats, dy: Floats, out: Floats) -> None:
    """A row (W,) of values in [0, 1] from the joined corners around each."""
    for x in range(around.size):
        out[x] = _between(around[x], dx[x], dy[x])


@jit
def _bilinear_and_nearest(
    around: Words, dx: Floats, dy: Floats, values: Floats, nearest: Floats
) -> None:
    """A row of an image as `_bilinear`, of its mask as it is; around (2 * W,) of `_join_both`."""
    for x in range(dx.size):
        values[x] = _between(around[2 * x], dx[x], dy[x])
        right = ONE_BYTE if dx[x] >= HALF else NONE
        down = TWO_BYTES if dy[x] >= HALF else NONE
        nearest[x] = np.float32(np.int32((around[2 * x + 1] >> (right + down)) & BYTE))


@jit
def _mean_and_scale(plane: Floats, least: np.float32) -> tuple[np.float32, np.float32]:
    """The mean of a plane (H, W), and one over its deviation or `least`."""
    sums = np.zeros(plane.shape[1], np.float32)  # a column each: as many additions at a time
    for y in range(plane.shape[0]):
        for x in range(sums.size):
            sums[x] += plane[y, x]
    mean = np.float32(sums.sum() / plane.size)
    sums[:] = 0
    for y in range(plane.shape[0]):
        for x in range(sums.size):
            centred = plane[y, x] - mean
            sums[x] += centred * centred
    return mean, ONE / max(np.float32(np.sqrt(sums.sum() / plane.size)), least)


@jit
def _normalise(plane: Floats, least: np.float32) -> None:
    """A plane (H, W) less its mean, over its deviation or `least`, in place.

    Two arguments that are the same array would cost four times as much: loops take many pixels at
    a time only where those they read cannot be those they have written.
    """
    mean, scale = _mean_and_scale(plane, least)
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            plane[y, x] = (plane[y, x] - mean) * scale


@jit
def _warp(images: Bytes, matrices: Floats, least: np.float32, warped: Floats) -> None:
    """Images (N, C, H, W), warped ones of the same shape.

    They are normalised, while they are in the cache, if `least` is not 0.
    """
    count, channels, height, width = images.shape
    framed = np.zeros((height + 2 * EDGE, width + 2 * EDGE), np.uint8)
    corners = np.zeros((channels, framed.size), np.uint32)
    places, around = np.empty(width, np.uint32), np.empty(width, np.uint32)
    dx, dy = np.empty(width, np.float32), np.empty(width, np.float32)
    along = np.empty((2, width), np.float32)
    for n in range(count):
        _along_row(matrices[n], along)
        for c in range(channels):
            _frame(images[n, c], framed)
            _join_corners(framed, corners[c].reshape(framed.shape))
        for y in range(height):
            _origins(matrices[n], along, y, height, places, dx, dy)
            for c in range(channels):
                _take(corners[c], places, around)
                _bilinear(around, dx, dy, warped[n, c, y])
        if least:
            for c in range(channels):
                _normalise(warped[n, c], least)


@jit
def _warp_both(
    images: Bytes,
    masks: Bytes,
    matrices: Floats,
    least: np.float32,
    warped_images: Floats,
    warped_masks: Floats,
) -> None:
    """As `_warp`, with masks (N, 1, H, W), which are read with the first channel."""
    count, channels, height, width = images.shape
    framed = np.zeros((height + 2 * EDGE, width + 2 * EDGE), np.uint8)
    mask = np.zeros_like(framed)
    both = np.zeros(framed.shape, np.uint64)
    others = np.zeros((channels - 1, framed.size), np.uint32)
    places, around = np.empty(width, np.uint32), np.empty(width, np.uint32)
    around_both = np.empty(width, np.uint64)
    dx, dy = np.empty(width, np.float32), np.empty(width, np.float32)
    along = np.empty((2, width), np.float32)
    for n in range(count):
        _along_row(matrices[n], along)
        _frame(images[n, 0], framed)
        _frame(masks[n, 0], mask)
        _join_both(framed, mask, both.view(np.uint32))
        for c in range(1, channels):
            _frame(images[n, c], framed)
            _join_corners(framed, others[c - 1].reshape(framed.shape))
        for y in range(height):
            _origins(matrices[n], along, y, height, places, dx, dy)
            _take(both.reshape(both.size), places, around_both)
            first, mask_row = warped_images[n, 0, y], warped_masks[n, 0, y]
            _bilinear_and_nearest(around_both.view(np.uint32), dx, dy, first, mask_row)
            for c in range(1, channels):
                _take(others[c - 1], places, around)
                _bilinear(around, dx, dy, warped_images[n, c, y])
        if least:
            for c in range(channels):
                _normalise(warped_images[n, c], least)


@jit
def _blur_rows(plane: Floats, weights: Floats, rows: Floats) -> None:
    """Along each row of a plane (H, W), mirrored at the border; rows (H, W)."""
    width = plane.shape[1]
    line = np.empty(width + 2 * RADIUS, np.float32)
    for y in range(plane.shape[0]):
        source, out = plane[y], rows[y]
        line[RADIUS : RADIUS + width] = source
        for k in range(RADIUS):
            line[k] = source[RADIUS - k]
            line[RADIUS + width + k] = source[width - 2 - k]
        for x in range(width):
            total = weights[0] * line[x + RADIUS]
            for k in range(1, RADIUS + 1):
                total += weights[k] * (line[x + RADIUS - k] + line[x + RADIUS + k])
            out[x] = total


@jit
def _blur_columns(rows: Floats, weights: Floats, blurred: Floats) -> None:
    """Down the columns of rows (H + 2 * RADIUS, W); blurred (H, W)."""
    height, width = blurred.shape
    for k in range(RADIUS):
        rows[k] = rows[2 * RADIUS - k]
        rows[RADIUS + height + k] = rows[RADIUS + height - 2 - k]
    for y in range(height):
        out = blurred[y]
        for x in range(width):
            total = weights[0] * rows[y + RADIUS, x]
            for k in range(1, RADIUS + 1):
                total += weights[k] * (rows[y + RADIUS - k, x] + rows[y + RADIUS + k, x])
            out[x] = total


@jit
def _blur(planes: Floats, taps: Floats, blurred: Floats) -> None:
    """Planes and blurred (N, H, W), taps (N, RADIUS + 1) from the middle of a kernel outwards."""
    count, height, width = planes.shape
    rows = np.empty((height + 2 * RADIUS, width), np.float32)
    for n in range(count):
        if taps[n, 0] == 1:
            blurred[n] = planes[n]
        else:
            _blur_rows(planes[n], taps[n], rows[RADIUS:])
            _blur_columns(rows, taps[n], blurred[n])


@jit
def _normalise_all(planes: Floats, least: np.float32, normalised: Floats) -> None:
    """Planes (N, H, W), each by itself."""
    count, height, width = planes.shape
    for n in range(count):
        mean, scale = _mean_and_scale(planes[n], least)
        for y in range(height):
            for x in range(width):
                normalised[n, y, x] = (planes[n, y, x] - mean) * scale


def _empty(like: Tensor) -> Tensor:
    return like.new_empty(like.shape, dtype=torch.float32)


def _operator(function: Callable[..., Any], fake: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors, as torch's operator `usbench::NAME` where a program is traced.

    Args:
        function: of real tensors, of which the first tells whether a program is traced.
        fake: gives tensors of the same shapes, for a tracer.
    """
    name = f"usbench::{function.__name__}"
    operator = torch.library.custom_op(name, function, mutates_args=(), device_types="cpu")
    operator.register_fake(fake)

    @wraps(function)
    def call(images: Tensor, *others: object) -> object:
        return (operator if traced(images) else function)(images, *others)

    return call


def _same_shapes(
    images: Tensor, masks: Tensor, matrices: Tensor, least: float = 0.0
) -> tuple[Tensor, Tensor]:
    return _empty(images), _empty(masks)


def _same_shape(planes: Tensor, _: Tensor | float) -> Tensor:
    return _empty(planes)


@partial(_operator, fake=_same_shapes)
def warp(
    images: Tensor, masks: Tensor, matrices: Tensor, least: float = 0.0
) -> tuple[Tensor, Tensor]:
    """`benchmark.views.warp.warp` of uint8 images (B, C, S, S) by matrices (B, 2, 2) float32.

    Masks are uint8 or float32 (B, 1, S, S), or (0, 1, S, S) for none. If `least` is not 0, images
    are normalised too, as by `benchmark.augment.normalise`; it is their least deviation.
    """
    warped, warped_masks = _empty(images), _empty(masks)
    pixels, places = images.contiguous().numpy(), matrices.contiguous().numpy()
    if len(masks):
        bits = masks.to(torch.uint8).contiguous().numpy()
        both = warped.numpy(), warped_masks.numpy()
        _warp_both(pixels, bits, places, np.float32(least), *both)
    else:
        _warp(pixels, places, np.float32(least), warped.numpy())
    return warped, warped_masks


@partial(_operator, fake=_same_shape)
def blur_planes(planes: Tensor, taps: Tensor) -> Tensor:
    """`benchmark.views.intensity.blur` of planes (N, H, W) by taps (N, RADIUS + 1), float32."""
    blurred = _empty(planes)
    _blur(planes.contiguous().numpy(), taps.contiguous().numpy(), blurred.numpy())
    return blurred


@partial(_operator, fake=_same_shape)
def normalise_planes(planes: Tensor, least: float) -> Tensor:
    """`benchmark.augment.normalise` of planes (N, H, W) float32; `least` is the least deviation."""
    normalised = _empty(planes)
    _normalise_all(planes.contiguous().numpy(), np.float32(least), normalised.numpy())
    return normalised
