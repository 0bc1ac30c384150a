"""The network of ProPL (arXiv:2511.15057, section 3): one encoder, two prompted decoders.

Widths for ConvNeXt-Tiny at 224x224; C, M and D as in the paper.

    v1 96@56   v2 192@28   v3 384@14   v4 768@7
    v4 -> PuD(7x7)  -> up with v3 -> PuD(14x14) -> up with v2 -> PuD(28x28) -> up with v1
       -> sub-pixel x4 -> 24@224 -> 1x1 convolution -> 1@224

The decoders do the same in less work where that changes no value: see `Decoder`. With the prompting
of DoDNet or CLIP-UM (Figure 2) the blocks are not guided, and the last convolution is another for
each image: see `DynamicDecoder`.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import SubpixelUpsample, UnetOutBlock, UnetrUpBlock
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from baselines.networks.backbone import Backbone
from baselines.networks.clip_um import CLIPUniversal
from baselines.networks.dodnet import DoDNet
from baselines.networks.encoders import Encoder
from propl.passes import up
from propl.prompts import TOKENS

PROMPTINGS = ("pud", "clip_um", "dodnet", "none")
TEXT_TOKENS = (24, 12, 9)  # M of the guided blocks, coarse to fine (released code)
FINAL_WIDTH = 24
SCALE = 4  # of the sub-pixel upsampling


def positions(length: int, width: int) -> Tensor:
    """Sinusoidal encoding (1, length, width) of a row of tokens (Vaswani et al., 2017)."""
    place = torch.arange(length, dtype=torch.float32)[:, None]
    pair = torch.arange(0, width, 2, dtype=torch.float32)
    angle = place * torch.exp(pair * (-math.log(10_000.0) / width))
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)[None, :, :width]


class TextAdapter(nn.Module):
    """tau: 24 text tokens of width D to M tokens of a block's width C (equation 2)."""

    def __init__(self, text_width: int, tokens: int, width: int) -> None:
        super().__init__()
        # over the token axis as channels; the activations are in the released code only
        self.over_tokens = nn.Conv1d(TOKENS, tokens, kernel_size=1)
        self.over_width = nn.Linear(text_width, width)

    def forward(self, text: Tensor) -> Tensor:
        """(B, 24, D) -> (B, M, C)."""
        mixed = nn.functional.gelu(self.over_tokens(text))
        return nn.functional.leaky_relu(self.over_width(mixed), 0.01)


