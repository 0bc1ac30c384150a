"""Several passes as one batch: each is what it would be alone, and leaves behind what it would."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.blocks import UnetrUpBlock
from torch import Tensor

from benchmark.keys import uniform
from propl.network import Decoder
from propl.passes import dropout, gaussian, up
from propl.plain import decode
from propl.prompts import TOKENS

KEYS = torch.tensor([3, 4, -5])
WIDTHS = [4, 8, 12, 16]


def ones(images: int = 3) -> Tensor:
    return torch.ones(images, 32, 8, 8)


def test_a_share_becomes_zero_and_the_mean_stays():
    masked = dropout(ones(), KEYS, 0.3, passes=4)
    assert masked.shape == (12, 32, 8, 8)
    assert (masked == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert masked.mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(dropout(ones(), KEYS, 0.0), ones())


def test_masks_of_passes_images_and_places_have_nothing_to_do_with_each_other():
    kept = (dropout(ones(), KEYS, 0.3, passes=2) > 0).flatten(1).double()
    pairs = torch.corrcoef(kept) - torch.eye(6)
    assert pairs.abs().max() < 0.1  # 2048 places: a deviation of 0.022
    shifted = torch.corrcoef(torch.stack((kept[0, :-1], kept[0, 1:], kept[1, 1:])))
    assert (shifted - torch.eye(3)).abs().max() < 0.1


@given(st.integers(1, 4), st.permutations(range(3)))
def test_a_mask_depends_on_key_and_pass_alone(passes, order):
    masked = dropout(ones(), KEYS, 0.3, passes).unflatten(0, (passes, 3))
    assert torch.equal(masked, dropout(ones(), KEYS, 0.3, 4).unflatten(0, (4, 3))[:passes])
    permuted = dropout(ones(), KEYS[order], 0.3, passes).unflatten(0, (passes, 3))
    assert torch.equal(permuted, masked[:, order])


def test_masks_have_nothing_to_do_with_the_views_of_the_same_keys():
    keys = torch.arange(100)
    kept = dropout(torch.ones(100, 1, 1, 1), keys, 0.5).flatten() > 0
    agreeing = [(kept == (uniform(keys, draw) >= 0.5)).sum().item() for draw in range(4)]
    assert all(25 < number < 75 for number in agreeing)


def test_gaussian_noise_is_normal_and_as_strong_as_dropout():
    maps = 1 + torch.randn(3, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    maps *= torch.tensor([1.0, 3.0, 0.2])[:, None, None, None]
    power = maps.square().mean(dim=(1, 2, 3))
    for disturbed in (dropout(maps, KEYS, 0.3), gaussian(maps, KEYS, 0.6547)):
        noise = disturbed - maps
        assert torch.allclose(
            noise.square().mean(dim=(1, 2, 3)) / power, torch.tensor(3 / 7), rtol=0.1
        )
    scaled = (noise / (0.6547 * power.sqrt()[:, None, None, None])).flatten().sort().values
    expected = torch.distributions.Normal(0, 1).icdf(
        (torch.arange(len(scaled)) + 0.5) / len(scaled)
    )
    assert (scaled - expected)[expected.abs() < 3].abs().max() < 0.05


@given(st.integers(1, 4), st.permutations(range(3)))
def test_gaussian_noise_depends_on_key_and_pass_alone(passes, order):
    disturbed = gaussian(ones(), KEYS, 0.5, passes).unflatten(0, (passes, 3))
    assert torch.equal(disturbed, gaussian(ones(), KEYS, 0.5, 4).unflatten(0, (4, 3))[:passes])
    permuted = gaussian(ones(), KEYS[order], 0.5, passes).unflatten(0, (passes, 3))
    assert torch.equal(permuted, disturbed[:, order])


def test_gaussian_noise_of_passes_images_and_places_is_independent():
    noise = gaussian(ones(), KEYS, 0.5, passes=2).flatten(1).double()
    assert (torch.corrcoef(noise) - torch.eye(6)).abs().max() < 0.1
    shifted = torch.corrcoef(torch.stack((noise[0, :-1], noise[0, 1:], noise[1, 1:])))
    assert (shifted - torch.eye(3)).abs().max() < 0.1


def test_gaussian_noise_is_added_to_the_gradient_s_way_unseen():
    maps = torch.rand(3, 4, 5, 5, requires_grad=True)
    gaussian(maps, KEYS, 0.5, passes=2).sum().backward()
    assert torch.equal(maps.grad, torch.full_like(maps, 2.0))


def test_gradients_go_where_the_values_went():
    maps = ones().requires_grad_()
    masked = dropout(maps, KEYS, 0.3)
    masked.sum().backward()
    assert torch.equal(maps.grad, masked.detach())


@pytest.mark.parametrize("training", [True, False])
def test_a_block_on_passes_together_is_the_block_on_each(training):
    block = UnetrUpBlock(2, 8, 4, 3, 2, "BATCH", res_block=False).double().train(training)
    alone = deepcopy(block)
    scales = torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64)[:, None, None, None, None]
    h = scales * torch.randn(3, 2, 8, 5, 5, dtype=torch.float64)  # statistics that differ
    skip = torch.randn(2, 4, 10, 10, dtype=torch.float64)
    expected = torch.cat([alone(one, skip) for one in h])
    assert torch.allclose(up(block, h.flatten(0, 1), skip), expected, atol=1e-12)
    same_state(block, alone)


def test_a_decoder_on_passes_together_is_the_decoder_on_each():
    generator = torch.Generator().manual_seed(0)
    features = [
        torch.randn(2, width, 64 // stride, 64 // stride, generator=generator).double()
        for width, stride in zip(WIDTHS, (4, 8, 16, 32), strict=True)
    ]
    text = torch.randn(2, TOKENS, 16, generator=generator).double()
    decoder = Decoder(WIDTHS, 16, 64).double().train()
    alone = deepcopy(decoder)
    disturbed = dropout(features[-1], KEYS[:2], 0.3, passes=3)
    together = decoder([*features[:-1], disturbed], text)
    expected = [decode(alone, [*features[:-1], one], text) for one in disturbed.chunk(3)]
    assert torch.allclose(together, torch.cat(expected), atol=1e-11)
    same_state(decoder, alone)


def same_state(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    for name, value in theirs.state_dict().items():
        assert torch.allclose(ours.state_dict()[name], value, rtol=1e-10, atol=1e-12), name
