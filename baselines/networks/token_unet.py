"""The skeleton that Swin-Unet and Mamba-UNet share: a U-Net on a grid of tokens, no convolutions.

Widths at 224x224, with C = 96; tokens lie channels last, (B, h, w, C).

    4x4 patches      96@56  -> stage -> merge
                    192@28  -> stage -> merge
                    384@14  -> stage -> merge
                    768@7   -> stage -> norm -> expand
    join with 384@14 -> stage -> expand
    join with 192@28 -> stage -> expand
    join with  96@56 -> stage -> norm -> expand x4 -> 1@224

A skip connection is the input of the encoder's stage, not its output.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from timm.layers import PatchEmbed
from timm.models.swin_transformer import PatchMerging
from torch import Tensor, nn

DEPTHS = (2, 2, 2, 2)
# width, side of the token grid, drop-path rates of its blocks -> blocks on (B, h, w, C)
Stage = Callable[[int, int, Sequence[float]], nn.Module]


class Expand(nn.Module):
    """Spread each token's channels over `scale` x `scale` tokens.

    Args:
        width: of a token.
        scale: of the sides.
        inner: width of a token after the spreading.
    """

    def __init__(self, width: int, scale: int, inner: int) -> None:
        super().__init__()
        self.scale = scale
        self.expand = nn.Linear(width, scale * scale * inner, bias=False)
        self.norm = nn.LayerNorm(inner)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, scale*h, scale*w, inner)."""
        s = self.scale
        x = self.expand(x).unflatten(-1, (s, s, -1))  # (B, h, w, s, s, inner)
        x = x.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)
        spread: Tensor = self.norm(x)
        return spread


def drop_path_rates(last: float, depths: Sequence[int]) -> list[list[float]]:
    """Rates of the blocks of every stage, growing linearly from 0 to `last`."""
    rates = iter(np.linspace(0, last, sum(depths)).tolist())
    return [[next(rates) for _ in range(depth)] for depth in depths]


class TokenUNet(nn.Module):
    """Four stages down, three up.

    Args:
        size: height and width of the images in px.
        width: C, of the finest tokens.
        stage: makes the blocks of one stage.
        drop_path: of the last encoder block; rates grow linearly from 0. A decoder stage has the
            rates of the encoder stage that it mirrors.
    """

    def __init__(self, size: int, width: int, stage: Stage, drop_path: float = 0.2) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(4)]
        sides = [size // (4 * 2**level) for level in range(4)]
        stages = list(zip(widths, sides, drop_path_rates(drop_path, DEPTHS), strict=True))
        self.embed = PatchEmbed(
            size, 4, 3, width, norm_layer=nn.LayerNorm, flatten=False, output_fmt="NHWC"
        )
        self.down = nn.ModuleList(stage(*of) for of in stages)
        self.merge = nn.ModuleList(PatchMerging(wide) for wide in widths[:3])
        self.norm = nn.LayerNorm(widths[3])
        self.expand = nn.ModuleList(Expand(wide, 2, wide // 2) for wide in widths[:0:-1])
        self.join = nn.ModuleList(nn.Linear(2 * wide, wide) for wide in widths[2::-1])
        self.up = nn.ModuleList(stage(*of) for of in stages[2::-1])
        self.norm_up = nn.LayerNorm(width)
        self.to_pixels = Expand(width, 4, width)
        self.out = nn.Conv2d(width, 1, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, 1, H, W)."""
        x = self.embed(images)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            if level:
                x = self.merge[level - 1](x)
            skips.append(x)
            x = blocks(x)
        x = self.norm(x)
        for expand, join, blocks, skip in zip(
            self.expand, self.join, self.up, skips[2::-1], strict=True
        ):
            x = blocks(join(torch.cat((expand(x), skip), dim=-1)))
        x = self.to_pixels(self.norm_up(x))
        logits: Tensor = self.out(x.permute(0, 3, 1, 2))
        return logits
