"""Swin-Unet (Cao et al., ECCVW 2022, arXiv:2105.05537): Swin-T mirrored into a decoder.

Depths are 2, 2, 2, 2, as released; the paper's figure has 2, 2, 2, 1 in the decoder, which the code
never reads. With `--weights imagenet` Swin-T's weights go into the encoder and into the mirrored
decoder stages, which its authors say matters much. 27,168,132 parameters.
"""

from typing import ClassVar

from torch import nn

from baselines.networks.swin_unet import SwinUNet as Network
from baselines.supervised import Supervised
from benchmark.fidelity import Fidelity


class SwinUNet(Supervised):
    """Its encoder cannot be exchanged."""

    encoder = "swin_tiny_patch4_window7_224.ms_in1k"
    weights: ClassVar = ("imagenet", "none")
    fidelity = Fidelity(
        repository="HuCaoFighting/Swin-Unet at f48f623",
        licence="none stated",
        library="blocks and patch merging from timm; the U of tokens is ours",
        theirs="27,168,132 (paper 27.17 M)",
        pretraining="ImageNet Swin-T into the encoder and the mirrored decoder",
        recipe="SGD 0.05, poly 0.9, batch 24, 150 epochs, 0.4 cross-entropy + 0.6 Dice",
        deviations=("depths 2, 2, 2, 2 as released; the paper's decoder has 2, 2, 2, 1",),
    )

    def network(self) -> nn.Module:
        return Network(self.setup.protocol.size, self.encoder, self.setup.weights)
