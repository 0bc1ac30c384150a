"""The network of DoDNet (Zhang et al., CVPR 2021, arXiv:2011.10217), in two dimensions.

A residual U-Net with pre-activation and weight-standardised convolutions; the last three layers are
made for each image from its deepest features and the number of its task.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.networks.backbone import Backbone
from baselines.networks.dynamic_head import COUNT, WIDTH, activated, dynamic_head

WIDTHS = (32, 64, 128, 256, 256)
BLOCKS = (1, 2, 2, 2, 2)


class StandardConv(nn.Conv2d):
    """Convolution without bias whose filters have zero mean and unit deviation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        centred = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        deviation = centred.flatten(1).var(dim=1).add(1e-12).sqrt()
        weight = centred / deviation[:, None, None, None]
        return F.conv2d(x, weight, stride=self.stride, padding=self.padding)


class Residual(nn.Module):
    """Two 3x3 convolutions with pre-activation; a 1x1 on the shortcut where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = activated(inputs, StandardConv(inputs, outputs, 3, stride))
        self.second = activated(outputs, StandardConv(outputs, outputs, 3))
        same = inputs == outputs and stride == 1
        shortcut = activated(inputs, StandardConv(inputs, outputs, 1, stride))
        self.shortcut = nn.Identity() if same else shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, C, h/stride, w/stride)."""
        out: Tensor = self.second(self.first(x)) + self.shortcut(x)
        return out


class DoDNetBackbone(Backbone):
    """The encoder and decoder of the paper, from scratch."""

    deep, fine = WIDTHS[-1], WIDTHS[0]

    def __init__(self) -> None:
        super().__init__()
        self.stem = StandardConv(3, WIDTHS[0], 3)
        self.down = nn.ModuleList()
        inputs = WIDTHS[0]
        for level, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS, strict=True)):
            first = Residual(inputs, width, stride=2 if level else 1)
            self.down.append(
                nn.Sequential(first, *(Residual(width, width) for _ in range(blocks - 1)))
            )
            inputs = width
        self.fuse = activated(self.deep, StandardConv(self.deep, self.deep, 1))
        finer = (128, 64, 32, 32)
        self.up = nn.ModuleList(
            Residual(coarse, fine) for coarse, fine in zip((256, *finer[:3]), finer, strict=True)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> (B, 256, H/16, W/16), (B, 32, H, W)."""
        x = self.stem(images)
        skips: list[Tensor] = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        deep = x = self.fuse(x)
        for up, skip in zip(self.up, skips[-2::-1], strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = up(x + skip)
        return deep, x


class DoDNet(nn.Module):
    """5,954,761 parameters for eight tasks.

    Args:
        tasks: how many.
        backbone: gives the deepest and the finest map.
    """

    def __init__(self, tasks: int, backbone: Backbone) -> None:
        super().__init__()
        self.tasks = tasks
        self.backbone = backbone
        self.pool = activated(backbone.deep, nn.AdaptiveAvgPool2d(1))
        self.controller = nn.Linear(backbone.deep + tasks, COUNT)
        self.reduce = activated(backbone.fine, nn.Conv2d(backbone.fine, WIDTH, 1))

    def forward(self, images: Tensor | list[Tensor], tasks: Tensor) -> Tensor:
        """What the backbone reads of B images, and task numbers (B,) -> logits (B, 1, H, W)."""
        deep, fine = self.backbone(images)
        number = F.one_hot(tasks, self.tasks).to(deep.dtype)
        parameters = self.controller(torch.cat((self.pool(deep).flatten(1), number), dim=1))
        return dynamic_head(self.reduce(fine), parameters)
