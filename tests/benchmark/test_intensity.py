"""Operations on intensities against PIL's arithmetic, colorsys and SciPy, in float64."""

import colorsys

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmark.keys import stable_key, uniforms
from benchmark.views import compiled
from benchmark.views.intensity import blend, blur, grey, hue, jitter

KEYS = torch.tensor([stable_key(f"sample {n}") for n in range(12)])
ALL = torch.ones(len(KEYS), dtype=torch.bool)


def images(channels: int, size: int = 16, count: int = len(KEYS)) -> torch.Tensor:
    drawn = torch.rand(
        count, channels, size, size, generator=torch.Generator().manual_seed(channels)
    )
    drawn[0, :, :4] = drawn[0, :1, :4]  # grey, among colours
    drawn[1] = 0
    return drawn


def grey_of(image: np.ndarray) -> np.ndarray:
    return image[0] if len(image) == 1 else np.tensordot([0.299, 0.587, 0.114], image, axes=1)


def turned(image: np.ndarray, turn: float) -> np.ndarray:
    """Pixel by pixel, through HSV."""
    out = np.empty_like(image)
    for place in np.ndindex(image.shape[1:]):
        h, s, v = colorsys.rgb_to_hsv(*image[(slice(None), *place)])
        out[(slice(None), *place)] = colorsys.hsv_to_rgb((h + turn) % 1, s, v)
    return out


def towards(image: np.ndarray, other: np.ndarray | float, factor: float) -> np.ndarray:
    return np.clip(factor * image + (1 - factor) * other, 0, 1)


@pytest.fixture(params=["loops", "tensor operations"])
def way(request, monkeypatch) -> str:
    monkeypatch.setattr(compiled, "COMPILED", request.param == "loops")
    return request.param


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_is_luma(channels):
    given = images(channels)
    expected = np.stack([grey_of(image)[None] for image in given.double().numpy()])
    np.testing.assert_allclose(grey(given).numpy(), expected, atol=1e-6)


def test_a_blend_leads_to_the_other_image_or_away_from_it():
    given, factor = images(1), torch.linspace(0, 2, len(KEYS))
    out = blend(given, 0.25, factor).numpy()
    for view, image, f in zip(out, given.double().numpy(), factor.tolist(), strict=True):
        np.testing.assert_allclose(view, towards(image, 0.25, f), atol=1e-6)


def test_hue_is_turned_as_in_hsv():
    given, turn = images(3), torch.linspace(-0.5, 0.5, len(KEYS))
    out = hue(given, turn).numpy()
    for view, image, t in zip(out, given.double().numpy(), turn.tolist(), strict=True):
        np.testing.assert_allclose(view, turned(image, t), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_is_its_operations_in_the_drawn_order(channels):
    given = images(channels)
    kinds = 4 if channels == 3 else 2
    drawn = uniforms(KEYS, 2 * kinds).double().numpy()
    out = jitter(given, KEYS, ALL).numpy()
    orders = set()
    for n, image in enumerate(given.double().numpy()):
        order, amounts = np.argsort(drawn[:kinds, n]), 2 * drawn[kinds:, n] - 1
        for which in order:
            amount = amounts[which]
            operation = (
                lambda image, a=amount: towards(image, 0, 1 + a / 2),
                lambda image, a=amount: towards(image, grey_of(image).mean(), 1 + a / 2),
                lambda image, a=amount: towards(image, grey_of(image), 1 + a / 2),
                lambda image, a=amount: turned(image, a / 4),
            )[which]
            image = operation(image)
        orders.add(tuple(order))
        np.testing.assert_allclose(out[n], image, atol=1e-5)
    assert len(orders) > 1


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_leaves_images_that_were_not_chosen(channels):
    given, chosen = images(channels), torch.arange(len(KEYS)) % 2 == 0
    out = jitter(given, KEYS, chosen)
    torch.testing.assert_close(out[~chosen], given[~chosen], atol=1e-6, rtol=0)
    changed = (out - given).abs().amax((1, 2, 3)) > 0.01
    assert changed[chosen][2:].all()


@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_a_gaussian_cut_at_six_pixels(way, channels):
    given, sigma = images(channels, 40), torch.linspace(0, 2, len(KEYS))
    out = blur(given, sigma).numpy()
    for view, image, s in zip(out, given.double().numpy(), sigma.tolist(), strict=True):
        for c in range(channels):
            expected = (
                ndimage.gaussian_filter(image[c], s, mode="mirror", radius=6) if s else image[c]
            )
            np.testing.assert_allclose(view[c], expected, atol=1e-5)


def test_a_single_plane_is_blurred_like_many(way):
    given, sigma = images(1, 40), torch.full((len(KEYS),), 1.5)
    together = blur(given, sigma)
    alone = blur(given[3:4], sigma[3:4])
    torch.testing.assert_close(alone, together[3:4], atol=1e-6, rtol=0)


def test_no_blur_changes_no_bit(way):
    given = images(1, 40)
    assert torch.equal(blur(given, torch.zeros(len(KEYS))), given)


def test_autocast_does_not_reach_the_blur(way):
    given, sigma = images(1, 40), torch.full((len(KEYS),), 1.5)
    expected = blur(given, sigma)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(blur(given, sigma), expected)


def test_a_traced_program_passes_by_the_loops():
    planes = torch.rand(2, 16, 16)
    torch.library.opcheck(torch.ops.usbench.blur_planes.default, (planes, torch.rand(2, 7)))
    torch.library.opcheck(torch.ops.usbench.normalise_planes.default, (planes, 1e-6))
