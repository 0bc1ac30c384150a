"""PSPNet (Zhao et al., CVPR 2017, arXiv:1612.01105) on an ImageNet ResNet-50.

As hszhao/semseg, with two differences: the stem is the plain 7x7 one, for which ImageNet weights
are at hand, and there is no auxiliary head, since the protocol's loss has one output.
"""

from torch import nn

from baselines.networks.pspnet import PSPNet as Network
from baselines.supervised import Supervised
from benchmark.fidelity import Fidelity


class PSPNet(Supervised):
    """Encoder of any kind timm can dilate; pyramid pooling over its last map."""

    encoder = "resnet50.a1_in1k"
    fidelity = Fidelity(
        repository="hszhao/semseg at 4f274c3",
        licence="MIT",
        library=(
            "encoder from timm, dilated; pyramid and head are ours, since the class of "
            "segmentation-models-pytorch leaves nine tenths of its parameters without a gradient"
        ),
        theirs="46,582,337 with a plain stem, 46,706,113 with the deep one",
        pretraining="ImageNet encoder",
        recipe="SGD 0.01 (ten times that for new layers), poly 0.9, batch 16, auxiliary loss 0.4",
        deviations=(
            "plain 7x7 stem: ImageNet weights are at hand for it",
            "no auxiliary head: the protocol's loss has one output",
            "logits are brought to the input's size; the original wants sides of 8 k + 1",
        ),
    )

    def network(self) -> nn.Module:
        return Network(self.setup.protocol.encoder or self.encoder, self.setup.weights)
