"""UniMatch (Yang et al., CVPR 2023, arXiv:2208.09910).

FixMatch with a second strong view and a disturbance of features, as LiheYoung/UniMatch at 0324f3d;
by default the losses of its medical scripts, `--variant natural` those of the others. Its second
version (LiheYoung/UniMatch-V2 at f6afb4d) is `--variant v2`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from baselines.semi import SemiSupervised
from benchmark.augment import standardise, strong
from benchmark.ema import Ema
from benchmark.fidelity import Fidelity
from benchmark.keys import derive, stable_key, uniforms
from benchmark.losses import cross_entropy
from benchmark.method import Batch, Clock, Setup
from benchmark.pseudo import Pseudo, evaluating, kept_shares, masked_ce, pseudo, squared_dice
from benchmark.views.boxes import boxes, paste

DROPPED = 0.5  # share of the channels
WHOLE = 0.5  # share of the images that the second version leaves as they are
_SECOND, _CHANNELS = stable_key("unimatch/second view"), stable_key("unimatch/channels")


class UniMatch(SemiSupervised):
    """Two strong views and a copy with dropped channels learn from one weak view."""

    variants: ClassVar = {
        "paper": {},
        "natural": {"dice": False},
        "v2": {"dice": False, "complementary": True},
    }
    fidelity = Fidelity(
        repository="LiheYoung/UniMatch at 0324f3d (more-scenarios/medical), UniMatch-V2 at f6afb4d",
        licence="MIT",
        library="network from segmentation-models-pytorch on timm's encoder; the step is ours",
        theirs="U-Net of 1.8 M parameters (medical), DeepLabv3+ on ResNet-50 or ResNet-101",
        pretraining="none (medical), ImageNet encoder (natural images)",
        recipe="SGD 1e-2, wd 1e-4, poly 0.9, 12 + 12 images, 300 epochs (medical)",
        deviations=(
            "the donor of a box is the image before in the batch; in the medical script it is one "
            "of a second, independent order, in the second version the flipped batch",
            "weak views are the protocol's rotation and scaling, without crops and flips",
            "images are less ImageNet's mean and over its deviation, as in the scripts for natural "
            "images; the medical script leaves them in [0, 1]",
            "in colour a strong view may lose it, as in the scripts for natural images",
            "channels are dropped from the maps that the decoder of this network reads: strides 4 "
            "and 16 of DeepLabv3+, 4 to 16 of the U-Net",
            "complementary dropout (v2) draws channels for each map, since widths differ, and "
            "leaves each image as it is with probability 1/2, not exactly half of a batch",
        ),
    )

    @dataclass(frozen=True)
    class Config(SemiSupervised.Config):
        """Settings of UniMatch."""

        tau: float = 0.95  # least confidence of a pseudo-label
        dice: bool = True  # losses of the medical scripts; false: cross-entropy alone
        complementary: bool = False  # the second version: with a teacher, without L_fp
        decay: float = 0.996  # most that a step keeps of that teacher

    config: Config
    teacher: Ema | None

    def __init__(self, config: Config, setup: Setup) -> None:
        super().__init__(config, setup)
        self.teacher = Ema(self.net, config.decay, "average") if config.complementary else None

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        if self.teacher is not None:
            return self.second_version(batch, self.teacher.net)
        img_x, y_x = self.weak_x(batch)
        img_w = self.weak_u(batch)
        with torch.no_grad(), evaluating(self.net):
            donor = pseudo(self.net(standardise(img_w))).roll()
        img_s1, box_1 = strong_view(img_w, batch.key_u)
        img_s2, box_2 = strong_view(img_w, derive(batch.key_u, _SECOND))

        maps = self.net.encode(standardise(torch.cat((img_x, img_w))))
        dropped = channel_dropout(maps, torch.cat((batch.key_x, batch.key_u)))
        f = self.net.fuse([torch.cat(pair) for pair in zip(maps, dropped, strict=True)])
        pred_x, pred_w, _, pred_fp = self.net.decode(f).split([len(img_x), len(img_w)] * 2)
        pred_s1, pred_s2 = self.net(standardise(torch.cat((img_s1, img_s2)))).chunk(2)

        u = pseudo(pred_w)
        loss_s1 = self.loss_u(pred_s1, u.paste(donor, box_1))
        loss_s2 = self.loss_u(pred_s2, u.paste(donor, box_2))
        loss_fp = self.loss_u(pred_fp, u)
        return {
            "loss_x": self.loss_x(pred_x, y_x) / 2,
            "loss_u": (0.25 * loss_s1 + 0.25 * loss_s2 + 0.5 * loss_fp) / 2,
            **kept_shares(u.conf >= self.config.tau, u.label),
        }

    def second_version(self, batch: Batch, teacher: nn.Module) -> dict[str, Tensor]:
        """Its step: what one strong view lacks, the other has; a teacher gives the labels."""
        img_x, y_x = self.weak_x(batch)
        img_w = self.weak_u(batch)
        with torch.no_grad(), evaluating(teacher):
            u = pseudo(teacher(standardise(img_w)))
        img_s1, box_1 = strong_view(img_w, batch.key_u)
        img_s2, box_2 = strong_view(img_w, derive(batch.key_u, _SECOND))

        pred_x = self.net(standardise(img_x))
        maps = self.net.encode(standardise(torch.cat((img_s1, img_s2))))
        f = self.net.fuse(complementary_dropout(maps, batch.key_u))
        pred_s1, pred_s2 = self.net.decode(f).chunk(2)

        loss_s1 = self.loss_u(pred_s1, u.paste(u.roll(), box_1))
        loss_s2 = self.loss_u(pred_s2, u.paste(u.roll(), box_2))
        return {
            "loss_x": self.loss_x(pred_x, y_x) / 2,
            "loss_u": (loss_s1 + loss_s2) / 2 / 2,
            **kept_shares(u.conf >= self.config.tau, u.label),
        }

    def after_step(self, clock: Clock) -> None:
        if self.teacher is not None:
            self.teacher.update(self.net, clock.step)

    def loss_x(self, logits: Tensor, y: Tensor) -> Tensor:
        """Of labelled images: logits (B, 2, S, S), labels (B, S, S)."""
        ce = cross_entropy(logits.float(), y)
        return (ce + squared_dice(logits, y)) / 2 if self.config.dice else ce

    def loss_u(self, logits: Tensor, u: Pseudo) -> Tensor:
        """Of unlabelled images, on the confident pixels."""
        kept = u.conf >= self.config.tau
        if self.config.dice:
            return squared_dice(logits, u.label, kept)
        return masked_ce(logits, u.label, kept)

    @property
    def evaluated(self) -> nn.Module:
        return self.net if self.teacher is None else self.teacher.net


def strong_view(img_w: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Strong views (U, C, S, S), each with a box of the one before, and the boxes (U, 1, S, S)."""
    img_s, box = strong(img_w, keys), boxes(keys, img_w.shape[-1])
    return paste(img_s, img_s.roll(1, 0), box), box