class Prompting(nn.Module):
    """Prompting-upon-decoding: image tokens attend to themselves, then to the text.

    Norms before and after attention and the position encodings are the released code's; the
    paper's equations 1 and 3 leave them out. Padding tokens of the text take part, as there.

    Args:
        width: C of the image tokens.
        places: h * w, how many there are.
        tokens: M of the text.
        text_width: D.
    """

    def __init__(self, width: int, places: int, tokens: int, text_width: int) -> None:
        super().__init__()
        self.adapter = TextAdapter(text_width, tokens, width)
        self.attend_self = nn.MultiheadAttention(width, num_heads=1, batch_first=True)
        self.attend_text = nn.MultiheadAttention(width, num_heads=4, batch_first=True)
        self.norm_self, self.norm_text = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm_self_out, self.norm_text_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.alpha = nn.Parameter(torch.tensor(1.7))
        self.place: Tensor
        self.place_text: Tensor
        self.register_buffer("place", positions(places, width), persistent=False)
        self.register_buffer("place_text", positions(tokens, width), persistent=False)

    def forward(self, v: Tensor, text: Tensor) -> Tensor:
        """N passes (N * B, C, h, w) of the images of texts (B, 24, D) -> (N * B, C, h, w)."""
        z = v.flatten(2).transpose(1, 2)  # (N * B, h*w, C)
        tau = self.adapter(text).repeat(len(v) // len(text), 1, 1)  # (N * B, M, C)

        u = self.norm_self(z)
        q = u + self.place
        z = z + self.norm_self_out(self.attend_self(q, q, u, need_weights=False)[0])
        u = self.norm_text(z)
        q, k = u + self.place, tau + self.place_text
        h = z + self.alpha * self.norm_text_out(self.attend_text(q, k, tau, need_weights=False)[0])
        prompted: Tensor = h.transpose(1, 2).reshape(v.shape)
        return prompted


class Blocks(nn.Module):
    """What every decoder has: three blocks, guided or not, and the sub-pixel upsampling.

    Args:
        channels: of v1 to v4.
        prompts: of the three blocks, from coarse to fine; none, and no text has a way in.
    """

    def __init__(self, channels: list[int], prompts: Sequence[Prompting] = ()) -> None:
        super().__init__()
        self.prompts = nn.ModuleList(prompts)
        self.ups = nn.ModuleList(
            UnetrUpBlock(
                spatial_dims=2,
                in_channels=coarse,
                out_channels=fine,
                kernel_size=3,
                upsample_kernel_size=2,
                norm_name="BATCH",
                res_block=False,
            )
            for coarse, fine in pairwise(channels[::-1])  # v4 to v1
        )
        self.subpixel = SubpixelUpsample(2, channels[0], FINAL_WIDTH, SCALE)

    def climb(self, features: list[Tensor], text: Tensor | None = None) -> Tensor:
        """v1 to v4, or N passes of v4, to maps of v1's shape, (N * B, C, h, w)."""
        *skips, h = features
        for index, block in enumerate(self.ups):
            if self.prompts:
                h = self.prompts[index](h, text)
            h = up(block, h, skips[-1 - index])
        return h


class Decoder(Blocks):
    """The paper's: guided blocks, upsampling, one convolution for all tasks.

    It decodes several disturbed passes at once (`propl.passes`), and it folds the last convolution
    into the one before the upsampling.

    Args:
        channels: of v1 to v4.
        text_width: D.
        size: px, of the images.
        prompting: without it (ablation of Tables 4-6) the text has no way in.
    """

    def __init__(
        self, channels: list[int], text_width: int, size: int, *, prompting: bool = True
    ) -> None:
        guided = zip(channels[:0:-1], (32, 16, 8), TEXT_TOKENS, strict=True)
        prompts = [
            Prompting(width, (size // stride) ** 2, tokens, text_width)
            for width, stride, tokens in guided
            if prompting
        ]
        super().__init__(channels, prompts)
        self.out = UnetOutBlock(2, FINAL_WIDTH, 1)

    def forward(self, features: list[Tensor], text: Tensor) -> Tensor:
        """Logits of images, or of N passes that differ in v4.

        Args:
            features: v1 to v3 of B images, and v4 of the same or of N passes, (N * B, ...).
            text: (B, 24, D).

        Returns:
            (B, 1, H, W) or (N * B, 1, H, W).
        """
        return self._logits(self.climb(features, text))

    def _logits(self, h: Tensor) -> Tensor:
        """`out(subpixel(h))`, but the 24 maps of full size are never made.

        From the convolution before the shuffle to the one after it all is linear: the weights of
        the first are mixed by those of the last, and one map is shuffled in place of 24.
        """
        wide, last = self.subpixel.conv_block, self.out.conv.conv
        mix, by_map = last.weight.flatten(), (FINAL_WIDTH, SCALE**2)
        weight = torch.einsum("m,mscij->scij", mix, wide.weight.unflatten(0, by_map))
        bias = mix @ wide.bias.unflatten(0, by_map)
        fine = F.pixel_shuffle(F.conv2d(h, weight, bias, padding=1), SCALE)  # (B, 1, H, W)
        logits: Tensor = self.subpixel.pad_pool(fine) + last.bias
        return logits


class Trunk(Blocks, Backbone):
    """The paper's decoder without prompts and without its last convolution."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__(channels)
        self.deep, self.fine = channels[-1], FINAL_WIDTH

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """v1 to v4, or N passes of v4 -> v4 as it came, (N * B, 24, H, W)."""
        fine: Tensor = self.subpixel(self.climb(features))
        return features[-1], fine


class DynamicDecoder(nn.Module):
    """Prompting of DoDNet or CLIP-UM: filters made for each image and task end the decoder.

    They are made from the pooled v4, of each pass its own, and the task's number or embedding.

    Args:
        network: that of DoDNet or CLIP-UM, on a `Trunk`.
    """

    def __init__(self, network: DoDNet | CLIPUniversal) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: list[Tensor], tasks: Tensor) -> Tensor:
        """As `Decoder`, but it is told the tasks' numbers (B,)."""
        passes = len(features[-1]) // len(tasks)
        logits: Tensor = self.network(features, tasks.repeat(passes))
        return logits


def decoder(prompting: str, channels: list[int], text: Tensor, size: int) -> nn.Module:
    """A decoder with one of PROMPTINGS; other arguments are those of `ProPLNet`."""
    if prompting == "dodnet":
        return DynamicDecoder(DoDNet(len(text), Trunk(channels)))
    if prompting == "clip_um":
        return DynamicDecoder(CLIPUniversal(text.clone(), Trunk(channels)))  # no two share storage
    return Decoder(channels, text.shape[-1], size, prompting=prompting == "pud")


class ProPLNet(nn.Module):
    """Shared encoder; decoder S learns from masks, decoder P from pseudo-labels.

    Args:
        encoder: shared.
        text: (tasks, 24, D), features of the prompts, frozen; for "clip_um" (tasks, D).
        size: px, of the images.
        prompting: one of PROMPTINGS.
    """

    def __init__(self, encoder: Encoder, text: Tensor, size: int, prompting: str = "pud") -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder_s = decoder(prompting, encoder.channels, text, size)
        self.decoder_p = decoder(prompting, encoder.channels, text, size)
        self.dynamic = isinstance(self.decoder_p, DynamicDecoder)
        self.text: Tensor
        self.register_buffer("text", None if self.dynamic else text)
        self.batch_statistics = any(isinstance(m, _BatchNorm) for m in encoder.modules())

    def prompt(self, tasks: Tensor) -> Tensor:
        """What the decoders are told of tasks (B,): features of their prompts, or their numbers."""
        return tasks if self.dynamic else self.text[tasks]

    def encode(self, *parts: Tensor) -> list[list[Tensor]]:
        """v1 to v4 of every part of a batch, as if it were encoded alone.

        One call does where each image is normalised by itself (ConvNeXt). An encoder with batch
        statistics gets a call for each part, as in the released code: together, predictions of
        labelled images would depend on the unlabelled ones beside them.
        """
        if self.batch_statistics:
            return [self.encoder(part) for part in parts]
        sizes = [len(part) for part in parts]
        levels = [level.split(sizes) for level in self.encoder(torch.cat(parts))]
        return [list(part) for part in zip(*levels, strict=True)]
