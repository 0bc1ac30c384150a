"""Several disturbed passes of one batch through a decoder, as one batch.

The passes lie one after the other, (N * U, ...): first all U images of the first pass. Each pass
has the values it would have alone: its own dropout mask and, in training, its own batch statistics.
What the disturbance does not reach is computed once for all of them.
"""

import torch
from monai.networks.blocks import UnetrUpBlock
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.keys import derive, stable_key, uniform

_DROPOUT = stable_key("dropout")


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
    place = torch.arange(passes * maps[0].numel(), device=maps.device)
    place = place.view(passes, 1, *maps.shape[1:])
    keys = derive(keys, _DROPOUT)[:, None, None, None] + place  # (N, U, C, h, w)
    kept = uniform(keys, 0) >= share
    return (maps * (kept.to(maps.dtype) / (1 - share))).flatten(0, 1)


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
