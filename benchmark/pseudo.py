"""Labels that a network gives to unlabelled images, and losses over a part of the pixels.

Throughout: logits (B, C, H, W), labels (B, H, W) int64, and which pixels count (B, H, W) bool.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMOOTH = 1e-5  # of `squared_dice`


@dataclass(frozen=True, slots=True)
class Pseudo:
    """What a network says of each pixel; no gradient leads back to it.

    Attributes:
        label: (B, H, W) int64, the likeliest class.
        conf: (B, H, W), its probability.
        entropy: (B, H, W), of all classes, in nats.
    """

    label: Tensor
    conf: Tensor
    entropy: Tensor

    def paste(self, source: Self, box: Tensor) -> Self:
        """`source` in the boxes (B, 1, H, W), as `benchmark.views.boxes.paste` has images."""
        inside = box[:, 0]
        return type(self)(
            torch.where(inside, source.label, self.label),
            torch.where(inside, source.conf, self.conf),
            torch.where(inside, source.entropy, self.entropy),
        )

    def roll(self) -> Self:
        """Those of the image before, the last one first: donors that no image is its own of."""
        return type(self)(*(part.roll(1, 0) for part in (self.label, self.conf, self.entropy)))


@torch.no_grad()
def pseudo(logits: Tensor) -> Pseudo:
    """Pseudo-labels from logits (B, C, H, W)."""
    log_probs = logits.float().log_softmax(dim=1)
    probs = log_probs.exp()
    conf, label = probs.max(dim=1)
    return Pseudo(label, conf, -(probs * log_probs).sum(dim=1))


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """The network as at test time: no dropout, and its batch norm learns nothing."""
    training = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(training)
        # else older torch goes on with the half-precision weights of `no_grad`: no gradient reaches
        # the real ones
        if not torch.compiler.is_compiling():
            torch.clear_autocast_cache()


def masked_ce(
    logits: Tensor, label: Tensor, kept: Tensor, over: Literal["all", "kept", "kept_scaled"] = "all"
) -> Tensor:
    """Cross-entropy of the pixels that are kept; 0 where none is.

    Args:
        logits: (B, C, H, W).
        label: (B, H, W).
        kept: (B, H, W) bool.
        over: what the sum is divided by: "all" pixels (FixMatch, UniMatch, AugSeg), those "kept"
            (DDFP), or "kept_scaled", the mean of the kept times all / kept (U2PL, CSC-PA).
    """
    ce = F.cross_entropy(logits.float(), label, reduction="none")
    total, count = (ce * kept).sum(), kept.sum().clamp_min(1)
    if over == "all":
        return total / kept.numel()
    mean = total / count
    return mean if over == "kept" else mean * kept.numel() / count


def squared_dice(logits: Tensor, label: Tensor, kept: Tensor | None = None) -> Tensor:
    """1 - Dice with squares in the denominator, over a whole batch; mean of all classes.

    As SSL4MIS and UniMatch on ACDC have it; background is a class. 0 where no pixel is kept.

    Args:
        logits: (B, C, H, W).
        label: (B, H, W).
        kept: (B, H, W) bool; None is all.
    """
    probs = logits.float().softmax(dim=1)
    truth = F.one_hot(label, probs.shape[1]).movedim(-1, 1).to(probs.dtype)
    if kept is not None:
        inside = kept[:, None].to(probs.dtype)
        probs, truth = probs * inside, truth * inside
    overlap = (probs * truth).sum(dim=(0, 2, 3))
    total = probs.square().sum(dim=(0, 2, 3)) + truth.square().sum(dim=(0, 2, 3))
    return (1 - (2 * overlap + SMOOTH) / (total + SMOOTH)).mean()


def below_percentile(entropy: Tensor, share: float | Tensor) -> Tensor:
    """Which pixels (B, H, W) have an entropy below the `share` quantile of all of them.

    By sorting: `torch.quantile` refuses the number of pixels of a large batch.

    Args:
        entropy: (B, H, W).
        share: in [0, 1]; 1 keeps all but the largest.
    """
    return entropy < quantile(entropy, share)


def quantile(values: Tensor, share: float | Tensor) -> Tensor:
    """The linearly interpolated quantile () of all values."""
    ordered = values.flatten().sort().values
    place = torch.as_tensor(share, dtype=torch.float64, device=values.device).clamp(0, 1)
    place = place * (len(ordered) - 1)
    low = place.floor()
    pair = ordered[torch.stack((low, (low + 1).clamp_max(len(ordered) - 1))).long()]
    return pair[0].lerp(pair[1], (place - low).to(values.dtype))


def kept_shares(kept: Tensor, label: Tensor) -> dict[str, Tensor]:
    """For the log: how many pixels are kept, and how many of these are foreground.

    With two classes nearly all confident pixels are background at first; a method that stays there
    has collapsed.
    """
    count = kept.sum()
    foreground = (kept & (label > 0)).sum() / count.clamp_min(1)
    return {"kept": count / kept.numel(), "kept_foreground": foreground}
