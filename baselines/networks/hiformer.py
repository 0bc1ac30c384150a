"""The network of HiFormer (Heidari et al., WACV 2023, arXiv:2207.08518, section 3).

A ResNet and three stages of Swin-T side by side; the coarsest and finest maps then exchange their
class tokens in a double-level fusion (DLF). At 224x224:

    F1 @56  -> +Swin1 = s1 (96)  -> merge -> Swin2 + F2 @28 -> merge -> Swin3 + F3 @14 = s3 (384)
    s1, s3  -> DLF -> convolutions -> sum @56 -> 1@224
"""

from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import trunc_normal_
from timm.models.swin_transformer import PatchMerging
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.networks.encoders import create_features, pretrained_model
from baselines.networks.swin_unet import swin_stage
from baselines.networks.token_unet import drop_path_rates

WIDTHS = (96, 192, 384)
DEPTHS = (2, 2, 6)
FINE, COARSE = WIDTHS[0], WIDTHS[2]


@dataclass(frozen=True)
class Size:
    """What tells S, B and L apart; pairs are of the fine and the coarse branch."""

    resnet: str  # timm's name
    depths: tuple[int, int]  # ViT blocks after the exchange
    heads: tuple[int, int]
    ratio: float  # of the MLP in those blocks


SIZES = {
    "s": Size("resnet34.a1_in1k", (1, 1), (3, 3), 1),
    "b": Size("resnet50.a1_in1k", (1, 2), (6, 12), 2),
    "l": Size("resnet34.a1_in1k", (1, 4), (6, 6), 4),
}


