"""The network of ProPL (arXiv:2511.15057, section 3): one encoder, two prompted decoders.

Widths for ConvNeXt-Tiny at 224x224; C, M and D as in the paper.

    v1 96@56   v2 192@28   v3 384@14   v4 768@7
    v4 -> PuD(7x7)  -> up with v3 -> PuD(14x14) -> up with v2 -> PuD(28x28) -> up with v1
       -> sub-pixel x4 -> 24@224 -> 1x1 convolution -> 1@224
"""

import math
from itertools import pairwise

import torch
from monai.networks.blocks import SubpixelUpsample, UnetOutBlock, UnetrUpBlock
from torch import Tensor, nn

from baselines.networks.encoders import Encoder
from propl.prompts import TOKENS

TEXT_TOKENS = (24, 12, 9)  # M of the guided blocks, coarse to fine (released code)
FINAL_WIDTH = 24


def positions(length: int, width: int, like: Tensor) -> Tensor:
    """Sinusoidal encoding (1, length, width) of a row of tokens (Vaswani et al., 2017)."""
    place = torch.arange(length, device=like.device, dtype=like.dtype)[:, None]
    pair = torch.arange(0, width, 2, device=like.device, dtype=like.dtype)
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
    """

    def __init__(self, width: int, tokens: int, text_width: int) -> None:
        super().__init__()
        self.adapter = TextAdapter(text_width, tokens, width)
        self.attend_self = nn.MultiheadAttention(width, num_heads=1, batch_first=True)
        self.attend_text = nn.MultiheadAttention(width, num_heads=4, batch_first=True)
        self.norm_self, self.norm_text = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm_self_out, self.norm_text_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.alpha = nn.Parameter(torch.tensor(1.7))

    def forward(self, v: Tensor, text: Tensor) -> Tensor:
        """(B, C, h, w) and (B, 24, D) -> (B, C, h, w)."""
        z = v.flatten(2).transpose(1, 2)  # (B, h*w, C)
        tau = self.adapter(text)  # (B, M, C)
        place = positions(z.shape[1], z.shape[2], z)
        place_text = positions(tau.shape[1], tau.shape[2], tau)

        u = self.norm_self(z)
        q = u + place
        z = z + self.norm_self_out(self.attend_self(q, q, u, need_weights=False)[0])
        u = self.norm_text(z)
        attended, _ = self.attend_text(u + place, tau + place_text, tau, need_weights=False)
        h = z + self.alpha * self.norm_text_out(attended)
        prompted: Tensor = h.transpose(1, 2).reshape(v.shape)
        return prompted


class Decoder(nn.Module):
    """Three guided blocks, then sub-pixel upsampling.

    Args:
        channels: of v1 to v4.
        text_width: D.
        prompting: without it (ablation of Tables 4-6) the text has no way in.
    """

    def __init__(self, channels: list[int], text_width: int, *, prompting: bool = True) -> None:
        super().__init__()
        down = channels[::-1]  # v4 to v1
        self.prompts = nn.ModuleList(
            Prompting(width, tokens, text_width)
            for width, tokens in zip(down[:3], TEXT_TOKENS, strict=True)
            if prompting
        )
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
            for coarse, fine in pairwise(down)
        )
        self.subpixel = SubpixelUpsample(2, channels[0], FINAL_WIDTH, 4)
        self.out = UnetOutBlock(2, FINAL_WIDTH, 1)

    def forward(self, features: list[Tensor], text: Tensor) -> Tensor:
        """v1 to v4 and text (B, 24, D) -> logits (B, 1, H, W)."""
        *skips, h = features
        for index, up in enumerate(self.ups):
            if self.prompts:
                h = self.prompts[index](h, text)
            h = up(h, skips[-1 - index])
        logits: Tensor = self.out(self.subpixel(h))
        return logits


class ProPLNet(nn.Module):
    """Shared encoder; decoder S learns from masks, decoder P from pseudo-labels."""

    def __init__(self, encoder: Encoder, text: Tensor, *, prompting: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder_s = Decoder(encoder.channels, text.shape[-1], prompting=prompting)
        self.decoder_p = Decoder(encoder.channels, text.shape[-1], prompting=prompting)
        self.text: Tensor
        self.register_buffer("text", text)  # (tasks, 24, D), frozen
