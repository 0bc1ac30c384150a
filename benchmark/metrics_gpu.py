"""The statistics of `metrics` on the device where the predictions are; equal to the CPU's to 1e-6.

All pairs of surface pixels are tried, as there, many images at a time. Squared distances come by
subtraction in float32: they are whole numbers below 2^24 and so exact, which a matrix product
in TF32 would not be.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.distances import POOLED_QUANTILE, QUANTILES
from benchmark.metrics import COLUMNS

EXACT = 2**24  # whole numbers up to here are exact in float32
PAIRS_A_TURN = 2**26  # pairs of surface pixels at a time; each takes 8 bytes
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
    n_pred, n_mask = surface_p.sum((1, 2)), surface_m.sum((1, 2))
    turn = max(1, PAIRS_A_TURN // max(1, int(n_pred.amax()) * int(n_mask.amax())))
    distances = [
        _distances(surface_p[start : start + turn], surface_m[start : start + turn])
        for start in range(0, n, turn)
    ]
    tp = (pred & mask).sum((1, 2))
    fp, fn = pred.sum((1, 2)) - tp, mask.sum((1, 2)) - tp
    grid = (torch.full_like(tp, height), torch.full_like(tp, width))
    counts = torch.stack([*grid, tp, fp, fn, height * width - tp - fp - fn, n_pred, n_mask])
    values = (*counts.cpu().numpy(), *torch.cat(distances, 1).cpu().numpy())
    return dict(zip(COLUMNS, values, strict=True))


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


def _points(surface: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (2, B, P) of the surface pixels of each image, and (B, P) which are real."""
    image, y, x = surface.nonzero(as_tuple=True)
    count = surface.sum((1, 2))
    place = torch.arange(len(image), device=surface.device) - (count.cumsum(0) - count)[image]
    length = max(1, int(count.amax()))
    points = torch.full((2, len(surface), length), AWAY, device=surface.device)
    points[:, image, place] = torch.stack([y, x]).float()
    return points, torch.arange(length, device=surface.device) < count[:, None]


def _distances(surface_p: Tensor, surface_m: Tensor) -> Tensor:
    """The distance columns, in their order: (9, B) float64, NaN where a mask is empty."""
    (pred, real_p), (mask, real_m) = _points(surface_p), _points(surface_m)
    nearest_p, nearest_m = _nearest(pred, mask)
    directed = [
        nearest.double().sqrt().where(real, torch.inf)
        for nearest, real in ((nearest_p, real_p), (nearest_m, real_m))
    ]
    rows = []
    for distance, real in zip(directed, (real_p, real_m), strict=True):
        count = real.sum(1)
        ascending = distance.sort(1).values
        rows += [_quantile(ascending, count, q) for q in QUANTILES]
        rows.append(distance.where(real, 0).sum(1) / count)
    both = torch.cat(directed, 1).sort(1).values
    rows.append(_quantile(both, real_p.sum(1) + real_m.sum(1), POOLED_QUANTILE))
    whole = real_p.any(1) & real_m.any(1)
    return torch.stack(rows).where(whole, torch.nan)


def _nearest(pred: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances (B, P) and (B, M) to the nearest point of the other mask."""
    images, n_mask = mask.shape[1:]
    from_pred, from_mask = [], mask.new_full((images, n_mask), torch.inf)
    for part in pred.split(max(1, PAIRS_A_TURN // (images * n_mask)), dim=2):
        dy, dx = part[..., None] - mask[:, :, None]  # (B, part of P, M)
        squared = dy.square_().add_(dx.square_())
        from_pred.append(squared.amin(2))
        from_mask = from_mask.minimum(squared.amin(1))
    return torch.cat(from_pred, 1), from_mask


def _quantile(ascending: Tensor, count: Tensor, q: float) -> Tensor:
    """Quantile (B,) of the first `count` (B,) values of each row, as `numpy.quantile` takes it."""
    last = (count - 1).clamp(min=0)
    position = last.double() * q
    rank = position.long()
    both_sides = torch.stack([rank, (rank + 1).minimum(last)], 1)
    below, above = ascending.gather(1, both_sides).unbind(1)
    return below + (above - below) * (position - rank)
