"""H2Former (He et al., IEEE TMI 42(9), 2023, doi:10.1109/TMI.2023.3264513).

As NKUhealong/H2Former at 8dad87e, with three input channels: the released file has four, of a run
on another data set, while its training script feeds three. 33,678,656 parameters.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from baselines.networks.h2former import H2Former as Network
from baselines.supervised import Supervised
from benchmark.fidelity import Fidelity
from benchmark.method import Method


class H2Former(Supervised):
    """ResNet-34 and Swin blocks in turn; the encoder cannot be exchanged."""

    encoder = "resnet34.tv_in1k"
    weights: ClassVar = ("imagenet", "none")
    variants: ClassVar = {"paper": {}, "released": {"scrambled": True}}
    fidelity = Fidelity(
        repository="NKUhealong/H2Former at 8dad87e",
        licence="MIT file, README says academic use only",
        library=(
            "ResNet-34 and Swin blocks from timm; multi-scale attention, MLP and decoder are ours"
        ),
        theirs="33,678,656 with three input channels (33,684,736 with the released four)",
        pretraining="ImageNet ResNet-34",
        recipe="AdamW 1e-4, poly 0.9, 92 epochs, cross-entropy + Dice, images of 0 to 255",
        deviations=(
            "three input channels, as its training script feeds",
            (
                "the MLP's channel attention reads tokens in the layout it means; the released "
                "code's view mixes tokens and channels (--variant released)"
            ),
            "images are normalised as for all methods",
        ),
    )

    @dataclass(frozen=True)
    class Config(Method.Config):
        """Settings of H2Former."""

        scrambled: bool = False  # released: channel attention reads tokens in the wrong layout

    config: Config

    def network(self) -> nn.Module:
        return Network(
            self.encoder,
            self.setup.protocol.size,
            self.setup.weights,
            scrambled=self.config.scrambled,
        )
