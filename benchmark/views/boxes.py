"""Boxes, and what is pasted into them: CutMix and Cutout.

Boxes are bool (B, 1, S, S), true inside; one box serves an image and all that belongs to it.
"""

import torch
from torch import Tensor

from benchmark.keys import between, derive, stable_key, uniform, uniforms

TRIES = 32  # times that a box is drawn: 98 of 100 then fit
_BOXES, _HALVES, _CENTRED = (stable_key(f"boxes/{kind}") for kind in ("area", "half", "centred"))
_CUTOUT, _NOISE = stable_key("cutout"), stable_key("cutout/noise")


def boxes(
    keys: Tensor,
    size: int,
    *,
    share: float = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
) -> Tensor:
    """Boxes of FixMatch and UniMatch, and of ST++'s Cutout (LiheYoung/UniMatch at 0324f3d).

    Aspect and corner are drawn anew until the box fits, `TRIES` times at most; one that never does
    (the largest and longest) is cut at the border.

    Args:
        keys: (B,).
        size: S, in px.
        share: of images that get a box; the others' is empty.
        area: range of a box's part of the image.
        aspect: range of height to width.
    """
    drawn = uniforms(derive(keys, _BOXES), 2 + 3 * TRIES)
    pixels, kept = between(drawn[0], *area) * size**2, drawn[1] < share
    ratio, left, top = drawn[2:].unflatten(0, (3, TRIES))  # (TRIES, B) each
    ratio = between(ratio, *aspect)
    width, height = (pixels / ratio).sqrt().floor(), (pixels * ratio).sqrt().floor()
    left, top = (left * size).floor(), (top * size).floor()
    fits = (left + width <= size) & (top + height <= size)
    first = fits.int().argmax(0, keepdim=True)  # (1, B); where none fits, the first try
    left, top, width, height = (of.gather(0, first)[0] for of in (left, top, width, height))
    return _rectangle(left, top, left + width * kept, top + height, size)


def half_boxes(keys: Tensor, size: int) -> Tensor:
    """Boxes of half the image's area, wider than half of it: U2PL and DDFP (their code).

    Args:
        keys: (B,).
        size: S, in px.
    """
    wide, left, top = uniforms(derive(keys, _HALVES), 3)
    width = between(wide, size / 2, size).floor()
    height = (size**2 / 2 / width).floor()
    left, top = (left * (size - width + 1)).floor(), (top * (size - height + 1)).floor()
    return _rectangle(left, top, left + width, top + height, size)


def centred_boxes(keys: Tensor, size: int, part: Tensor) -> Tensor:
    """Square boxes of AugSeg, cut where they leave the image.

    Args:
        keys: (B,); centres are uniform in the last 7/8 of each side.
        size: S, in px.
        part: (B,) or (1,) area of a box as a part of the image: AugSeg's are 1 - `beta` of one
            key of a batch.
    """
    side = part.sqrt() * size
    x, y = (between(place, size / 8, size) for place in uniforms(derive(keys, _CENTRED), 2))
    left, top = ((centre - side / 2).floor() for centre in (x, y))
    right, bottom = ((centre + side / 2).floor() for centre in (x, y))
    return _rectangle(left, top, right, bottom, size)


def paste(onto: Tensor, source: Tensor, box: Tensor) -> Tensor:
    """`source` inside the boxes, `onto` outside: images, masks, labels or weights (B, C, S, S)."""
    return torch.where(box, source, onto)


def cutout(images: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Noise in a box of half the images, as in ST++ (LiheYoung/ST-PlusPlus at f4e7a57).

    Args:
        images: (B, C, S, S) in [0, 1].
        keys: (B,).

    Returns:
        The images, and the boxes: nothing is to be learned there.
    """
    box = boxes(derive(keys, _CUTOUT), images.shape[-1])
    place = torch.arange(images[0].numel(), device=images.device).view(1, *images.shape[1:])
    noise = uniform(derive(keys, _NOISE)[:, None, None, None] + place, 0)
    return paste(images, noise.to(images.dtype), box), box


def _rectangle(left: Tensor, top: Tensor, right: Tensor, bottom: Tensor, size: int) -> Tensor:
    """Pixels of [left, right) x [top, bottom), (B,) each, as (B, 1, S, S) bool."""
    line = torch.arange(size, device=left.device)
    columns, rows = (
        ((line >= low[:, None]) & (line < high[:, None])).to(torch.uint8)
        for low, high in ((left, right), (top, bottom))
    )
    # as bytes: torch's logical operations take nine times as long on a processor
    return (rows[:, None, :, None] & columns[:, None, None, :]).to(torch.bool)