class Pyramid(nn.Module):
    """ResNet and Swin stages, summed level by level.

    Args:
        resnet: timm's name.
        swin: timm's name of a Swin-T with weights.
        size: height and width of the images in px.
        weights: "imagenet" or "none", of both.
    """

    def __init__(self, resnet: str, swin: str, size: int, weights: str) -> None:
        super().__init__()
        features = create_features(resnet, weights, out_indices=(1, 2, 3))
        self.resnet = features
        channels = features.feature_info.channels()
        self.project = nn.ModuleList(
            nn.Conv2d(narrow, wide, 1) for narrow, wide in zip(channels, WIDTHS, strict=True)
        )
        rates = drop_path_rates(0.1, DEPTHS)
        self.swin = nn.ModuleList(
            swin_stage(width, size // (4 * 2**level), rate)
            for level, (width, rate) in enumerate(zip(WIDTHS, rates, strict=True))
        )
        self.merge = nn.ModuleList(PatchMerging(width) for width in WIDTHS[:2])
        if weights == "imagenet":
            self._load(pretrained_model(swin, img_size=size))

    def _load(self, swin: Any) -> None:  # noqa: ANN401 - timm is untyped
        for level, stage in enumerate(self.swin):
            stage.load_state_dict(swin.layers[level].blocks.state_dict())
        for level, merge in enumerate(self.merge):
            merge.load_state_dict(swin.layers[level + 1].downsample.state_dict())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> finest map (B, 96, H/4, W/4), coarsest (B, 384, H/16, W/16)."""
        levels = [
            project(level).permute(0, 2, 3, 1)
            for project, level in zip(self.project, self.resnet(images), strict=True)
        ]
        fine = levels[0] + self.swin[0](levels[0])
        middle = levels[1] + self.swin[1](self.merge[0](fine))
        coarse = levels[2] + self.swin[2](self.merge[1](middle))
        return fine.permute(0, 3, 1, 2), coarse.permute(0, 3, 1, 2)


class Exchange(nn.Module):
    """A class token visits the other branch: it attends to that branch's patches, and comes back.

    Args:
        width: of the token's own branch.
        other: of the branch it visits.
        heads: of the attention there.
    """

    def __init__(self, width: int, other: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.there = nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Linear(width, other))
        self.norm = nn.LayerNorm(other)
        self.q, self.k, self.v = (nn.Linear(other, other) for _ in range(3))
        self.out = nn.Linear(other, other)
        self.back = nn.Sequential(nn.LayerNorm(other), nn.GELU(), nn.Linear(other, width))

    def forward(self, token: Tensor, patches: Tensor) -> Tensor:
        """(B, 1, C) and (B, N, D) -> (B, 1, C)."""
        guest = self.there(token)
        z = self.norm(torch.cat((guest, patches), dim=1))
        q, k, v = (
            linear(of).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for linear, of in ((self.q, z[:, :1]), (self.k, z), (self.v, z))
        )
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        returned: Tensor = self.back(guest + self.out(attended))
        return returned


class DoubleLevelFusion(nn.Module):
    """Class tokens of two levels exchanged, then ViT blocks on each level.

    Args:
        size: depths, heads and MLP ratio.
        sides: of the two token grids.
        dead: as released: the outcome of the blocks is dropped, so that patches, which alone are
            decoded, never see the other level.
    """

    def __init__(self, size: Size, sides: tuple[int, int], *, dead: bool) -> None:
        super().__init__()
        self.dead = dead
        self.norm_token = nn.ModuleList(nn.LayerNorm(width) for width in (FINE, COARSE))
        self.place = nn.ParameterList(
            torch.zeros(1, 1 + side * side, width)
            for side, width in zip(sides, (FINE, COARSE), strict=True)
        )
        for place in self.place:
            trunc_normal_(place, std=0.02)
        self.exchange = nn.ModuleList(
            (Exchange(FINE, COARSE, size.heads[1]), Exchange(COARSE, FINE, size.heads[0]))
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Block(width, heads, size.ratio, qkv_bias=True) for _ in range(depth)))
            for width, heads, depth in zip((FINE, COARSE), size.heads, size.depths, strict=True)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(width) for width in (FINE, COARSE))

    def forward(self, fine: Tensor, coarse: Tensor) -> list[Tensor]:
        """Two maps -> two maps of the same shapes."""
        maps = (fine, coarse)
        tokens = []
        for norm, place, level in zip(self.norm_token, self.place, maps, strict=True):
            patches = level.flatten(2).transpose(1, 2)  # (B, N, C)
            token = norm(patches).mean(dim=1, keepdim=True)
            tokens.append(torch.cat((token, patches), dim=1) + place)
        fused = []
        for index, (blocks, norm) in enumerate(zip(self.blocks, self.norm, strict=True)):
            own, other = tokens[index], tokens[1 - index]
            token = self.exchange[index](own[:, :1], other[:, 1:])
            after = blocks(torch.cat((token, own[:, 1:]), dim=1))
            kept = norm(own if self.dead else after)[:, 1:]
            fused.append(kept.transpose(1, 2).reshape(maps[index].shape))
        return fused


class HiFormer(nn.Module):
    """23,253,195 (S), 25,510,955 (B) or 29,518,059 (L) parameters at 224x224.

    Args:
        size: "s", "b" or "l".
        image: height and width of the images in px.
        swin: timm's name of a Swin-T with weights.
        weights: "imagenet" or "none".
        dead: whether the fusion is without effect, as released.
    """

    def __init__(self, size: str, image: int, swin: str, weights: str, *, dead: bool) -> None:
        super().__init__()
        settings = SIZES[size]
        self.pyramid = Pyramid(settings.resnet, swin, image, weights)
        self.fusion = DoubleLevelFusion(settings, (image // 4, image // 16), dead=dead)
        self.fine = _convolution(FINE)
        self.coarse = nn.Sequential(*(_convolution(COARSE), _twice(), _convolution(128), _twice()))
        self.out = nn.Sequential(
            nn.Conv2d(128, 16, 1),
            nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=4, mode="bilinear"),
            nn.Conv2d(16, 1, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, 1, H, W)."""
        fine, coarse = self.fusion(*self.pyramid(images))
        logits: Tensor = self.out(self.fine(fine) + self.coarse(coarse))
        return logits


def _convolution(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, 128, 3, padding=1, bias=False),
        nn.GroupNorm(32, 128),
        nn.ReLU(inplace=True),
    )


def _twice() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="bilinear")
