"""Swin UNETR in two dimensions (Hatamizadeh et al., BrainLes 2022), from MONAI."""

from typing import Any

from monai.networks.nets import SwinUNETR
from torch import Tensor, nn

from baselines.networks.backbone import Backbone


def swin_unetr(features: int) -> Any:  # noqa: ANN401 - monai is untyped
    """(B, 3, H, W) -> logits (B, 1, H, W); sides are multiples of 32.

    Args:
        features: width of the finest map; 48 in the paper, 24 by MONAI's default.
    """
    return SwinUNETR(
        in_channels=3,
        out_channels=1,
        spatial_dims=2,
        feature_size=features,
        depths=(2, 2, 2, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
        patch_size=2,
        norm_name="instance",
    )


class SwinUNETRBackbone(Backbone):
    """At feature size 48, without the last convolution: 25,139,226 parameters."""

    deep, fine = 768, 48

    def __init__(self) -> None:
        super().__init__()
        self.net = swin_unetr(self.fine)
        self.net.out = nn.Identity()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> (B, 768, H/32, W/32), (B, 48, H, W)."""
        deepest: list[Tensor] = []
        bottleneck: nn.Module = self.net.get_submodule("encoder10")
        # MONAI gives the last map only: the deepest is taken as it passes
        handle = bottleneck.register_forward_hook(lambda _, __, output: deepest.append(output))
        try:
            fine: Tensor = self.net(images)
        finally:
            handle.remove()
        return deepest[0], fine
