"""The network of H2Former (He et al., IEEE TMI 42(9), 2023): ResNet-34 and Swin blocks in turn.

Every stage adds two maps of one size, the next ResNet layer's and a multi-scale one, and passes the
sum through two Swin blocks. The image is halved once before the first stage, so that its windows
cover 112x112 tokens. At 224x224:

    stem 64@112 + multi-scale(image) -> 64@112 -> 128@56 -> 256@28 -> 512@14 -> decoder -> 1@224
"""

import timm
import torch
from timm.layers import Mlp
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.networks.encoders import pretrained_model
from baselines.networks.token_unet import drop_path_rates

WIDTHS = (64, 128, 256, 512)
HEADS = (2, 4, 8, 16)
DEPTH = 2


class ChannelAttention(nn.Module):
    """Efficient channel attention with a residual: x * w + x."""

    def __init__(self) -> None:
        super().__init__()
        self.over_channels = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        pooled = x.mean(dim=(2, 3))[:, None]  # (B, 1, C)
        weight = self.over_channels(pooled).sigmoid()[:, 0, :, None, None]
        weighted: Tensor = x * weight + x
        return weighted


class MultiScale(nn.Module):
    """Parallel convolutions of stride 2 and several kernels, weighted by channel attention.

    Args:
        inputs: channels.
        outputs: kernel -> channels it makes.
    """

    def __init__(self, inputs: int, outputs: dict[int, int]) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.Conv2d(inputs, width, kernel, stride=2, padding=(kernel - 2) // 2)
            for kernel, width in outputs.items()
        )
        self.attention = ChannelAttention()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, sum of outputs, h/2, w/2)."""
        joined: Tensor = self.attention(torch.cat([scale(x) for scale in self.scales], dim=1))
        return joined


class AttendedMlp(nn.Module):
    """The Swin block's MLP, followed by channel attention.

    Args:
        width: of a token.
        side: of the token grid.
        scrambled: as released: the tokens (B, N, C) are taken for a map (B, C, h, w) as they lie in
            memory, which mixes tokens and channels by a fixed permutation.
    """

    def __init__(self, width: int, side: int, *, scrambled: bool) -> None:
        super().__init__()
        self.mlp = Mlp(width, 4 * width)
        self.side = side
        self.scrambled = scrambled
        self.attention = ChannelAttention()

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> the same shape."""
        x = self.mlp(x)
        channels_first = x.reshape(len(x), x.shape[2], -1) if self.scrambled else x.transpose(1, 2)
        attended: Tensor = self.attention(channels_first.unflatten(2, (self.side, self.side)))
        return attended.flatten(2).transpose(1, 2)


class SwinStage(nn.Module):
    """Two Swin blocks with `AttendedMlp`, on a map.

    Args:
        width: channels.
        side: of the map.
        heads: of the attention.
        window: side of a window.
        drop_path: rates of the blocks.
        scrambled: of `AttendedMlp`.
    """

    def __init__(
        self,
        width: int,
        side: int,
        heads: int,
        window: int,
        drop_path: list[float],
        *,
        scrambled: bool,
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential()
        for index, rate in enumerate(drop_path):
            block = SwinTransformerBlock(
                width,
                (side, side),
                num_heads=heads,
                window_size=window,
                shift_size=window // 2 if index % 2 else 0,
                drop_path=rate,
            )
            block.mlp = AttendedMlp(width, side, scrambled=scrambled)
            self.blocks.append(block)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        attended: Tensor = self.blocks(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return attended


class Up(nn.Module):
    """Transposed convolution, skip connection, one convolution."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(coarse, fine, 2, stride=2)
        self.join = nn.Sequential(
            nn.Conv2d(2 * fine, fine, 3, padding=1), nn.BatchNorm2d(fine), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, C, h, w) and (B, c, 2h, 2w) -> (B, c, 2h, 2w)."""
        joined: Tensor = self.join(torch.cat((self.up(x), skip), dim=1))
        return joined


class H2Former(nn.Module):
    """33,678,656 parameters at 224x224.

    Args:
        resnet: timm's name of a ResNet-34.
        size: height and width of the images in px; a window is a sixteenth of it.
        weights: "imagenet" or "none", of the ResNet.
        scrambled: of `AttendedMlp`.
    """

    def __init__(self, resnet: str, size: int, weights: str, *, scrambled: bool) -> None:
        super().__init__()
        if weights == "imagenet":
            layers = pretrained_model(resnet)
        else:
            layers = timm.create_model(resnet.split(".")[0])
        layers.conv1.stride = (1, 1)  # the one pooling is what halves the image
        self.stem = nn.Sequential(layers.conv1, layers.bn1, layers.act1, layers.maxpool)
        self.residual = nn.ModuleList(getattr(layers, f"layer{index}") for index in range(1, 5))
        self.scales = nn.ModuleList([MultiScale(3, {2: 32, 4: 16, 8: 8, 16: 8})])
        self.scales.extend(MultiScale(width, {2: width, 4: width}) for width in WIDTHS[:3])
        self.norm_input = nn.LayerNorm(WIDTHS[0])
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in WIDTHS[:3])
        rates = drop_path_rates(0.1, [DEPTH] * len(WIDTHS))
        self.swin = nn.ModuleList(
            SwinStage(
                width,
                size // (2 * 2**level),
                heads,
                size // 16,
                rate,
                scrambled=scrambled,
            )
            for level, (width, heads, rate) in enumerate(zip(WIDTHS, HEADS, rates, strict=True))
        )
        self.up = nn.ModuleList(Up(2 * fine, fine) for fine in WIDTHS[2::-1])
        self.out = nn.Conv2d(WIDTHS[0], 1, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, 1, H, W)."""
        x = self.stem(images)
        beside = _channel_norm(self.norm_input, self.scales[0](images))
        skips: list[Tensor] = []
        for level, (residual, swin) in enumerate(zip(self.residual, self.swin, strict=True)):
            if level:
                beside = self.scales[level](_channel_norm(self.norms[level - 1], x))
            x = swin(residual(x) + beside)
            skips.append(x)
        for up, skip in zip(self.up, skips[2::-1], strict=True):
            x = up(x, skip)
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        logits: Tensor = self.out(x)
        return logits


def _channel_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """Layer norm over the channels of a map."""
    normed: Tensor = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return normed
