"""The pool of intensities against PIL, level by level."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from benchmark.keys import step_keys
from benchmark.views.intensity import blur, hue
from benchmark.views.pool import MOST, OPERATIONS, operate, random_intensities

SIZE = 40
STRENGTHS = torch.tensor([0.0, 0.2, 0.45, 0.7, 0.999])
EXACT = ("identity", "equalize", "posterize", "solarize")


def pictures(channels: int) -> torch.Tensor:
    """One for each strength: noise, few levels, mostly one level, a narrow range, and constant."""
    drawn = torch.rand(5, channels, SIZE, SIZE, generator=torch.Generator().manual_seed(channels))
    drawn[1] = (3 * drawn[1]).floor() / 3
    drawn[2] = torch.where(drawn[2] < 0.95, 0.9, drawn[2] / 2)
    drawn[3] = 0.3 + drawn[3] ** 3 / 4
    drawn[4] = 0.4
    return (255 * drawn).round()


def as_pil(levels: torch.Tensor) -> Image.Image:
    array = levels.to(torch.uint8).numpy()
    return Image.fromarray(array[0] if len(array) == 1 else np.moveaxis(array, 0, 2))


def from_pil(picture: Image.Image) -> np.ndarray:
    array = np.asarray(picture).astype(float)
    return array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)


def by_pil(name: str, picture: Image.Image, u: float) -> Image.Image:
    """As the released code has it, of a strength in [0, 1)."""
    factor = 0.05 + 0.9 * u
    return {
        "identity": lambda: picture,
        "autocontrast": lambda: ImageOps.autocontrast(picture),
        "equalize": lambda: ImageOps.equalize(picture),
        "contrast": lambda: ImageEnhance.Contrast(picture).enhance(factor),
        "brightness": lambda: ImageEnhance.Brightness(picture).enhance(factor),
        "colour": lambda: ImageEnhance.Color(picture).enhance(factor),
        "sharpness": lambda: ImageEnhance.Sharpness(picture).enhance(factor),
        "posterize": lambda: ImageOps.posterize(picture, 8 - max(1, int(np.ceil(4 * u)))),
        "solarize": lambda: ImageOps.solarize(picture, 256 - max(1, int(np.ceil(255 * u)))),
    }[name]()


def number(name: str) -> torch.Tensor:
    return torch.full((len(STRENGTHS),), OPERATIONS.index(name))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in ("blur", "hue")])
def test_an_operation_is_pils(name, channels):
    given = pictures(channels)
    out = operate(given, number(name), STRENGTHS).numpy()
    for n, u in enumerate(STRENGTHS.tolist()):
        away = out[n] - from_pil(by_pil(name, as_pil(given[n]), u))
        if name == "autocontrast":  # PIL's fractions may end just below a whole number
            assert set(np.unique(away)) <= {0, 1}
        else:
            assert np.abs(away).max() <= (name not in EXACT)
            assert (away == 0).mean() > 0.99


def test_strengths_reach_both_ends_of_their_range():
    level = torch.arange(256.0).view(1, 1, 16, 16)

    def applied(name: str, strength: float) -> torch.Tensor:
        return operate(
            level, torch.tensor([OPERATIONS.index(name)]), torch.tensor([strength])
        ).flatten()

    assert torch.equal(applied("posterize", 0.0), level.flatten() // 2 * 2)
    assert torch.equal(applied("posterize", 0.9999), level.flatten() // 16 * 16)
    assert applied("solarize", 0.0).tolist() == [*range(255), 0]
    assert applied("solarize", 0.9999).tolist() == [0, *range(254, -1, -1)]
    assert applied("brightness", 0.0)[-1] == 12
    assert applied("brightness", 0.9999)[-1] == 242


@pytest.mark.parametrize("channels", [1, 3])
def test_blur_and_hue_are_those_of_other_views(channels):
    given = pictures(channels)
    expected = blur(given, 0.1 + 1.9 * STRENGTHS).round()
    assert torch.equal(operate(given, number("blur"), STRENGTHS), expected)
    if channels == 3:
        expected = hue(given, STRENGTHS - 0.5).round()
        assert torch.equal(operate(given, number("hue"), STRENGTHS), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_has_an_operation_of_its_own(channels):
    given = pictures(channels)
    own = torch.tensor([OPERATIONS.index(n) for n in ("sharpness", "blur", "hue", "equalize")])
    together = operate(given[:4], own, STRENGTHS[:4])
    for n in range(4):
        alone = operate(given[n : n + 1], own[n : n + 1], STRENGTHS[n : n + 1])
        assert torch.equal(together[n : n + 1], alone)
    for name in ("colour", "hue"):
        unchanged = torch.equal(operate(given, number(name), STRENGTHS), given)
        assert unchanged == (channels == 1)


def keys(count: int) -> torch.Tensor:
    return step_keys(torch.arange(count), 0, 0)


def test_one_to_three_operations_are_drawn_with_replacement(monkeypatch):
    seen = []

    def spy(levels, operation, strength):
        seen.append((operation, strength))
        return levels

    monkeypatch.setattr("benchmark.views.pool.operate", spy)
    count = 6000
    random_intensities(torch.zeros(count, 1, 8, 8), keys(count))
    operation, strength = (torch.stack(column) for column in zip(*seen, strict=True))
    assert len(operation) == MOST
    how_often = torch.bincount(operation[0], minlength=11) / count
    torch.testing.assert_close(how_often, torch.full((11,), 1 / 11), atol=0.012, rtol=0)
    drawn = [(row > 0).float().mean().item() for row in operation]
    assert drawn == pytest.approx([10 / 11, 10 / 11 * 2 / 3, 10 / 11 / 3], abs=0.02)
    again = (operation[0] == operation[1]) & (operation[1] > 0)
    assert again.any()
    assert (strength[0] != strength[1])[again].all()
    assert strength.mean().item() == pytest.approx(0.5, abs=0.01)


def test_a_view_depends_on_its_own_image_and_key_alone():
    given = pictures(1) / 255
    together = random_intensities(given, keys(5))
    for n in range(5):
        assert torch.equal(
            together[n : n + 1], random_intensities(given[n : n + 1], keys(5)[n : n + 1])
        )
    assert not torch.equal(together, random_intensities(given, keys(5) + 1))


def test_a_view_is_on_256_levels():
    out = random_intensities(torch.rand(64, 3, 16, 16), keys(64))
    assert out.shape == (64, 3, 16, 16)
    assert 0 <= out.min() <= out.max() <= 1
    torch.testing.assert_close(255 * out, (255 * out).round(), atol=1e-4, rtol=0)
