"""DRN-D-22, a dilated residual network (Yu, Koltun, Funkhouser, CVPR 2017, arXiv:1705.09914).

No library at hand has it. Strides come from the second layer to the fifth; then dilation keeps the
map at an eighth, and two plain layers smooth the gridding that dilation leaves.
"""

import torch
from torch import Tensor, nn

from baselines.networks.hub import WeightsError

URL = "http://dl.yf.io/drn/drn_d_22-4bd2f8ea.pth"  # its authors' ImageNet weights
WIDTH = 512


def unit(
    inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1
) -> list[nn.Module]:
    """Convolution without bias, batch norm, ReLU."""
    padding = dilation * (kernel // 2)
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; names as in the authors' weights."""

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = unit(inputs, outputs, 3, stride, dilation)
        self.conv2, self.bn2, _ = unit(outputs, outputs, 3, 1, dilation)
        same = inputs == outputs and stride == 1
        self.downsample = None if same else nn.Sequential(*unit(inputs, outputs, 1, stride)[:2])

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, C, h/stride, w/stride)."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        added: Tensor = self.relu(out + shortcut)
        return added


class DRN(nn.Module):
    """15,880,752 parameters, without the classifier.

    Args:
        weights: "imagenet" or "none".

    Raises:
        WeightsError: the weights cannot be had.
    """

    def __init__(self, weights: str) -> None:
        super().__init__()

        def stage(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Sequential:
            first = BasicBlock(inputs, outputs, stride, dilation)
            return nn.Sequential(first, BasicBlock(outputs, outputs, 1, dilation))

        self.layer0 = nn.Sequential(*unit(3, 16, 7))
        self.layer1 = nn.Sequential(*unit(16, 16, 3))
        self.layer2 = nn.Sequential(*unit(16, 32, 3, stride=2))
        self.layer3 = stage(32, 64, 2, 1)
        self.layer4 = stage(64, 128, 2, 1)
        self.layer5 = stage(128, 256, 1, 2)
        self.layer6 = stage(256, WIDTH, 1, 4)
        self.layer7 = nn.Sequential(*unit(WIDTH, WIDTH, 3, dilation=2))
        self.layer8 = nn.Sequential(*unit(WIDTH, WIDTH, 3))
        if weights == "imagenet":
            self._load()

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 512, H/8, W/8)."""
        x = images
        for layer in self.children():
            x = layer(x)
        return x

    def _load(self) -> None:
        try:
            state = torch.hub.load_state_dict_from_url(
                URL, map_location="cpu", weights_only=True, progress=False
            )
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"ImageNet weights of DRN-D-22 cannot be fetched from {URL} "
                f"({type(error).__name__}); connect to it, or use --weights none, or "
                "--encoder tf_efficientnet_lite0 --weights packaged"
            ) from error
        self.load_state_dict({name: state[name] for name in self.state_dict() if name in state})
