"""Weak views, batched on the device: rotation and scaling, and what makes them repeatable.

Every random number is a hash of (seed, step, sample), never the state of a generator: a run can
be resumed or repeated exactly, and one sample's view does not depend on its neighbours.
"""

import hashlib
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.protocol import Protocol


def _signed(number: int) -> int:
    """The same 64 bits as a signed integer: torch has no other, and wraps on overflow as needed."""
    return (number + 2**63) % 2**64 - 2**63


# constants of SplitMix64 (Steele, Lea, Flood 2014)
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _mix(keys: Tensor) -> Tensor:
    """Scatter 64-bit integers so that neighbouring inputs give unrelated outputs."""
    keys = (keys ^ _shift(keys, 30)) * _MIX_1
    keys = (keys ^ _shift(keys, 27)) * _MIX_2
    return keys ^ _shift(keys, 31)


def _shift(keys: Tensor, bits: int) -> Tensor:
    """Logical right shift: torch's own copies the sign."""
    return (keys >> bits) & ((1 << (64 - bits)) - 1)


def stable_key(name: str) -> int:
    """63 bits of a name, the same on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1


def step_keys(samples: Tensor, seed: int, step: int) -> Tensor:
    """Random keys (B,) of samples (B,) at one step of one run."""
    return _mix(_mix(samples + _signed(_GOLDEN * (seed + 1))) + _signed(_GOLDEN * (step + 1)))


def uniform(keys: Tensor, draw: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """The `draw`-th number of each key (B,), float32 in [low, high); the same on every device."""
    bits = _shift(_mix(keys + _signed(_GOLDEN * (draw + 1))), 40)  # 24 bits: exact in float32
    return low + (high - low) * bits.to(torch.float32) / 2**24


def weak(
    images: Tensor, masks: Tensor | None, keys: Tensor, protocol: Protocol
) -> tuple[Tensor, Tensor]:
    """Rotate and scale about the centre; what comes in from outside is black background.

    Args:
        images: (B, C, H, W) in [0, 1], sampled bilinearly.
        masks: (B, 1, H, W) of 0 and 1, sampled at the nearest pixel; None for unlabelled images.
        keys: (B,) of `step_keys`.
        protocol: ranges of angle and scale.

    Returns:
        Images and masks of the same shapes; for no masks an empty tensor.
    """
    limit = math.radians(protocol.rotation)
    angle = uniform(keys, 0, -limit, limit)
    scale = uniform(keys, 1, protocol.scale_low, protocol.scale_high)
    as_it_is = uniform(keys, 2) >= protocol.view_share
    angle = torch.where(as_it_is, 0.0, angle)
    scale = torch.where(as_it_is, 1.0, scale)
    # the matrix maps output to input, so enlarging by `scale` divides by it
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    zero = torch.zeros_like(cos)
    matrix = torch.stack((cos, -sin, zero, sin, cos, zero), dim=1).view(-1, 2, 3)  # (B, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    turned = F.grid_sample(images, grid, mode="bilinear", align_corners=False)
    if masks is None:
        return turned, images.new_empty(0)
    return turned, F.grid_sample(masks, grid, mode="nearest", align_corners=False)


def normalise(images: Tensor) -> Tensor:
    """Three channels of zero mean and unit deviation each, image by image.

    As the released ProPL code (MONAI NormalizeIntensity, channel-wise); the paper does not say.
    A constant channel becomes zero.

    Args:
        images: (B, 1 or 3, H, W).
    """
    mean = images.mean(dim=(2, 3), keepdim=True)
    deviation = images.std(dim=(2, 3), keepdim=True, correction=0)
    # grey is expanded last: all work above was on one channel
    return ((images - mean) / deviation.clamp_min(1e-6)).expand(-1, 3, -1, -1)
