"""The network of the CLIP-driven universal model (Liu et al., ICCV 2023), in two dimensions.

A U-Net; the last three layers are made for each image and task from the image's deepest features
and the text embedding of the task.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.networks.backbone import Backbone
from baselines.networks.dynamic_head import COUNT, WIDTH, activated, dynamic_head

CODE = 256  # width that image and text are brought to


def convolution(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution with bias, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class UNetBackbone(Backbone):
    """64 to 512 channels, 6,822,464 parameters: the released 3D U-Net with one dimension less.

    Batch norm is used as usual; the released one takes its statistics from the batch at test time
    too, so that an image's prediction would depend on its neighbours.
    """

    deep, fine = 512, 64

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.Sequential(convolution(inputs, half), convolution(half, 2 * half))
            for inputs, half in ((3, 32), (64, 64), (128, 128), (256, 256))
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(width, width, 2, stride=2) for width in (512, 256, 128)
        )
        self.join = nn.ModuleList(
            nn.Sequential(convolution(3 * width, width), convolution(width, width))
            for width in (256, 128, 64)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> (B, 512, H/8, W/8), (B, 64, H, W)."""
        x = images
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        deep = x
        for up, join, skip in zip(self.up, self.join, skips[-2::-1], strict=True):
            x = join(torch.cat((up(x), skip), dim=1))
        return deep, x


class CLIPUniversal(nn.Module):
    """7,165,281 parameters on the U-Net with CLIP's text width of 512.

    Args:
        text: (tasks, D) embeddings of the tasks' prompts, frozen.
        backbone: gives the deepest and the finest map.
    """

    def __init__(self, text: Tensor, backbone: Backbone) -> None:
        super().__init__()
        deep, fine = backbone.deep, backbone.fine
        self.text: Tensor
        self.register_buffer("text", text)
        self.backbone = backbone
        self.from_text = nn.Linear(text.shape[1], CODE)
        self.from_image = activated(deep, nn.AdaptiveAvgPool2d(1), nn.Conv2d(deep, CODE, 1))
        self.controller = nn.Linear(2 * CODE, COUNT)
        self.reduce = activated(fine, nn.Conv2d(fine, WIDTH, 1))

    def forward(self, images: Tensor | list[Tensor], tasks: Tensor) -> Tensor:
        """What the backbone reads of B images, and task numbers (B,) -> logits (B, 1, H, W).

        Only the channel of an image's own task is made: the others have no label to learn from.
        """
        deep, fine = self.backbone(images)
        image = self.from_image(deep).flatten(1)
        text = F.relu(self.from_text(self.text))[tasks]
        parameters = self.controller(torch.cat((image, text), dim=1))
        return dynamic_head(self.reduce(fine), parameters)
