"""The statistics of `metrics` on the device where the predictions are; equal to the CPU's to 1e-6.

All pairs of surface pixels are tried, as there, many images at a time. Squared distances come by
subtraction in float32: they are whole numbers below 2^24 and so exact, which a matrix product
in TF32 would not be. The host waits for the device twice, for the numbers of surface pixels and
for the result. It takes 0.6 GB and five times the bytes of the masks, whatever they hold.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.distances import N_DISTANCES, POOLED_QUANTILE, QUANTILES
from benchmark.metrics import COLUMNS

EXACT = 2**24  # whole numbers up to here are exact in float32
PAIRS_A_TURN = 2**26  # pairs of surface pixels at a time; each takes 8 bytes
# A surface pixel takes the memory of about so many pairs, which counts where the other mask's
# surface is tiny.
POINT = 16
AWAY = 1e6  # px; where the padding of the shorter lists of surface pixels lies


def measure_on_device(pred: Tensor, mask: Tensor) -> dict[str, npt.NDArray[np.int64 | np.float64]]:
    """Statistics of N predictions against their masks, as `benchmark.metrics.measure` gives them.

    Args:
        pred: (N, H, W) bool, N at least 1, on any device.
        mask: the same shape, on the same device.

    Raises:
        ValueError: the tensors are no masks of one shape, or are too large to be exact.
    """
    _check(pred, mask)
    n, height, width = pred.shape
    surface_p, surface_m = _surface(pred), _surface(mask)
    counts = torch.stack(
        [count_pixels(area) for area in (pred & mask, pred, mask, surface_p, surface_m)]
    )
    overlap, area_p, area_m, n_pred, n_mask = counts.cpu().numpy()  # (N,) each

    # Images of like effort side by side, so that the shorter lists are padded little.
    effort = n_pred * n_mask
    order = np.argsort(effort)[np.count_nonzero(effort == 0) :]
    distances = pred.new_full((N_DISTANCES, n), torch.nan, dtype=torch.float64)
    for turn in _turns(n_pred[order], n_mask[order]):
        part = order[turn]
        at = torch.from_numpy(part).to(pred.device, non_blocking=True)
        points_p = _points(surface_p[at], counts[3, at], n_pred[part])
        points_m = _points(surface_m[at], counts[4, at], n_mask[part])
        distances[:, at] = _distances(points_p, points_m)

    fp, fn = area_p - overlap, area_m - overlap
    grid = (np.full(n, height, np.int64), np.full(n, width, np.int64))
    columns = (*grid, overlap, fp, fn, height * width - overlap - fp - fn, n_pred, n_mask)
    return dict(zip(COLUMNS, (*columns, *distances.cpu().numpy()), strict=True))


def count_pixels(masks: Tensor) -> Tensor:
    """Pixels (N,) int64 of masks (N, H, W) bool.

    Summed in int32: torch first makes a copy in the type of the sum, and int64 takes ten times as
    long on a CPU.
    """
    return masks.sum((1, 2), dtype=torch.int32).long()


def _check(pred: Tensor, mask: Tensor) -> None:
    if pred.dtype != torch.bool or mask.dtype != torch.bool:
        raise ValueError(
            f"pred is {pred.dtype}, mask {mask.dtype}, both must be bool: "
            "threshold probabilities first"
        )
    if pred.shape != mask.shape or pred.ndim != 3 or 0 in pred.shape:
        raise ValueError(
            f"pred is {tuple(pred.shape)}, mask {tuple(mask.shape)}; "
            "both must be the same (N, H, W), no side 0"
        )
    height, width = pred.shape[1:]
    if height**2 + width**2 > EXACT:
        raise ValueError(
            f"masks of {height} x {width} px have distances that float32 does not hold exactly; "
            "use benchmark.metrics.measure"
        )


def _surface(mask: Tensor) -> Tensor:
    """Foreground less its 4-connected erosion; beyond the image all is background."""
    framed = F.pad(mask, (1, 1, 1, 1))
    vertical = framed[:, :-2, 1:-1] & framed[:, 2:, 1:-1]
    horizontal = framed[:, 1:-1, :-2] & framed[:, 1:-1, 2:]
    return mask & ~(vertical & horizontal)


def _turns(n_pred: npt.NDArray[np.int64], n_mask: npt.NDArray[np.int64]) -> Iterator[slice]:
    """Runs of images whose padded lists of surface pixels fit into the memory of a turn."""
    start, longest = 0, (0, 0)
    for place, found in enumerate(zip(n_pred, n_mask, strict=True)):
        grown = max(longest[0], found[0]), max(longest[1], found[1])
        memory = (place + 1 - start) * (grown[0] + POINT) * (grown[1] + POINT)
        if place > start and memory > PAIRS_A_TURN:
            yield slice(start, place)
            start, grown = place, found
        longest = grown
    if len(n_pred):
        yield slice(start, len(n_pred))


@dataclass(frozen=True, slots=True)
class _Points:
    """Surface pixels of B images, each list padded to the longest."""

    yx: Tensor  # (2, B, P) float32, padded with AWAY
    count: Tensor  # (B,) int64, above 0

    @property
    def real(self) -> Tensor:
        """(B, P) bool: not padding."""
        return torch.arange(self.yx.shape[2], device=self.yx.device) < self.count[:, None]


def _points(surface: Tensor, count: Tensor, found: npt.NDArray[np.int64]) -> _Points:
    """Surface pixels of images (B, H, W).

    Args:
        surface: at least one pixel in each image.
        count: (B,) how many.
        found: the same on the host, which thus need not wait to know the sizes of lists.
    """
    image, y, x = torch.nonzero_static(surface, size=int(found.sum())).unbind(1)
    place = torch.arange(len(image), device=surface.device) - (count.cumsum(0) - count)[image]
    yx = torch.full((2, len(surface), int(found.max())), AWAY, device=surface.device)
    yx[:, image, place] = torch.stack([y, x]).float()
    return _Points(yx, count)


def _distances(pred: _Points, mask: _Points) -> Tensor:
    """The distance columns, in their order: (9, B) float64."""
    rows, ascending = [], []
    for squared, points in zip(_nearest(pred.yx, mask.yx), (pred, mask), strict=True):
        ascending.append(squared.where(points.real, torch.inf).sort(1).values)
        rows += [_quantile(ascending[-1], points.count, q) for q in QUANTILES]
        lengths = squared.double().sqrt().where(points.real, 0)
        rows.append(lengths.sum(1) / points.count)
    both = torch.cat(ascending, 1).sort(1).values
    rows.append(_quantile(both, pred.count + mask.count, POOLED_QUANTILE))
    return torch.stack(rows)


def _nearest(pred: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances (B, P) and (B, M) to the nearest point of the other mask."""
    images, n_mask = mask.shape[1:]
    from_pred, from_mask = [], mask.new_full((images, n_mask), torch.inf)
    for part in pred.split(max(1, PAIRS_A_TURN // (images * n_mask)), dim=2):
        dy, dx = part[..., None] - mask[:, :, None]  # (B, part of P, M)
        squared = dy.square_().addcmul_(dx, dx)
        from_pred.append(squared.amin(2))
        from_mask = from_mask.minimum(squared.amin(1))
    return torch.cat(from_pred, 1), from_mask


def _quantile(ascending: Tensor, count: Tensor, q: float) -> Tensor:
    """Quantile (B,) of the roots of the first `count` (B,) values a row, as `numpy.quantile`'s."""
    position = (count - 1).double() * q
    rank = position.long()
    both_sides = torch.stack([rank, (rank + 1).minimum(count - 1)], 1)
    below, above = ascending.gather(1, both_sides).double().sqrt().unbind(1)
    return torch.lerp(below, above, position - rank)
