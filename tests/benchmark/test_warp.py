"""Affine maps against SciPy in float64, by both ways of doing them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from benchmark.views import compiled
from benchmark.views.warp import as_unit, warp

SIZES = [33, 48, 64]


def smooth(count: int, channels: int, size: int, seed: int = 0) -> torch.Tensor:
    """Speckle as stored: grey levels of neighbours differ by some 10 of 256."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.random((count, channels, size, size)), (0, 0, 1.5, 1.5))
    spread = (noise - noise.min()) / (noise.max() - noise.min())
    return torch.from_numpy((spread * 255).round().astype(np.uint8))


def rotations(count: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-np.pi, np.pi, count), rng.uniform(0.5, 2, count)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    return torch.from_numpy(np.stack([cos, -sin, sin, cos], 1).reshape(-1, 2, 2)).float()


def exactly(image: np.ndarray, matrix: np.ndarray, order: int) -> np.ndarray:
    """SciPy's, in float64: black outside, and half black within a pixel of the border."""
    middle, frame = (len(image) - 1) / 2, 2
    y, x = np.mgrid[: len(image), : len(image)] - middle
    places = [matrix[1, 0] * x + matrix[1, 1] * y, matrix[0, 0] * x + matrix[0, 1] * y]
    framed = np.pad(image.astype(np.float64), frame)
    moved = [place + middle + frame for place in places]
    return ndimage.map_coordinates(framed, moved, order=order, mode="constant")


@pytest.fixture(params=["loops", "tensor operations"])
def way(request, monkeypatch) -> str:
    monkeypatch.setattr(compiled, "COMPILED", request.param == "loops")
    return request.param


@pytest.mark.parametrize("size", SIZES)
def test_images_are_those_of_scipy(way, size):
    images, matrices = smooth(6, 2, size), rotations(6)
    warped, _ = warp(images, None, matrices)
    assert warped.dtype == torch.float32
    for view, image, matrix in zip(warped, images.numpy(), matrices.double().numpy(), strict=True):
        for c in range(2):
            expected = exactly(image[c] / 255, matrix, order=1)
            np.testing.assert_allclose(view[c].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_masks_are_those_of_scipy(way, size):
    images, matrices = smooth(6, 3, size), rotations(6)
    masks = (images[:, :1] > 128).to(torch.uint8)
    views, warped = warp(images, masks, matrices)
    assert torch.equal(views, warp(images, None, matrices)[0])
    assert warped.dtype == torch.float32
    assert set(warped.unique().tolist()) == {0.0, 1.0}
    for view, mask, matrix in zip(warped, masks.numpy(), matrices.double().numpy(), strict=True):
        differ = view[0].numpy() != exactly(mask[0], matrix, order=0)
        assert differ.mean() < 1e-3  # where a place lies within rounding of the middle


def test_loops_keep_their_digits_on_the_hardest_images():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 1, 224, 224), np.uint8))
    angle = torch.tensor([-0.26, 0.1, 0.2, 0.26])
    cos, sin = angle.cos(), angle.sin()
    matrices = torch.stack((cos, -sin, sin, cos), 1).view(-1, 2, 2)
    warped, _ = warp(images, None, matrices)
    for view, image, matrix in zip(warped, images.numpy(), matrices.double().numpy(), strict=True):
        expected = exactly(image[0] / 255, matrix, order=1)
        np.testing.assert_allclose(view[0].numpy(), expected, atol=1e-5)


def test_the_identity_changes_nothing(way):
    images = smooth(2, 3, 32)
    masks = (images[:, :1] > 100).float()
    warped, warped_masks = warp(images, masks, torch.eye(2).expand(2, 2, 2))
    torch.testing.assert_close(warped, images / 255, atol=1e-5, rtol=0)
    assert torch.equal(warped_masks, masks)


@given(st.lists(st.floats(width=32), min_size=4, max_size=4))
@settings(max_examples=100)
def test_a_matrix_may_lead_anywhere(numbers):
    """The loops read memory by index: whatever is outside the image must be black, not a crash."""
    images = torch.full((1, 1, 16, 16), 255, dtype=torch.uint8)
    warped, masks = warp(images, images > 0, torch.tensor(numbers).view(1, 2, 2))
    assert warped.shape == masks.shape == (1, 1, 16, 16)
    assert set(masks.unique().tolist()) <= {0.0, 1.0}


def test_no_masks_are_no_masks(way):
    warped, masks = warp(smooth(2, 1, 32), None, rotations(2))
    assert warped.shape == (2, 1, 32, 32)
    assert masks.numel() == 0


def test_float64_stays_float64():
    images = smooth(2, 1, 32)
    exact, _ = warp(images.double() / 255, None, rotations(2))
    rounded, _ = warp(images, None, rotations(2))
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), rounded, atol=1e-5, rtol=0)


def test_autocast_moves_no_pixel(way):
    images, matrices = smooth(2, 1, 64), rotations(2)
    expected, _ = warp(images, None, matrices)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(warp(images, None, matrices)[0], expected)


def test_stored_images_become_parts_of_one():
    stored = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(as_unit(stored), stored.float() / 255)
    assert as_unit(stored.double()) is not None
    assert torch.equal(as_unit(stored.double()), stored.double())


def test_a_traced_program_passes_by_the_loops():
    torch.library.opcheck(
        torch.ops.usbench.warp.default,
        (smooth(2, 1, 16), torch.zeros(2, 1, 16, 16), rotations(2)),
    )
