"""UNet++ (Zhou et al., DLMIA 2018, arXiv:1807.10165) on an ImageNet ResNet-50.

From segmentation-models-pytorch, on the encoder that U-Net has here, so that the two differ by
their decoders: 48,985,745 parameters (26,078,609 with `--encoder resnet34.a1_in1k`). Its output is
X(0, 4); deep supervision is left out, since the protocol's loss has one output.
`--variant classic` is the form of 32 to 512 channels that most medical papers mean, from scratch:
9,163,329.
"""

from dataclasses import dataclass
from typing import ClassVar

import segmentation_models_pytorch as smp
from torch import nn

from baselines.networks.smp_timm import on_timm
from baselines.networks.unet_classic import NestedUNet
from baselines.supervised import Supervised
from benchmark.fidelity import Fidelity
from benchmark.method import Method


class UNetPlusPlus(Supervised):
    """Encoder of any kind timm has; nested decoder of widths 256, 128, 64, 32, 16."""

    encoder = "resnet50.a1_in1k"
    variants: ClassVar = {"paper": {}, "classic": {"classic": True}}
    fidelity = Fidelity(
        repository="MrGiovanni/UNetPlusPlus at 2659ddc; segmentation-models-pytorch 0.5 or later",
        licence="non-commercial (original); MIT (library)",
        library=(
            "network from segmentation-models-pytorch on timm's encoder; the classic form is ours"
        ),
        theirs="48,985,745 on ResNet-50; classic 9,163,329",
        pretraining="ImageNet encoder; none for the classic form",
        recipe="Adam 3e-4, BCE + Dice, early stopping",
        deviations=(
            "the encoder is U-Net's, so that the two differ by their decoders",
            "no deep supervision: the protocol's loss has one output",
            (
                "the classic form has bilinear upsampling and batch norm, as its PyTorch ports; "
                "the original has transposed convolutions and none"
            ),
        ),
    )

    @dataclass(frozen=True)
    class Config(Method.Config):
        """Settings of UNet++."""

        classic: bool = False  # widths 32 to 512, bilinear upsampling, no ImageNet weights

    config: Config

    @classmethod
    def from_scratch(cls, config: Config) -> bool:
        return config.classic

    def network(self) -> nn.Module:
        if self.config.classic:
            return NestedUNet()
        name = self.setup.protocol.encoder or self.encoder
        net: nn.Module = on_timm(smp.UnetPlusPlus, name, self.setup.weights)
        return net
