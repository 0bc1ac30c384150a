"""The networks of the semi-supervised methods, cut where one of them reaches in.

    images -encode-> maps -fuse-> f -head-> v -classify-> logits at stride 4 -> logits of full size

UniMatch drops channels of the maps; U2PL hangs a second head on f, CSC-PA adds to it, DDFP disturbs
it and models the density of v. Two logits, background and foreground, for a softmax.
"""

from abc import ABC, abstractmethod

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.networks.smp_timm import on_timm
from baselines.networks.unet_classic import contract, contraction, convolutions

CLASSES = 2
RATES = (6, 12, 18)  # of DeepLabv3+ at output stride 16


class SegNet(nn.Module, ABC):
    """Pieces that `forward` puts together.

    Attributes:
        fused: channels of f.
        width: channels of v.
    """

    fused: int
    width: int
    neck: nn.Module
    classify: nn.Module

    @abstractmethod
    def encode(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the maps that `fuse` reads, finest first."""

    @abstractmethod
    def fuse(self, maps: list[Tensor]) -> Tensor:
        """These maps -> f (B, fused, H/4, W/4)."""

    def head(self, f: Tensor) -> Tensor:
        """From f to v (B, width, H/4, W/4)."""
        v: Tensor = self.neck(f)
        return v

    def decode(self, f: Tensor) -> Tensor:
        """Logits (B, 2, H, W) of f."""
        return enlarge(self.classify(self.head(f)))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, 2, H, W)."""
        return self.decode(self.fuse(self.encode(images)))


class DeepLabSegNet(SegNet):
    """DeepLabv3+ of segmentation-models-pytorch at output stride 16.

    Args:
        name: timm's name of the encoder.
        weights: "imagenet", "packaged" or "none".
    """

    def __init__(self, name: str, weights: str) -> None:
        super().__init__()
        net = on_timm(smp.DeepLabV3Plus, name, weights, decoder_atrous_rates=RATES)
        decoder = net.decoder
        self.encoder, self.aspp, self.up = net.encoder, decoder.aspp, decoder.up
        self.low, self.neck = decoder.block1, decoder.block2
        self.width = net.segmentation_head[0].in_channels
        self.fused = self.width + self.low[0].out_channels
        self.classify = nn.Conv2d(self.width, CLASSES, 1)

    def encode(self, images: Tensor) -> list[Tensor]:
        maps = self.encoder(images)
        return [maps[2], maps[-1]]  # strides 4 and 16

    def fuse(self, maps: list[Tensor]) -> Tensor:
        low, deep = maps
        return torch.cat((self.up(self.aspp(deep)), self.low(low)), dim=1)


class UNetSegNet(SegNet):
    """The U-Net of 2015 with padding and batch norm, its decoder cut at stride 4; from scratch.

    Cut there for all methods to find f at one stride: attention between its pixels (CSC-PA) needs
    memory with the fourth power of the map's side.

    Args:
        width: channels of the finest level; 64 in the paper.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        self.down = contraction(widths)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(coarse, coarse // 2, 2, stride=2) for coarse in widths[:2:-1]
        )
        self.join = convolutions(widths[4], widths[3])
        self.width = widths[2]
        self.fused = 2 * self.width
        self.neck = convolutions(self.fused, self.width)
        self.classify = nn.Conv2d(self.width, CLASSES, 1)

    def encode(self, images: Tensor) -> list[Tensor]:
        return contract(self.down, images)[2:]  # strides 4, 8 and 16

    def fuse(self, maps: list[Tensor]) -> Tensor:
        fine, middle, deep = maps
        h = self.join(torch.cat((middle, self.up[0](deep)), dim=1))
        return torch.cat((fine, self.up[1](h)), dim=1)


def enlarge(logits: Tensor) -> Tensor:
    """Bilinearly from stride 4 to full size, as DeepLabv3+ and its ports have it."""
    return F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=True)
