"""U-Net (Ronneberger et al., MICCAI 2015, arXiv:1505.04597) on an ImageNet ResNet-50.

The paper that this benchmark follows does not state its U-Net's encoder; ultrasound repositories
use segmentation-models-pytorch with ResNet-50 (TN3K benchmark, MedSegBench). 32,521,105 parameters.
"""

import segmentation_models_pytorch as smp
from torch import nn

from baselines.networks.encoders import create_features
from baselines.supervised import Supervised


class UNet(Supervised):
    """Encoder of any kind timm has; decoder widths 256, 128, 64, 32, 16, nearest upsampling."""

    encoder = "resnet50.a1_in1k"

    def network(self) -> nn.Module:
        name = self.setup.protocol.encoder or self.encoder
        pretrained = create_features(name, self.setup.weights)  # first: it knows what is wrong
        net = smp.Unet(f"tu-{name}", encoder_weights=None, in_channels=3, classes=1)
        net.encoder.model.load_state_dict(pretrained.state_dict())
        unet: nn.Module = net
        return unet
