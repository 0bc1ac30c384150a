"""Mamba-UNet (Wang et al., arXiv:2402.05079, 2024): visual state-space blocks in a U.

Depths 2, 2, 2, 2, as its configuration has them. It begins from scratch whatever the preset says:
its authors begin from VMamba-Tiny's first checkpoint, which no hub carries. 19,121,376 parameters.
"""

from typing import ClassVar

from torch import nn

from baselines.networks.mamba_unet import MambaUNet as Network
from baselines.supervised import Supervised
from benchmark.fidelity import Fidelity


class MambaUNet(Supervised):
    """No convolutions but patches and depth-wise ones, no attention."""

    encoder = ""
    weights: ClassVar = ("none",)
    fidelity = Fidelity(
        repository="ziyangwang007/Mamba-UNet at dfe92ba; MzeroMiko/VMamba at 2ed52ea",
        licence="Apache-2.0; MIT",
        library=(
            "patches and merging from timm; blocks and the selective scan (Triton, numba, "
            "PyTorch) are ours"
        ),
        theirs="19,121,376 (paper 19.12 M)",
        pretraining="VMamba-T, encoder and mirrored decoder",
        recipe="SGD 0.01, poly 0.9, batch 24, 10,000 iterations, 0.5 (cross-entropy + Dice)",
        deviations=(
            "from scratch: the checkpoint that fits (VMamba-T, first version) is on no hub",
        ),
    )

    def network(self) -> nn.Module:
        return Network(self.setup.protocol.size)
