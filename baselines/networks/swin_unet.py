"""The network of Swin-Unet (Cao et al., arXiv:2105.05537, section 3), of timm's Swin blocks."""

from collections.abc import Sequence
from typing import Any

from timm.layers import trunc_normal_
from timm.models.swin_transformer import SwinTransformerBlock
from torch import nn

from baselines.networks.encoders import pretrained_model
from baselines.networks.token_unet import TokenUNet

WINDOW = 7
HEAD_WIDTH = 32


def swin_stage(width: int, side: int, drop_path: Sequence[float]) -> nn.Module:
    """Blocks whose windows are shifted in turn; one window, unshifted, where all tokens fit."""
    return nn.Sequential(
        *(
            SwinTransformerBlock(
                width,
                (side, side),
                num_heads=width // HEAD_WIDTH,
                window_size=WINDOW,
                shift_size=WINDOW // 2 if index % 2 else 0,
                drop_path=rate,
            )
            for index, rate in enumerate(drop_path)
        )
    )


class SwinUNet(TokenUNet):
    """27,168,132 parameters at 224x224.

    Args:
        size: height and width of the images in px.
        encoder: timm's name of the Swin-T whose weights it may begin from.
        weights: "imagenet" or "none".

    Raises:
        WeightsError: weights that cannot be had.
    """

    def __init__(self, size: int, encoder: str, weights: str) -> None:
        super().__init__(size, 96, swin_stage)
        self.apply(_initialise)
        if weights == "imagenet":
            self.load_mirrored(pretrained_model(encoder, img_size=size))

    def load_mirrored(self, swin: Any) -> None:  # noqa: ANN401 - timm is untyped
        """Copy Swin-T into the encoder, and its stages into the decoder stages of the same width.

        As the released code: of Swin-T's six blocks in stage 3 the first two are used, and the
        expanding layers begin from scratch.
        """
        self.embed.load_state_dict(swin.patch_embed.state_dict())
        self.norm.load_state_dict(swin.norm.state_dict())
        for level, layer in enumerate(swin.layers):
            if level:
                self.merge[level - 1].load_state_dict(layer.downsample.state_dict())
            stages = [self.down[level]] if level == 3 else [self.down[level], self.up[2 - level]]
            for stage in stages:
                for index, block in enumerate(stage.children()):
                    block.load_state_dict(layer.blocks[index].state_dict())


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
