"""Several disturbed passes of one batch through a decoder, as one batch.

The passes lie one after the other, (N * U, ...): first all U images of the first pass. Each pass
has the values it would have alone: its own noise and, in training, its own batch statistics. What
the disturbance does not reach is computed once for all of them.
"""

import math

import torch
from monai.networks.blocks import UnetrUpBlock
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.keys import derive, stable_key, uniform, uniforms

_DROPOUT, _GAUSSIAN = stable_key("dropout"), stable_key("gaussian")


def dropout(maps: Tensor, keys: Tensor, share: float, passes: int = 1) -> Tensor:
    """Passes of element-wise dropout; masks are functions of the keys, not of a generator's state.

    Args:
        maps: (U, C, h, w).
        keys: (U,) random keys of the images at this step.
        share: of the elements that become 0; the others grow by 1 / (1 - share).
        passes: N.

    Returns:
        (N * U, C, h, w).
    """
    kept = uniform(_everywhere(derive(keys, _DROPOUT), maps, passes), 0) >= share
    return (maps * (kept.to(maps.dtype) / (1 - share))).flatten(0, 1)


def gaussian(maps: Tensor, keys: Tensor, sigma: float, passes: int = 1) -> Tensor:
    """Passes of additive Gaussian noise, of the same strength everywhere in an image.

    Dropout of a share p adds noise whose mean square is p / (1 - p) times that of the map; with
    sigma the root of this factor both are equally strong.

    Args:
        maps: (U, C, h, w).
        keys: (U,) random keys of the images at this step.
        sigma: standard deviation, in root mean squares of the image's map.
        passes: N.

    Returns:
        (N * U, C, h, w).
    """
    scale = maps.detach().square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    noise = _normal(_everywhere(derive(keys, _GAUSSIAN), maps, passes)).to(maps.dtype)
    return (maps + sigma * scale * noise).flatten(0, 1)


def _everywhere(keys: Tensor, maps: Tensor, passes: int) -> Tensor:
    """A key (N, U, C, h, w) for each pass of each element of the images' maps."""
    place = torch.arange(passes * maps[0].numel(), device=maps.device)
    return keys[:, None, None, None] + place.view(passes, 1, *maps.shape[1:])


def _normal(keys: Tensor) -> Tensor:
    """A standard normal number of each key (Box and Muller, 1958)."""
    radius, angle = uniforms(keys, 2)
    return (-2 * torch.log1p(-radius)).sqrt() * torch.cos(2 * math.pi * angle)


def up(block: UnetrUpBlock, h: Tensor, skip: Tensor) -> Tensor:
    """A block of MONAI's on N passes that share their skip maps.

    Convolution is linear, so the skip maps' half of the first one is done once.

    Args:
        block: with plain convolutions and batch normalisation (`res_block=False`).
        h: (N * U, 2C, h, w).
        skip: (U, C, 2h, 2w).

    Returns:
        (N * U, C, 2h, 2w).
    """
    passes = len(h) // len(skip)
    maps: Tensor
    if passes == 1:
        maps = block(h, skip)
        return maps
    double = block.conv_block
    weight_h, weight_skip = double.conv1.conv.weight.chunk(2, dim=1)
    h = F.conv2d(block.transp_conv(h), weight_h, padding=1)
    shared = F.conv2d(skip, weight_skip, padding=1)
    h = (h.unflatten(0, (passes, -1)) + shared).flatten(0, 1)
    h = double.conv2(double.lrelu(_each(double.norm1, h, passes)))
    maps = double.lrelu(_each(double.norm2, h, passes))
    return maps


def _each(norm: nn.Module, maps: Tensor, passes: int) -> Tensor:
    """Normalise pass by pass, in order, as the running statistics depend on it."""
    return torch.cat([norm(one) for one in maps.chunk(passes)])
