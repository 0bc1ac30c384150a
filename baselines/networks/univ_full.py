"""The network of Univ-full (Kalluri et al., ICCV 2019, arXiv:1811.10323, section 3).

One encoder of output stride 8 for all tasks; a classifier of two labels for each; and a branch that
brings every pixel into the space of the labels' embeddings.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 8
LABELS = 2  # background and target


class UnivFull(nn.Module):
    """15,954,624 trainable parameters on DRN-D-22 with eight tasks and embeddings of 128.

    The released network repeats the bilinear kernels of its upsampling in every channel, 36,864
    frozen numbers that are counted with it; here one kernel serves all.

    Args:
        encoder: image -> (B, width, H/8, W/8).
        width: of its map.
        tasks: how many.
        embeddings: (tasks, 2, d), frozen.
    """

    def __init__(self, encoder: nn.Module, width: int, tasks: int, embeddings: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.Parameter(torch.empty(tasks, LABELS, width))
        self.bias = nn.Parameter(torch.zeros(tasks, LABELS))
        self.embed = nn.Conv2d(width, embeddings.shape[-1], 1)
        for head in self.heads:
            nn.init.normal_(head, std=(2 / LABELS) ** 0.5 / width**0.5)
        self.embeddings: Tensor
        self.register_buffer("embeddings", F.normalize(embeddings, dim=-1))

    def classify(self, features: Tensor, tasks: Tensor) -> Tensor:
        """Scores of an image's own two labels, (B, 2, H, W), from features (B, C, H/8, W/8)."""
        scores = self.heads[tasks] @ features.flatten(2) + self.bias[tasks][:, :, None]
        return upsample(scores.unflatten(2, features.shape[2:]))

    def similarity(self, features: Tensor) -> Tensor:
        """Scores (B, tasks, 2, H, W) of every pixel against every label's embedding.

        Pixels are compared before they are upsampled: both are linear, so the order is free, and
        two numbers a task are upsampled instead of d.
        """
        embedded = self.embed(features).flatten(2)  # (B, d, h*w), not normalised, as released
        scores = self.embeddings.flatten(0, 1) @ embedded  # (B, tasks * 2, h*w)
        full = upsample(scores.unflatten(2, features.shape[2:]))
        similarity: Tensor = full.unflatten(1, self.embeddings.shape[:2])
        return similarity


def upsample(x: Tensor) -> Tensor:
    """Bilinear, by 8, as a transposed convolution with a fixed kernel: edges fade to zero."""
    place = torch.arange(2 * STRIDE, device=x.device, dtype=x.dtype)
    ramp = 1 - (place - (STRIDE - 0.5)).abs() / STRIDE  # (16,)
    kernel = ramp[:, None] * ramp
    full = F.conv_transpose2d(
        x.flatten(0, 1)[:, None], kernel[None, None], stride=STRIDE, padding=STRIDE // 2
    )
    upsampled: Tensor = full.unflatten(0, x.shape[:2])[:, :, 0]
    return upsampled
