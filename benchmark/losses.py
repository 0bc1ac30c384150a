"""Loss terms that several methods share, in fp32 at least, whatever the precision of the logits."""

import torch
from torch import Tensor
from torch.nn import functional as F


def soft_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Dice loss of sigmoid probabilities, one value an image, then their mean.

    Smoothing 1 and plain (unsquared) sums in the denominator, as the released ProPL code has it.

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) in [0, 1]; may be soft.
    """
    probs, target = _whole(logits).sigmoid().flatten(1), _whole(target).flatten(1)
    overlap = (probs * target).sum(dim=1)
    total = probs.sum(dim=1) + target.sum(dim=1)
    return (1 - (2 * overlap + 1) / (total + 1)).mean()


def bce_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, mean over pixels, plus Dice loss (ProPL, section 3)."""
    bce, dice = bce_and_dice(logits, target).values()
    return bce + dice


def bce_and_dice(logits: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The two terms of `bce_dice`, for the log."""
    logits, target = _whole(logits), _whole(target)
    return {
        "bce": F.binary_cross_entropy_with_logits(logits, target),
        "dice": soft_dice(logits, target),
    }


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean over all pixels.

    Where torch must be deterministic it refuses its own mean of maps on a GPU, not that of ours.

    Args:
        logits: (B, C, H, W).
        label: (B, H, W) int64.
    """
    if torch.are_deterministic_algorithms_enabled():
        return F.cross_entropy(logits, label, reduction="none").mean()
    return F.cross_entropy(logits, label)


def _whole(values: Tensor) -> Tensor:
    """In fp32 if it was less: sums over an image lose their last digits in 8 bits of mantissa."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