def channel_dropout(maps: list[Tensor], keys: Tensor) -> list[Tensor]:
    """Maps (B, C, h, w) of which half the channels are 0, drawn for each image and map.

    Args:
        maps: of an encoder.
        keys: (B,).
    """
    widths = [of.shape[1] for of in maps]
    kept = uniforms(derive(keys, _CHANNELS), sum(widths)) >= DROPPED
    return _scaled(maps, (kept / (1 - DROPPED)).split(widths))


def complementary_dropout(maps: list[Tensor], keys: Tensor) -> list[Tensor]:
    """Half the channels for the first views, the others for the second; or all for both.

    Args:
        maps: (2U, C, h, w) of an encoder; first views, then second ones.
        keys: (U,).
    """
    widths = [of.shape[1] for of in maps]
    drawn = uniforms(derive(keys, _CHANNELS), 1 + sum(widths))
    first = torch.where(drawn[0] < WHOLE, 1.0, 2.0 * (drawn[1:] >= DROPPED))
    return _scaled(maps, torch.cat((first, 2 - first), dim=1).split(widths))


def _scaled(maps: list[Tensor], factors: Iterable[Tensor]) -> list[Tensor]:
    """Maps (B, C, h, w) times factors (C, B)."""
    return [
        of * factor.T[:, :, None, None].to(of) for of, factor in zip(maps, factors, strict=True)
    ]
