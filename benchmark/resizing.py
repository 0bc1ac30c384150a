"""OpenCV's two ways of resizing as tensor operations, for graphs that must not need OpenCV.

A data set's images are brought to the protocol's size by `cv2.resize(..., INTER_AREA)`, and a
probability to its image's size by INTER_LINEAR; what is asked of a model elsewhere must be the
same. INTER_AREA, of OpenCV 4.12 and 5.0, is two rules:

    both sides at least `size`   the mean over the area of each new pixel
    else                         bilinear between the two nearest pixels, in fixed point

Run by onnxruntime the results are OpenCV's pixels, all of them. Run by torch they may be one grey
level off where a mean lies halfway between two: its sums are in float64. Heights and widths may be
symbolic, so nothing branches on them.
"""

import torch
from torch import Tensor

SLIVER = 1e-3  # of a pixel; OpenCV leaves less out
FIXED = 2048  # OpenCV's weights between two pixels are whole numbers of this denominator


def resize_area(image: Tensor, size: int) -> Tensor:
    """Bring an image to a square.

    Args:
        image: (C, H, W) uint8 of any height and width.
        size: height and width of the result in px.

    Returns:
        (C, size, size) uint8.
    """
    height, width = (torch.full((), side, dtype=torch.int64) for side in image.shape[1:])
    larger = (height >= size) & (width >= size)
    return torch.where(larger, _mean(image, size), _between(image, size)).to(torch.uint8)


def _mean(image: Tensor, size: int) -> Tensor:
    """(C, size, size) int64: means over areas, summed and rounded in OpenCV's order."""
    height, width = (torch.full((), side, dtype=torch.int64) for side in image.shape[1:])
    # where every area is whole pixels OpenCV adds them and divides once: other roundings of ties
    whole = (height % size == 0) & (width % size == 0)
    columns, shares = _overlaps(image.shape[2], size, whole)
    rows = _in_turn(image.float()[:, :, columns] * shares)  # (C, H, size)
    places, shares = _overlaps(image.shape[1], size, whole)
    means = _in_turn((rows[:, places] * shares[:, :, None]).transpose(2, 3))  # (C, size, size)
    pixels = (height // size * (width // size)).float()
    means = means * torch.where(whole, 1 / pixels, 1.0)
    twice = (height == 2 * size) & (width == 2 * size)  # a case of its own: halves go up
    return torch.where(twice, torch.floor(means + 0.5), torch.round(means)).long()


def _overlaps(length: int, size: int, whole: Tensor) -> tuple[Tensor, Tensor]:
    """For each new pixel the old ones that it covers (size, K), and their shares of its area.

    Where areas are `whole` pixels the shares are 1; without area they are 0.
    """
    step = torch.full((), length, dtype=torch.float64) / size
    low = torch.arange(size, dtype=torch.float64)[:, None] * step
    pixel = low.floor() + torch.arange(length // size + 2, dtype=torch.float64)
    shared = torch.minimum(low + step, pixel + 1) - torch.maximum(low, pixel)
    shared = torch.where(shared > SLIVER, shared, 0.0)
    shares = torch.where(whole, shared, shared / torch.minimum(step, length - low)).float()
    return pixel.long().clamp_max(length - 1), shares


def _in_turn(products: Tensor) -> Tensor:
    """Sum over the last axis; an ONNX CumSum adds one after the other in float32, as OpenCV."""
    return products.cumsum(-1)[..., -1]


def _between(image: Tensor, size: int) -> Tensor:
    """(C, size, size) int64: bilinear, each product cut as OpenCV's 16-bit arithmetic cuts it."""
    left, right, share_left, share_right = _neighbours(image.shape[2], size)
    pixels = image.long()
    # 11 bits of fraction, of which the second pass keeps 7
    mixed = (pixels[:, :, left] * share_left + pixels[:, :, right] * share_right) // 16
    top, bottom, share_top, share_bottom = _neighbours(image.shape[1], size)
    above = mixed[:, top] * share_top[:, None] // 65_536
    below = mixed[:, bottom] * share_bottom[:, None] // 65_536
    return (above + below + 2) // 4


def _neighbours(length: int, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For each new pixel (size,): the two old ones, and their shares in units of 1 / `FIXED`."""
    old = torch.full((), length, dtype=torch.float64)
    new = torch.arange(size, dtype=torch.float64)
    first = (new * (old / size)).floor()
    share = (new + 1 - (first + 1) * (size / old)).float().clamp_min(0)
    share = torch.where(first < old - 1, share - share.floor(), 0.0)
    return (
        first.long(),
        torch.minimum(first + 1, old - 1).long(),
        torch.round((1 - share) * FIXED).long(),
        torch.round(share * FIXED).long(),
    )


def resize_linear(values: Tensor, height: int, width: int) -> Tensor:
    """Bring a map to another size, bilinearly.

    Args:
        values: (S, S) float32.
        height: of the result, in px.
        width: of the result, in px.

    Returns:
        (height, width) float32.
    """
    left, right, share = _straddling(width, values.shape[1])
    across = values[:, left] * (1 - share) + values[:, right] * share
    top, bottom, share = _straddling(height, values.shape[0])
    return across[top] * (1 - share)[:, None] + across[bottom] * share[:, None]


def _straddling(new: int, old: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each new pixel (new,): the two old ones about its centre, and the share of the second."""
    step = old / torch.full((), new, dtype=torch.float64)
    centre = ((torch.arange(new, dtype=torch.float64) + 0.5) * step - 0.5).clamp_min(0)
    first = centre.floor().long()
    return first, (first + 1).clamp_max(old - 1), (centre - first).float()
