"""DoDNet (Zhang et al., CVPR 2021, arXiv:2011.10217): filters made for each image and task.

In two dimensions, with one output a task where the paper has organ and tumour: 5,954,761 parameters
for eight tasks, from scratch as its authors train it. `--encoder NAME` puts a U-Net on that encoder
in the place of its own.
"""

from typing import ClassVar

from torch import nn

from baselines.networks.backbone import EncoderBackbone
from baselines.networks.dodnet import DoDNet as Network
from baselines.networks.dodnet import DoDNetBackbone
from baselines.universal import Universal
from benchmark.fidelity import Fidelity


class DoDNet(Universal):
    """Dynamic on-demand network; knows the task as a one-hot number."""

    encoder = ""
    weights: ClassVar = ("none", "imagenet", "packaged")
    fidelity = Fidelity(
        repository="jianpengz/DoDNet at f06ce1b",
        licence="GPL-3.0",
        library="all ours; with --encoder a U-Net of segmentation-models-pytorch",
        theirs="5,954,761 (two dimensions, eight tasks, one output)",
        pretraining="none",
        recipe="SGD 0.01, momentum 0.99, poly 0.9 an epoch, batch 2, Dice + BCE",
        deviations=(
            "two dimensions, one output a task where the original has organ and tumour",
            (
                "the protocol's Dice has smoothing 1 in numerator and denominator; the original's "
                "in the denominator only"
            ),
        ),
    )

    def network(self) -> nn.Module:
        name = self.setup.protocol.encoder
        backbone = EncoderBackbone(name, self.setup.weights) if name else DoDNetBackbone()
        return Network(len(self.setup.tasks), backbone)
