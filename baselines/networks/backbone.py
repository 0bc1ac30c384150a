"""What the universal methods with dynamic filters need of the network below them."""

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from baselines.networks.smp_timm import on_timm


class Backbone(nn.Module):
    """(B, 3, H, W) -> deepest map (B, deep, h, w) and map at full size (B, fine, H, W).

    Attributes:
        deep, fine: channels of the two maps.
    """

    deep: int
    fine: int


class EncoderBackbone(Backbone):
    """A U-Net on any timm encoder, which `--encoder` puts in the place of a method's own.

    Args:
        name: timm's.
        weights: "imagenet", "packaged" or "none".
    """

    def __init__(self, name: str, weights: str) -> None:
        super().__init__()
        net = on_timm(smp.Unet, name, weights)
        self.encoder: nn.Module = net.encoder
        self.decoder: nn.Module = net.decoder
        self.deep = net.encoder.out_channels[-1]
        self.fine = net.segmentation_head[0].in_channels

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> (B, deep, H/32, W/32), (B, fine, H, W)."""
        features = self.encoder(images)
        return features[-1], self.decoder(features)
