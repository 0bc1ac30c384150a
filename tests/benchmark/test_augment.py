"""Views: repeatable, independent of neighbours, image and mask together."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.augment import normalise, stable_key, step_keys, uniform, weak
from benchmark.protocol import Protocol

PROTOCOL = Protocol(rotation=40, scale_low=0.8, scale_high=1.4)
STILL = Protocol(rotation=0, scale_low=1.0, scale_high=1.0)


def keys(n: int, seed: int = 0, step: int = 0) -> torch.Tensor:
    samples = torch.tensor([stable_key(f"sample {i}") for i in range(n)])
    return step_keys(samples, seed, step)


def disc(n: int = 4, size: int = 64) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    inside = ((x - 40) ** 2 + (y - 25) ** 2 < 150).float()
    return inside[None, None].repeat(n, 1, 1, 1)


def test_numbers_are_uniform_and_uncorrelated():
    drawn = torch.stack([uniform(keys(20_000), draw) for draw in range(3)])
    assert drawn.min() >= 0
    assert drawn.max() < 1
    for row in drawn:
        counts = torch.histc(row, bins=20, min=0, max=1)
        assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi-squared, 19 degrees: p = 0.0007
    assert torch.corrcoef(drawn).fill_diagonal_(0).abs().max() < 0.03


def test_steps_seeds_and_samples_all_change_the_number():
    base = uniform(keys(50), 0)
    assert not torch.isclose(base, uniform(keys(50, step=1), 0)).all()
    assert len(torch.unique(base)) == 50
    several = torch.stack(
        [uniform(keys(50, seed, step), 0) for seed in range(3) for step in range(3)]
    )
    assert len(torch.unique(several)) == 450


def test_the_numbers_are_pinned():
    """A change of the hash would change every run."""
    assert stable_key("BC/busi/benign (1)") == 1_138_340_257_704_216_178
    assert uniform(keys(2, seed=3, step=7), 1).tolist() == [0.3734285235404968, 0.9375296831130981]


@given(st.integers(0, 2**40), st.integers(0, 10**6))
@settings(max_examples=20)
def test_a_view_does_not_depend_on_its_neighbours(seed, step):
    images = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    together, _ = weak(images, None, keys(5, seed, step), PROTOCOL)
    alone = torch.cat(
        [
            weak(images[i : i + 1], None, keys(5, seed, step)[i : i + 1], PROTOCOL)[0]
            for i in range(5)
        ]
    )
    assert torch.equal(together, alone)


def test_no_rotation_and_scale_one_is_the_image_itself():
    images = torch.rand(3, 1, 32, 32)
    view, mask = weak(images, (images > 0.5).float(), keys(3), STILL)
    assert torch.allclose(view, images, atol=1e-5)
    assert torch.equal(mask, (images > 0.5).float())


def test_the_mask_moves_with_its_image():
    image = disc()
    view, mask = weak(image, image, keys(4), PROTOCOL)
    overlap = ((view > 0.5) & (mask > 0.5)).sum() / ((view > 0.5) | (mask > 0.5)).sum()
    assert overlap > 0.97
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(view[0], view[1])


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_a_scale_above_one_enlarges(scale):
    protocol = Protocol(rotation=0, scale_low=scale, scale_high=scale)
    image = torch.zeros(1, 1, 64, 64)
    image[..., 24:40, 24:40] = 1
    view, _ = weak(image, image, keys(1), protocol)
    assert view.sum().item() == pytest.approx(256 * scale**2, rel=0.05)


def test_rotation_is_of_the_stated_angle_about_the_centre():
    protocol = Protocol(rotation=30, scale_low=1, scale_high=1)
    image = disc(64)
    view, _ = weak(image, image, keys(64), protocol)
    place = torch.arange(64.0) - 31.5
    mass = view.sum(dim=(1, 2, 3))
    x, y = (
        (view * place).sum(dim=(1, 2, 3)) / mass,
        (view * place[:, None]).sum(dim=(1, 2, 3)) / mass,
    )
    turned = torch.rad2deg(torch.atan2(y, x)) - math.degrees(math.atan2(25 - 31.5, 40 - 31.5))
    assert turned.abs().max() < 31
    assert turned.max() > 20
    assert turned.min() < -20
    assert torch.allclose(torch.hypot(x, y), torch.full_like(x, math.hypot(6.5, 8.5)), atol=0.2)


def test_the_share_of_images_left_as_they_are():
    images = torch.rand(400, 1, 8, 8)
    view, _ = weak(images, None, keys(400), PROTOCOL.with_(view_share=0.1))
    moved = (view - images).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert 0.05 < moved.float().mean() < 0.16


def test_normalised_images_have_zero_mean_and_unit_deviation():
    images = torch.rand(3, 1, 16, 16) * 0.3 + 0.2
    images[2] = 0.5  # constant
    out = normalise(images)
    assert out.shape == (3, 3, 16, 16)
    assert out[:2].mean(dim=(2, 3)).abs().max() < 1e-5
    assert (out[:2].std(dim=(2, 3), correction=0) - 1).abs().max() < 1e-4
    assert out[2].abs().max() < 1e-3
