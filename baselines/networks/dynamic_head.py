"""Three 1x1 convolutions whose weights a controller makes for each image (Zhang et al., 2021)."""

from math import gcd

from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 16  # of the group norms
WIDTH = 8  # of the map that enters, and of the two hidden layers
_SHAPES = ((WIDTH, WIDTH), (WIDTH, WIDTH), (1, WIDTH))
COUNT = sum(rows * columns + rows for rows, columns in _SHAPES)  # 153 numbers an image


def activated(inputs: int, *layers: nn.Module) -> nn.Sequential:
    """Group norm and ReLU before some layers; fewer groups where 16 do not divide the width."""
    return nn.Sequential(nn.GroupNorm(gcd(GROUPS, inputs), inputs), nn.ReLU(), *layers)


def dynamic_head(features: Tensor, parameters: Tensor) -> Tensor:
    """Logits of each image by its own filters, ReLU between the layers.

    Args:
        features: (B, 8, H, W).
        parameters: (B, 153): the weights of the three layers, then their biases.

    Returns:
        (B, 1, H, W).
    """
    weights = parameters.split([rows * columns for rows, columns in _SHAPES] + [WIDTH, WIDTH, 1], 1)
    x = features.flatten(2)  # (B, 8, H*W)
    for layer, shape in enumerate(_SHAPES):
        weight, bias = weights[layer].unflatten(1, shape), weights[len(_SHAPES) + layer]
        x = bias[:, :, None] + weight @ x
        if layer < len(_SHAPES) - 1:
            x = F.relu(x)
    logits: Tensor = x.unflatten(2, features.shape[2:])
    return logits
