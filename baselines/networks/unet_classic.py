"""U-Net and UNet++ as most medical papers mean them: no pretrained encoder, batch norm, padding.

Both are made of the same pair of 3x3 convolutions. Widths double from level to level; the U-Net of
2015 has valid convolutions and crops where these pad.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def convolutions(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions with bias, each with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def contraction(widths: list[int]) -> nn.ModuleList:
    """The way down of a U-Net: a pair of convolutions for each level, the finest first."""
    pairs = zip([3, *widths[:-1]], widths, strict=True)
    return nn.ModuleList(convolutions(inputs, outputs) for inputs, outputs in pairs)


def contract(levels: nn.ModuleList, images: Tensor) -> list[Tensor]:
    """Maps of all levels at strides 1, 2, 4, ... of images (B, 3, H, W)."""
    maps: list[Tensor] = []
    h = images
    for number, level in enumerate(levels):
        h = level(F.max_pool2d(h, 2) if number else h)
        maps.append(h)
    return maps


class ClassicUNet(nn.Module):
    """Ronneberger et al., MICCAI 2015: five levels, transposed convolutions. 31,043,521 parameters.

    Args:
        width: channels of the finest level.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        self.down = contraction(widths)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * fine, fine, 2, stride=2) for fine in widths[-2::-1]
        )
        self.join = nn.ModuleList(convolutions(2 * fine, fine) for fine in widths[-2::-1])
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, 1, H, W); sides are multiples of 16."""
        skips = contract(self.down, images)
        h = skips[-1]
        for up, join, skip in zip(self.up, self.join, skips[-2::-1], strict=True):
            h = join(torch.cat((skip, up(h)), dim=1))
        logits: Tensor = self.out(h)
        return logits


class NestedUNet(nn.Module):
    """UNet++ (Zhou et al., DLMIA 2018), bilinear upsampling, no deep supervision: 9,163,329.

    X(i, j) is level i (0 the finest) after j nested steps; it reads X(i, 0..j-1) and X(i+1, j-1).

    Args:
        width: channels of the finest level.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        self.blocks = nn.ModuleDict()
        for j in range(5):
            for i in range(5 - j):
                inputs = j * widths[i] + widths[i + 1] if j else [3, *widths][i]
                self.blocks[f"x{i}{j}"] = convolutions(inputs, widths[i])
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, 1, H, W); sides are multiples of 16."""
        x: dict[tuple[int, int], Tensor] = {}
        for i in range(5):
            x[i, 0] = self.blocks[f"x{i}0"](F.max_pool2d(x[i - 1, 0], 2) if i else images)
        for j in range(1, 5):
            for i in range(5 - j):
                below = F.interpolate(
                    x[i + 1, j - 1], scale_factor=2, mode="bilinear", align_corners=True
                )
                row = [x[i, before] for before in range(j)]
                x[i, j] = self.blocks[f"x{i}{j}"](torch.cat((*row, below), dim=1))
        logits: Tensor = self.out(x[0, 4])
        return logits
