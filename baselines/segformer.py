"""SegFormer (Xie et al., NeurIPS 2021, arXiv:2105.15203), from segmentation-models-pytorch.

B2 is the size nearest to the other networks here: 27,347,393 parameters. The decoder is 256 wide
for B0 and B1 and 768 for the others, as published; the library's default is 256 for all. ImageNet
weights of the encoder (MiT) come from the hub; their licence is NVIDIA's, for non-commercial use.
"""

from dataclasses import dataclass
from typing import ClassVar

import segmentation_models_pytorch as smp
from torch import nn

from baselines.networks.hub import WeightsError, hub_or_cache
from baselines.supervised import Supervised
from benchmark.fidelity import Fidelity
from benchmark.method import Method
from benchmark.settings import choose

DECODER_WIDTHS = {"b0": 256, "b1": 256, "b2": 768, "b3": 768, "b4": 768, "b5": 768}


class SegFormer(Supervised):
    """Mix transformer encoder, all-MLP decoder; logits at a quarter, bilinear to full size."""

    encoder = "mit"
    weights: ClassVar = ("imagenet", "none")
    fidelity = Fidelity(
        repository="NVlabs/SegFormer at 65fa8cf; segmentation-models-pytorch 0.5 or later",
        licence="NVIDIA, non-commercial (original code and weights); MIT (library)",
        library="network from segmentation-models-pytorch",
        theirs="27,347,393 (B2)",
        pretraining="ImageNet MiT",
        recipe="AdamW 6e-5 (head ten times that), 160,000 iterations, batch 16",
        deviations=(
            "B2: the benchmark's paper states no size, and it is nearest to the other networks",
            "decoder width 768, as published; the library's default is 256",
        ),
    )

    @dataclass(frozen=True)
    class Config(Method.Config):
        """Settings of SegFormer."""

        size: str = "b2"  # not stated by the benchmark's paper

        def __post_init__(self) -> None:
            choose("size", self.size, DECODER_WIDTHS)

    config: Config

    def network(self) -> nn.Module:
        if self.setup.weights == "none":
            return self._build(None)
        try:
            with hub_or_cache():
                return self._build("imagenet")
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"ImageNet weights of 'mit_{self.config.size}' cannot be fetched from the model "
                f"hub, nor are they in its cache ({type(error).__name__}); connect to it, "
                "or use --weights none"
            ) from error

    def _build(self, weights: str | None) -> nn.Module:
        network: nn.Module = smp.Segformer(
            f"mit_{self.config.size}",
            encoder_weights=weights,
            decoder_segmentation_channels=DECODER_WIDTHS[self.config.size],
            classes=1,
        )
        return network
