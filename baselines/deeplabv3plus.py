"""DeepLabv3+ (Chen et al., ECCV 2018, arXiv:1802.02611) on an ImageNet ResNet-50.

From segmentation-models-pytorch, at output stride 16. Its atrous rates are 12, 24, 36 by default;
the paper has 6, 12, 18 at this stride, and so has this. 26,677,585 parameters (45,669,713 with
`--encoder resnet101.a1_in1k`).
"""

import segmentation_models_pytorch as smp
from torch import nn

from baselines.networks.smp_timm import on_timm
from baselines.supervised import Supervised
from benchmark.fidelity import Fidelity

RATES = (6, 12, 18)


class DeepLabV3Plus(Supervised):
    """Encoder of any kind timm can dilate; separable convolutions, bilinear upsampling."""

    encoder = "resnet50.a1_in1k"
    fidelity = Fidelity(
        repository="tensorflow/models (research/deeplab); segmentation-models-pytorch 0.5 or later",
        licence="Apache-2.0; MIT",
        library="network from segmentation-models-pytorch on timm's encoder",
        theirs="26,677,585 on ResNet-50; 45,669,713 on ResNet-101",
        pretraining="ImageNet encoder",
        recipe="SGD 0.007, poly 0.9, crops of 513",
        deviations=(
            (
                "atrous rates 6, 12, 18 at output stride 16, as the paper; the library's default "
                "is 12, 24, 36"
            ),
            "ResNet-50 in the place of Xception-65, which the benchmark's paper leaves open",
        ),
    )

    def network(self) -> nn.Module:
        name = self.setup.protocol.encoder or self.encoder
        weights = self.setup.weights
        net: nn.Module = on_timm(smp.DeepLabV3Plus, name, weights, decoder_atrous_rates=RATES)
        return net
