"""PSPNet: dilation, and a pyramid over the last map."""

import pytest
import torch

from baselines.networks.pspnet import PSPNet
from dataset_builders.errors import UsageError


def test_the_last_map_is_at_an_eighth_and_wide():
    network = PSPNet("resnet50.a1_in1k", "none").eval()
    maps = []
    network.encoder.register_forward_hook(lambda _, __, out: maps.append(out[-1]))
    with torch.no_grad():
        network(torch.rand(1, 3, 64, 64))
    assert maps[0].shape == (1, 2048, 8, 8)
    dilated = {
        module.dilation
        for module in network.encoder.layer4.modules()
        if hasattr(module, "dilation")
    }
    assert (4, 4) in dilated


def test_every_bin_is_read():
    torch.manual_seed(0)
    network = PSPNet("tf_efficientnet_lite0", "none").eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = network(image)
        for level in network.pyramid:
            kept = level[0].weight.clone()
            level[0].weight.normal_()
            assert not torch.equal(network(image), before)
            level[0].weight.copy_(kept)


def test_an_encoder_that_cannot_be_dilated_is_refused():
    with pytest.raises(UsageError, match=r"vit_tiny_patch16_224.*output_stride"):
        PSPNet("vit_tiny_patch16_224", "none")
