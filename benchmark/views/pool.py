"""Strong views of AugSeg: one to three operations on intensities, drawn from a pool of eleven.

    identity
    autocontrast    the levels of a channel are stretched to all 256
    equalize        the levels of a channel become about equally frequent
    blur            Gaussian, sigma in [0.1, 2) px
    contrast, brightness, colour, sharpness
                    towards mean grey, black, grey, a smoother image: always less than there was
    posterize       4 to 7 bits are left
    solarize        inverted from a level on, in [1, 255]
    hue             turned by up to half the circle, either way

As in the released code (ZhenZHAO/AugSeg at 7ead870) images have 256 levels here, and definitions
are PIL's, rounding included; but the blur is a true Gaussian and hue has no levels of its own. On
grey images colour and hue are identities and are left out.
"""

import torch
from torch import Tensor

from benchmark.keys import between, derive, stable_key, uniforms
from benchmark.views.intensity import blur, grey, hue

OPERATIONS = (
    "identity",
    "autocontrast",
    "equalize",
    "blur",
    "contrast",
    "brightness",
    "colour",
    "sharpness",
    "posterize",
    "solarize",
    "hue",
)
MOST = 3  # operations on one image
SIGMA = (0.1, 2.0)  # px
FACTORS = (0.05, 0.95)  # of contrast, brightness, colour and sharpness; 1 changes nothing
LEVELS = 256
_POOL = stable_key("pool of intensities")


def random_intensities(images: Tensor, keys: Tensor) -> Tensor:
    """Operations drawn for each image, with replacement, each with a strength of its own.

    Args:
        images: (B, 1 or 3, H, W) in [0, 1], a weak view; sides larger than 6 px.
        keys: (B,) of `step_keys`.

    Returns:
        Images of the same shape, on 256 levels in [0, 1].
    """
    number, *drawn = uniforms(derive(keys, _POOL), 1 + 2 * MOST)
    levels = ((LEVELS - 1) * images).round()
    for place, (which, strength) in enumerate(zip(drawn[:MOST], drawn[MOST:], strict=True)):
        operation = (len(OPERATIONS) * which).long()
        levels = operate(levels, torch.where(place <= MOST * number, operation, 0), strength)
    return levels / (LEVELS - 1)


def operate(levels: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """One operation on each image; all others run too, at strengths that change nothing.

    Args:
        levels: (B, 1 or 3, H, W), whole numbers in [0, 255], floating.
        operation: (B,) int64, places in `OPERATIONS`.
        strength: (B,) in [0, 1), brought to the operation's own range.
    """

    def amount(name: str, low: float, high: float, neutral: float) -> Tensor:
        drawn = operation == OPERATIONS.index(name)
        return torch.where(drawn, between(strength, low, high), neutral)[:, None, None]

    # what maps level to level is read from one table a channel (B, C, 256)
    places = levels.long().flatten(2)
    counts = _histogram(places)
    middle = grey(levels).round().mean((2, 3)).round()[..., None]  # (B, 1, 1)
    table = torch.arange(LEVELS, device=levels.device, dtype=levels.dtype)
    table = torch.where(amount("autocontrast", 1, 1, 0) > 0, _autocontrast(counts), table)
    table = torch.where(amount("equalize", 1, 1, 0) > 0, _equalize(counts), table)
    table = table - table % 2 ** amount("posterize", 1, 5, 0).floor()
    from_level = LEVELS - amount("solarize", 1, LEVELS, 0).floor()
    table = torch.where(table >= from_level, LEVELS - 1 - table, table)
    table = _towards(0, table, amount("brightness", *FACTORS, 1))
    table = _towards(middle, table, amount("contrast", *FACTORS, 1))
    levels = table.gather(2, places).view_as(levels)

    levels = _towards(_smooth(levels), levels, amount("sharpness", *FACTORS, 1)[..., None])
    levels = blur(levels, amount("blur", *SIGMA, 0)[:, 0, 0]).round()
    if levels.shape[1] == 3:
        factor = amount("colour", *FACTORS, 1)[..., None]
        levels = _towards(grey(levels).round(), levels, factor)
        levels = hue(levels, amount("hue", -0.5, 0.5, 0)[:, 0, 0]).round()
    return levels


def _histogram(places: Tensor) -> Tensor:
    """How many pixels (B, C, 256) have each level, from levels (B, C, H * W) int64."""
    planes = places.flatten(0, 1)
    start = LEVELS * torch.arange(len(planes), device=places.device)[:, None]
    counts = places.new_zeros(LEVELS * len(planes))
    counts.scatter_add_(0, (planes + start).flatten(), places.new_ones(1).expand(places.numel()))
    return counts.view(*places.shape[:2], LEVELS)


def _ends(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Least and largest level (B, C, 1) that occur."""
    occurs = (counts > 0).int()
    low, high = occurs.argmax(2, keepdim=True), occurs.flip(2).argmax(2, keepdim=True)
    return low, LEVELS - 1 - high


def _autocontrast(counts: Tensor) -> Tensor:
    """Tables (B, C, 256) that stretch the levels that occur to [0, 255]."""
    level = torch.arange(LEVELS, device=counts.device)
    low, high = _ends(counts)
    stretched = (LEVELS - 1) * (level - low) // (high - low).clamp_min(1)
    return torch.where(high > low, stretched.clamp(0, LEVELS - 1), level)


def _equalize(counts: Tensor) -> Tensor:
    """Tables (B, C, 256): a level becomes the number of pixels below it, in steps of 1/255 of all.

    Those of the largest level do not count; where they are nearly all, nothing changes.
    """
    level = torch.arange(LEVELS, device=counts.device)
    _, high = _ends(counts)
    step = (counts.sum(2, keepdim=True) - counts.gather(2, high)) // (LEVELS - 1)
    below = counts.cumsum(2) - counts
    spread = (step // 2 + below) // step.clamp_min(1)
    return torch.where(step > 0, spread.clamp_max(LEVELS - 1), level)


def _towards(other: Tensor | float, levels: Tensor, factor: Tensor) -> Tensor:
    """`factor` of the levels and the rest of `other`; PIL cuts fractions off."""
    return (other + factor * (levels - other)).floor()


def _smooth(levels: Tensor) -> Tensor:
    """Mean of the 3x3 pixels around each, the middle five times; the outermost stay."""
    rows = levels[..., :-2] + levels[..., 1:-1] + levels[..., 2:]
    total = rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :]
    smooth = levels.clone()
    smooth[..., 1:-1, 1:-1] = ((total + 4 * levels[..., 1:-1, 1:-1]) / 13).round()
    return smooth
