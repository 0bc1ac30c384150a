"""AugSeg (Zhao et al., CVPR 2023, arXiv:2212.04976).

As ZhenZHAO/AugSeg at 7ead870: a plain mean teacher, whose student sees images under random
intensities, into which patches of other images, at times labelled ones, are pasted.
"""

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch import Tensor, nn

from baselines.networks.segnet import CLASSES
from baselines.semi import SemiSupervised, first_epochs
from benchmark.augment import standardise
from benchmark.ema import Ema
from benchmark.fidelity import Fidelity
from benchmark.keys import beta, derive, stable_key, uniform
from benchmark.losses import cross_entropy
from benchmark.method import Batch, Clock, Setup
from benchmark.pseudo import Pseudo, evaluating, kept_shares, masked_ce, pseudo
from benchmark.views.boxes import centred_boxes, paste
from benchmark.views.pool import random_intensities

_ORDER, _AIDED = stable_key("augseg/order"), stable_key("augseg/aided")
_AID, _BOX = stable_key("augseg/aid"), stable_key("augseg/box")


class AugSeg(SemiSupervised):
    """Mean teacher, one strong view, and CutMix with help from labelled images."""

    training_only = ("net.",)
    variants: ClassVar = {"paper": {}}
    fidelity = Fidelity(
        repository="ZhenZHAO/AugSeg at 7ead870",
        licence="no licence file",
        library="network from segmentation-models-pytorch on timm's encoder; the step is ours",
        theirs="DeepLabv3+ on ResNet-50 or ResNet-101",
        pretraining="ImageNet encoder",
        recipe="SGD 1e-3 (head 1e-2), wd 1e-4, poly 0.9, 16 + 16 images, 80 epochs",
        deviations=(
            "weak views are the protocol's rotation and scaling, without crops and flips",
            "the blur of the pool is a true Gaussian and hue is not rounded to 256 values; on grey "
            "images colour and hue do nothing",
            (
                "the teacher is a copy of the student for 1/80 of the steps, at least 200 and at "
                "most a tenth of them; there for the first of 80 epochs"
            ),
            "the teacher of the last step counts, not the best of all epochs",
        ),
    )

    @dataclass(frozen=True)
    class Config(SemiSupervised.Config):
        """Settings of AugSeg."""

        tau: float = 0.95  # least confidence of a pseudo-label
        decay: float = 0.999  # most that a step keeps of the teacher

    config: Config

    def __init__(self, config: Config, setup: Setup) -> None:
        super().__init__(config, setup)
        self.teacher = Ema(self.net, config.decay, "average")

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        img_x, y_x = self.weak_x(batch)
        img_w = self.weak_u(batch)
        with torch.no_grad(), evaluating(self.teacher.net):
            u = pseudo(self.teacher.net(standardise(img_w)))
        k = confidence(u)
        strong = joined(random_intensities(img_w, batch.key_u), u.label, u.conf)
        labelled = joined(img_x, y_x, torch.ones_like(u.conf))
        mixed = adaptive_cutmix(strong, labelled, k, batch.key_u)
        img_s, label, conf = mixed[:, :-2], mixed[:, -2].long(), mixed[:, -1]

        pred_x, pred_s = self.net(standardise(torch.cat((img_x, img_s)))).split(
            [len(img_x), len(img_s)]
        )
        kept = conf >= self.config.tau
        return {
            "loss_x": cross_entropy(pred_x.float(), y_x),
            "loss_u": masked_ce(pred_s, label, kept),
            **kept_shares(kept, label),
        }

    def after_step(self, clock: Clock) -> None:
        begun = clock.step >= first_epochs(1, clock.total)
        self.teacher.update(self.net, clock.step * begun)  # at step 0 it is a copy

    @property
    def evaluated(self) -> nn.Module:
        return self.teacher.net


def confidence(u: Pseudo) -> Tensor:
    """Of images, k (U,): 1 where every pixel is sure of its label, 0 where none is at all."""
    return (u.conf * (1 - u.entropy / log(CLASSES))).mean(dim=(1, 2))


def joined(images: Tensor, label: Tensor, conf: Tensor) -> Tensor:
    """Images (B, C, S, S), labels and confidence (B, S, S) as channels of one: pasted alike."""
    return torch.cat((images, label[:, None].to(images), conf[:, None].to(images)), dim=1)


def adaptive_cutmix(strong: Tensor, labelled: Tensor, k: Tensor, keys: Tensor) -> Tensor:
    """Paste into each image a box of another one, into which one of a labelled image may be pasted.

    Args:
        strong: (U, C, S, S), unlabelled images with all that belongs to them.
        labelled: (U, C, S, S), likewise.
        k: (U,); a labelled box comes to an image with probability 1 - k.
        keys: (U,).
    """
    pi = uniform(derive(keys, _ORDER), 0).argsort()
    unsure = uniform(derive(keys, _AIDED), 0) >= k
    aid = _boxes(derive(keys, _AID), strong.shape[-1], 8, 2) & unsure[:, None, None, None]
    aided = paste(strong, labelled[pi], aid)
    return paste(strong, aided[pi], _boxes(derive(keys, _BOX), strong.shape[-1], 4, 4))


def _boxes(keys: Tensor, size: int, alpha: int, beta_: int) -> Tensor:
    """Squares, all of one area: a Beta distributed part of the image is what they leave."""
    return centred_boxes(keys, size, 1 - beta(keys[:1], alpha, beta_))
