"""Operations on intensities, batched: each image has its own strength, and a neutral one.

    blend     neutral at factor 1    brightness, contrast and saturation are blends
    hue       neutral at turn 0
    blur      neutral at sigma 0

An operation that is drawn for some images only is applied to all, to the others at its neutral
strength: no step waits for the device to say which images those are. Definitions of brightness,
contrast, saturation, hue and grey are those of PIL and torchvision, without rounding to 256 levels.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.keys import between, uniforms
from benchmark.views import compiled
from benchmark.views.compiled import RADIUS

LUMA = (0.299, 0.587, 0.114)  # shares of red, green and blue in grey
STRENGTH = 0.5  # factors of brightness, contrast and saturation lie in [1 - STRENGTH, 1 + STRENGTH)
TURN = 0.25  # of the circle of hues, to either side
NARROWEST = 1e-3  # px: a blur below it changes nothing


def grey(images: Tensor) -> Tensor:
    """(B, 1, H, W) of images (B, 1 or 3, H, W)."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[:, None]


def blend(images: Tensor, other: Tensor | float, factor: Tensor) -> Tensor:
    """`factor` of the images and the rest of `other`, cut to [0, 1]; above 1 it leads away.

    Args:
        images: (B, C, H, W) in [0, 1].
        other: black (0) for brightness, mean grey (B, 1, 1, 1) for contrast, grey (B, 1, H, W)
            for saturation.
        factor: (B,).
    """
    factor = factor[:, None, None, None]
    return (images * factor).add_((1 - factor) * other).clamp_(0, 1)


def jitter(images: Tensor, keys: Tensor, chosen: Tensor) -> Tensor:
    """Brightness, contrast and, in colour, saturation and hue, in an order of each image's own.

    Args:
        images: (B, 1 or 3, H, W) in [0, 1].
        keys: (B,).
        chosen: (B,) bool, which images change.
    """
    operations = 4 if images.shape[1] == 3 else 2
    drawn = uniforms(keys, 2 * operations)
    order = drawn[:operations].argsort(0)  # (operations, B): which one comes first, second, ...
    amounts = torch.where(chosen, between(drawn[operations:], -1, 1), 0.0)
    for which in order:
        amount = amounts.gather(0, which[None])[0]
        is_contrast, is_saturation, is_hue = (
            (which == number)[:, None, None, None] for number in (1, 2, 3)
        )
        without_colour = grey(images)
        other = is_contrast * without_colour.mean((1, 2, 3), keepdim=True)
        if operations == 2:
            images = blend(images, other, 1 + STRENGTH * amount)
        else:
            turned = hue(images, TURN * amount)
            other = other + is_saturation * without_colour
            images = torch.where(is_hue, turned, blend(images, other, 1 + STRENGTH * amount))
    return images


def hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn all hues by a part of their circle; saturation and value (of HSV) stay.

    Args:
        images: (B, 3, H, W) in [0, 1].
        turn: (B,), 1 is the whole circle.
    """
    value, least = images.amax(1), images.amin(1)
    chroma = value - least
    red, green, blue = images.unbind(1)
    sixth = torch.where(
        value == red,
        (green - blue) / chroma.clamp_min(1e-12),
        torch.where(
            value == green,
            2 + (blue - red) / chroma.clamp_min(1e-12),
            4 + (red - green) / chroma.clamp_min(1e-12),
        ),
    )
    sixth = sixth + 6 * turn[:, None, None]
    # channel n falls from the value where the hue lies far from its own: HSV to RGB in one formula
    channels = [(n + sixth) % 6 for n in (5, 3, 1)]
    return torch.stack(
        [value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in channels], dim=1
    )


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur, mirrored at the border (the outermost pixel once).

    Args:
        images: (B, C, H, W), sides larger than RADIUS.
        sigma: (B,) in px, at most 2: beyond RADIUS (6 px) the kernel is cut; 0 changes nothing.
    """
    away = torch.arange(RADIUS + 1, device=images.device)
    taps = torch.exp(-0.5 * (away / sigma[:, None].clamp_min(NARROWEST)) ** 2)
    taps = taps / (2 * taps.sum(1, keepdim=True) - 1)  # the middle, 1, counts once
    taps = taps.repeat_interleave(images.shape[1], dim=0)
    planes = images.flatten(0, 1)  # (B * C, H, W)
    if compiled.can_do(images, torch.float32):
        blurred: Tensor = compiled.blur_planes(planes, taps)
    else:
        blurred = _convolve(planes, taps.to(images.dtype))
    return blurred.view_as(images)


def _convolve(planes: Tensor, taps: Tensor) -> Tensor:
    """Planes (N, H, W) with kernels (N, RADIUS + 1), given from the middle outwards."""
    count = len(planes)
    if count == 1:  # two groups at least: of one, cuDNN may round the products to TF32
        planes, taps = planes.expand(2, -1, -1), taps.expand(2, -1)
    kernels = torch.cat((taps[:, 1:].flip(1), taps), dim=1)[:, None]  # (N, 1, 2 * RADIUS + 1)
    groups = len(planes)
    with torch.autocast(planes.device.type, enabled=False):
        framed = F.pad(planes[None], [RADIUS] * 4, mode="reflect")
        rows = F.conv2d(framed, kernels[:, :, None], groups=groups)
        return F.conv2d(rows, kernels[:, :, :, None], groups=groups)[0, :count]
