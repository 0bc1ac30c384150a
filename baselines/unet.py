"""U-Net (Ronneberger et al., MICCAI 2015, arXiv:1505.04597) on an ImageNet ResNet-50.

The paper that this benchmark follows does not state its U-Net's encoder; ultrasound repositories
use segmentation-models-pytorch with ResNet-50 (TN3K benchmark, MedSegBench). 32,521,105 parameters.
`--variant classic` is the network of 2015 with padding and batch norm, from scratch: 31,043,521.
"""

from dataclasses import dataclass
from typing import ClassVar

import segmentation_models_pytorch as smp
from torch import nn

from baselines.networks.smp_timm import on_timm
from baselines.networks.unet_classic import ClassicUNet
from baselines.supervised import Supervised
from benchmark.fidelity import Fidelity
from benchmark.method import Method


class UNet(Supervised):
    """Encoder of any kind timm has; decoder widths 256, 128, 64, 32, 16, nearest upsampling."""

    encoder = "resnet50.a1_in1k"
    variants: ClassVar = {"paper": {}, "classic": {"classic": True}}
    fidelity = Fidelity(
        repository="none is canonical; segmentation-models-pytorch 0.5 or later",
        licence="MIT",
        library=(
            "network from segmentation-models-pytorch on timm's encoder; the classic form is ours"
        ),
        theirs="32,521,105 on ResNet-50; classic, with padding and batch norm, 31,043,521",
        pretraining="ImageNet encoder; none for the classic form",
        recipe="SGD, momentum 0.99, batch 1, weighted cross-entropy, elastic deformation (2015)",
        deviations=(
            (
                "an ImageNet ResNet-50 is the default encoder: the benchmark's paper states none, "
                "and ultrasound repositories use it"
            ),
            (
                "the classic form pads its convolutions and has batch norm, as its ports do; that "
                "of 2015 crops"
            ),
        ),
    )

    @dataclass(frozen=True)
    class Config(Method.Config):
        """Settings of U-Net."""

        classic: bool = False  # widths 64 to 1,024, transposed convolutions, no ImageNet weights

    config: Config

    @classmethod
    def from_scratch(cls, config: Config) -> bool:
        return config.classic

    def network(self) -> nn.Module:
        if self.config.classic:
            return ClassicUNet()
        name = self.setup.protocol.encoder or self.encoder
        net: nn.Module = on_timm(smp.Unet, name, self.setup.weights)
        return net
