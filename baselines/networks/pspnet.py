"""The network of PSPNet (Zhao et al., CVPR 2017, arXiv:1612.01105, section 3).

A dilated encoder of output stride 8, and a pyramid of four average pools over its last map. The
class of segmentation-models-pytorch is another net: by default it reads ResNet's second stage only
and leaves nine tenths of its parameters without a gradient.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.networks.encoders import create_features

BINS = (1, 2, 3, 6)  # sides of the pooled maps
WIDTH = 512  # of the head


def unit(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def average_pool(maps: Tensor, bins: int) -> Tensor:
    """Means (B, C, bins, bins) over the parts of maps (B, C, H, W), which overlap if they must.

    Where torch must be deterministic it refuses the gradient of its own pool on a GPU, not that of
    means of slices.
    """
    if not torch.are_deterministic_algorithms_enabled():
        return F.adaptive_avg_pool2d(maps, bins)
    rows = torch.stack([maps[:, :, part].mean(2) for part in _parts(maps.shape[2], bins)], dim=2)
    return torch.stack([rows[..., part].mean(3) for part in _parts(maps.shape[3], bins)], dim=3)


def _parts(size: int, bins: int) -> list[slice]:
    """Ends are rounded outwards."""
    return [slice(size * n // bins, -(-size * (n + 1) // bins)) for n in range(bins)]


class PSPNet(nn.Module):
    """46,582,337 parameters on ResNet-50.

    Args:
        name: of a timm model whose last stages can be dilated.
        weights: "imagenet", "packaged" or "none".
    """

    def __init__(self, name: str, weights: str) -> None:
        super().__init__()
        # strides of the last two stages become dilations 2 and 4
        self.encoder = create_features(name, weights, output_stride=8)
        width = self.encoder.feature_info.channels()[-1]
        self.pyramid = nn.ModuleList(unit(width, width // len(BINS), 1) for _ in BINS)
        self.head = nn.Sequential(
            unit(width + len(BINS) * (width // len(BINS)), WIDTH, 3),
            nn.Dropout2d(0.1),
            nn.Conv2d(WIDTH, 1, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, 1, H, W)."""
        h = self.encoder(images)[-1]  # (B, C, H/8, W/8)
        levels = [h]
        for bins, reduce in zip(BINS, self.pyramid, strict=True):
            level = reduce(average_pool(h, bins))
            levels.append(F.interpolate(level, h.shape[-2:], mode="bilinear", align_corners=True))
        logits = self.head(torch.cat(levels, dim=1))
        return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=True)
