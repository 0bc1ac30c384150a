"""PSPNet: dilation, and a pyramid over the last map."""

import pytest
import torch
from torch.nn import functional as F

from baselines.networks.pspnet import BINS, PSPNet, average_pool
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


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (7, 5)])
def test_the_deterministic_pool_has_the_means_and_gradients_of_torch(size, monkeypatch):
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    maps = torch.rand(2, 3, *size, dtype=torch.float64, requires_grad=True)
    for bins in BINS:
        pooled, expected = average_pool(maps, bins), F.adaptive_avg_pool2d(maps, bins)
        assert pooled.grad_fn.name() != expected.grad_fn.name()  # torch refuses that one on a GPU
        torch.testing.assert_close(pooled, expected, rtol=1e-12, atol=0)
        weights = torch.rand_like(expected)
        given, wanted = (
            torch.autograd.grad((of * weights).sum(), maps)[0] for of in (pooled, expected)
        )
        torch.testing.assert_close(given, wanted, rtol=1e-12, atol=0)


def test_an_encoder_that_cannot_be_dilated_is_refused():
    with pytest.raises(UsageError, match=r"vit_tiny_patch16_224.*output_stride"):
        PSPNet("vit_tiny_patch16_224", "none")
