"""Views of a batch on the device: weak, strong, and what a network wants to see.

Views are functions of the image and its key alone: see `benchmark.keys`. All work is done on the
channels that the data have; grey becomes three channels at the very end, in `normalise` or
`standardise`.
"""

import math

import torch
from torch import Tensor

from benchmark.keys import between, derive, stable_key, step_keys, uniform, uniforms
from benchmark.protocol import Protocol
from benchmark.views import compiled
from benchmark.views.intensity import blur, grey, jitter
from benchmark.views.warp import as_unit, warp

__all__ = [
    "as_unit",
    "normalise",
    "stable_key",
    "standardise",
    "step_keys",
    "strong",
    "uniform",
    "weak",
    "weak_input",
]

# The strong view of FixMatch and UniMatch (LiheYoung/UniMatch at 0324f3d), DDFP and ST++: shares
# of images that are changed, and the range of the blur. Hue and saturation do nothing to grey.
JITTER, GREY, BLUR = 0.8, 0.2, 0.5
SIGMA = (0.1, 2.0)  # px
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, red to blue
LEAST_DEVIATION = 1e-6  # of an image that is normalised
_STRONG, _JITTER = stable_key("strong view"), stable_key("jitter")


def weak(
    images: Tensor, masks: Tensor | None, keys: Tensor, protocol: Protocol
) -> tuple[Tensor, Tensor]:
    """Rotate and scale about the centre; what comes in from outside is black background.

    Args:
        images: (B, C, S, S) uint8 as stored, or float in [0, 1]; sampled bilinearly.
        masks: (B, 1, S, S) of 0 and 1, uint8 or float, sampled at the nearest pixel; None for
            unlabelled images.
        keys: (B,) of `step_keys`.
        protocol: ranges of angle and scale, share of mirrored images.

    Returns:
        Images in [0, 1] and masks, float and of the same shapes; for no masks an empty tensor.
    """
    matrices, mirrored = _placed(keys, protocol)
    images, masks = warp(images, masks, matrices)
    return _mirror(images, mirrored, protocol), _mirror(masks, mirrored, protocol)


def weak_input(
    images: Tensor, masks: Tensor | None, keys: Tensor, protocol: Protocol
) -> tuple[Tensor, Tensor]:
    """`normalise` of a weak view, and its masks: where only a network sees the view.

    What the two calls give, in less time on a processor: an image is normalised while it is in the
    cache.
    """
    if not compiled.can_do(images, torch.uint8):
        view, masks = weak(images, masks, keys, protocol)
        return normalise(view), masks
    matrices, mirrored = _placed(keys, protocol)
    masks = images.new_empty((0, 1, *images.shape[2:])) if masks is None else masks
    view, masks = compiled.warp(images, masks, matrices, LEAST_DEVIATION)
    view = _mirror(view, mirrored, protocol).expand(-1, 3, -1, -1)
    return view, _mirror(masks, mirrored, protocol)


def _placed(keys: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    """Matrices (B, 2, 2) from output to input, and which images (B,) are mirrored."""
    turn, size, moved, mirrored = uniforms(keys, 4)
    limit = math.radians(protocol.rotation)
    angle = between(turn, -limit, limit)
    scale = between(size, protocol.scale_low, protocol.scale_high)
    if protocol.view_share < 1:
        as_it_is = moved >= protocol.view_share
        angle, scale = torch.where(as_it_is, 0.0, angle), torch.where(as_it_is, 1.0, scale)
    # the matrix maps output to input, so enlarging by `scale` divides by it
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    matrices = torch.stack((cos, -sin, sin, cos), 1).view(-1, 2, 2)
    return matrices, mirrored < protocol.flip


def _mirror(images: Tensor, chosen: Tensor, protocol: Protocol) -> Tensor:
    """Left and right of the chosen images (B,) exchanged; there may be no images."""
    if not protocol.flip or not len(images):
        return images
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def strong(images: Tensor, keys: Tensor) -> Tensor:
    """Change intensities, not places: jitter, then perhaps no colour, then perhaps a blur.

    Args:
        images: (B, 1 or 3, H, W) in [0, 1], a weak view.
        keys: (B,) of `step_keys`; for a second strong view `derive` others.

    Returns:
        Images of the same shape in [0, 1].
    """
    keys = derive(keys, _STRONG)
    jittered, uncoloured, blurred, width = uniforms(keys, 4)
    images = jitter(images, derive(keys, _JITTER), jittered < JITTER)
    if images.shape[1] == 3:
        images = torch.where((uncoloured < GREY)[:, None, None, None], grey(images), images)
    return blur(images, torch.where(blurred < BLUR, between(width, *SIGMA), 0.0))


def standardise(images: Tensor) -> Tensor:
    """Three channels less ImageNet's mean, over its deviation: the same for every image.

    For methods with strong views. `normalise` would undo what they do to brightness and contrast:
    of a grey image the view would be the weak one again.

    Args:
        images: (B, 1 or 3, H, W), in [0, 1] or uint8 as stored.
    """
    planes = as_unit(images).expand(-1, 3, -1, -1).unbind(1)
    each = zip(planes, MEAN, DEVIATION, strict=True)
    return torch.stack([(plane - mean) / deviation for plane, mean, deviation in each], dim=1)


def normalise(images: Tensor) -> Tensor:
    """Three channels of zero mean and unit deviation each, image by image.

    As the released ProPL code (MONAI NormalizeIntensity, channel-wise); the paper does not say.
    A constant channel becomes zero.

    Args:
        images: (B, 1 or 3, H, W), in [0, 1] or uint8 as stored.
    """
    images = as_unit(images)
    scaled: Tensor
    if compiled.can_do(images, torch.float32):
        planes = compiled.normalise_planes(images.flatten(0, 1), LEAST_DEVIATION)
        scaled = planes.view_as(images)
    else:
        centred = images - images.mean(dim=(2, 3), keepdim=True)
        deviation = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
        scaled = centred / deviation.clamp_min(LEAST_DEVIATION)
    # grey is expanded last: all work above was on one channel
    return scaled.expand(-1, 3, -1, -1)
