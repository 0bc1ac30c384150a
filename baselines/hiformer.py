"""HiFormer (Heidari et al., WACV 2023, arXiv:2207.08518), size B as its paper prefers.

In the released code (amirhossein-kz/HiFormer at 6726d28) the double-level fusion computes its
outcome and returns what went in: 3,222,432 of 25,510,955 parameters are without effect, and the
published numbers were made so. The default here is the network as published; `--variant released`
is the other.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from baselines.networks.hiformer import SIZES
from baselines.networks.hiformer import HiFormer as Network
from baselines.supervised import Supervised
from benchmark.fidelity import Fidelity
from benchmark.method import Method
from benchmark.settings import choose


class HiFormer(Supervised):
    """ResNet and Swin-T in parallel; neither can be exchanged."""

    encoder = "swin_tiny_patch4_window7_224.ms_in1k"
    weights: ClassVar = ("imagenet", "none")
    variants: ClassVar = {"paper": {}, "released": {"dead": True}}
    fidelity = Fidelity(
        repository="amirhossein-kz/HiFormer at 6726d28",
        licence="MIT",
        library="ResNet, Swin and ViT blocks from timm; pyramid, fusion and decoder are ours",
        theirs="25,510,955 (B), 23,253,195 (S), 29,518,059 (L)",
        pretraining="ImageNet ResNet-50 and Swin-T",
        recipe="SGD 0.01, poly 0.9, batch 10, 401 epochs, 0.4 cross-entropy + 0.6 Dice",
        deviations=(
            (
                "the fusion has its published effect; in the released code it has none, and its "
                "numbers were made so (--variant released)"
            ),
        ),
    )

    @dataclass(frozen=True)
    class Config(Method.Config):
        """Settings of HiFormer."""

        size: str = "b"  # s, b or l
        dead: bool = False  # the fusion's outcome is dropped (released)

        def __post_init__(self) -> None:
            choose("size", self.size, SIZES)

    config: Config

    def network(self) -> nn.Module:
        return Network(
            self.config.size,
            self.setup.protocol.size,
            self.encoder,
            self.setup.weights,
            dead=self.config.dead,
        )
