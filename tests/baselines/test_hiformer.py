"""The fusion of HiFormer: alive as published, without effect as released."""

import pytest
import torch

from baselines.networks.hiformer import HiFormer


def make(*, dead: bool) -> HiFormer:
    torch.manual_seed(0)
    return HiFormer("s", 64, "", "none", dead=dead).eval()


@pytest.mark.parametrize(("dead", "moves"), [(True, False), (False, True)])
def test_only_the_published_fusion_has_an_effect(dead, moves):
    network = make(dead=dead)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = network(image)
        for part in (network.fusion.exchange, network.fusion.blocks):
            for parameter in part.parameters():
                parameter.normal_()
        assert (not torch.equal(network(image), before)) is moves


def test_the_released_fusion_learns_nothing():
    network = make(dead=True)
    network(torch.rand(1, 3, 64, 64)).sum().backward()
    idle = [*network.fusion.exchange.parameters(), *network.fusion.blocks.parameters()]
    assert all(p.grad is None or not p.grad.any() for p in idle)
    assert all(p.grad is not None for p in network.fusion.norm.parameters())


def test_the_coarse_level_reaches_the_fine_one():
    network = make(dead=False)
    fine = torch.rand(1, 96, 16, 16)
    coarse = torch.rand(1, 384, 4, 4)
    with torch.no_grad():
        one, _ = network.fusion(fine, coarse)
        other, _ = network.fusion(fine, coarse + 1)
    assert (one - other).abs().max() > 0
