"""FixMatch (Sohn et al., NeurIPS 2020, arXiv:2001.07685), the form of it that segments.

As fixmatch.py of LiheYoung/UniMatch at 0324f3d, with which UniMatch compares itself: the confident
pixels of the weak view are labels of the strong one, into which a box of another image is pasted.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from baselines.semi import SemiSupervised
from benchmark.augment import standardise, strong
from benchmark.fidelity import Fidelity
from benchmark.losses import cross_entropy
from benchmark.method import Batch, Clock
from benchmark.pseudo import evaluating, kept_shares, masked_ce, pseudo
from benchmark.views.boxes import boxes, paste


class FixMatch(SemiSupervised):
    """One strong view; the threshold is the only curriculum."""

    variants: ClassVar = {"paper": {}, "labelled": {"labelled_only": True}}
    fidelity = Fidelity(
        repository="LiheYoung/UniMatch at 0324f3d (fixmatch.py)",
        licence="MIT",
        library="network from segmentation-models-pytorch on timm's encoder; the step is ours",
        theirs="DeepLabv3+ on ResNet-50 or ResNet-101",
        pretraining="ImageNet encoder",
        recipe="SGD 1e-3 (head 1e-2), wd 1e-4, poly 0.9, 8 + 8 images, 80 epochs",
        deviations=(
            (
                "the box's donor is the image before in the batch; the released scripts take the "
                "same image under another crop, since both loaders share a seed"
            ),
            "weak views are the protocol's rotation and scaling, without crops",
            "nothing is padding here, so every pixel is valid",
        ),
    )

    @dataclass(frozen=True)
    class Config(SemiSupervised.Config):
        """Settings of FixMatch."""

        tau: float = 0.95  # least confidence of a pseudo-label
        labelled_only: bool = False  # what the seven semi-supervised methods must beat

    config: Config

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        if self.config.labelled_only:
            return super().losses(batch, clock)
        img_x, y_x = self.weak_x(batch)
        img_w = self.weak_u(batch)
        with torch.no_grad(), evaluating(self.net):
            donor = pseudo(self.net(standardise(img_w))).roll()
        img_s, box = strong(img_w, batch.key_u), boxes(batch.key_u, img_w.shape[-1])
        img_s = paste(img_s, img_s.roll(1, 0), box)

        pred_x, pred_w = self.net(standardise(torch.cat((img_x, img_w)))).split(
            [len(img_x), len(img_w)]
        )
        pred_s = self.net(standardise(img_s))
        u = pseudo(pred_w).paste(donor, box)
        kept = u.conf >= self.config.tau
        return {
            "loss_x": cross_entropy(pred_x.float(), y_x) / 2,
            "loss_u": masked_ce(pred_s, u.label, kept) / 2,
            **kept_shares(kept, u.label),
        }
