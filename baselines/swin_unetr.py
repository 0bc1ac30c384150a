"""Swin UNETR in 2D (Hatamizadeh et al., BrainLes 2022, arXiv:2201.01266), from MONAI.

No weights exist for two dimensions at the paper's feature size 48: it begins from scratch whatever
`--weights` says. 25,139,275 parameters.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from baselines.networks.swin_unetr import swin_unetr
from baselines.supervised import Supervised
from benchmark.fidelity import Fidelity
from benchmark.method import Method


class SwinUNETR(Supervised):
    """Swin transformer encoder, convolutional decoder, instance norm."""

    encoder = ""
    weights: ClassVar = ("none",)
    fidelity = Fidelity(
        repository="Project-MONAI/MONAI at d388d1c",
        licence="Apache-2.0",
        library="network from MONAI",
        theirs="25,139,275 in two dimensions at feature size 48",
        pretraining="none: weights exist for three dimensions only",
        recipe="AdamW 1e-4, warm-up and cosine, 300 epochs, Dice",
        deviations=(
            "two dimensions",
            "feature size 48, the paper's; MONAI's default is 24",
        ),
    )

    @dataclass(frozen=True)
    class Config(Method.Config):
        """Settings of Swin UNETR."""

        features: int = 48  # paper; MONAI's default is 24 (6,302,875 parameters)

    config: Config

    def network(self) -> nn.Module:
        network: nn.Module = swin_unetr(self.config.features)
        return network
