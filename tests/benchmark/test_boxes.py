"""Boxes: drawn as their papers draw them, and pasted into everything alike."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.keys import derive, stable_key, step_keys, uniforms
from benchmark.views import boxes as module
from benchmark.views.boxes import boxes, centred_boxes, cutout, half_boxes, paste

SIZE = 96


def keys(n: int, seed: int = 0) -> torch.Tensor:
    samples = torch.tensor([stable_key(f"sample {i}") for i in range(n)])
    return step_keys(samples, seed, 0)


def bounds(box: torch.Tensor) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the one rectangle that a box is."""
    rows, columns = (np.flatnonzero(box[0].numpy().any(axis)) for axis in (1, 0))
    if not len(rows):
        return 0, 0, 0, 0
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    assert box[0, top:bottom, left:right].all()
    assert box.sum() == (right - left) * (bottom - top)
    return left, top, right, bottom


def test_boxes_are_redrawn_until_they_fit():
    """One box after the other, as a plain loop does it."""
    n, tries = 400, module.TRIES
    drawn = uniforms(derive(keys(n), stable_key("boxes/area")), 2 + 3 * tries).numpy()
    found = [bounds(box) for box in boxes(keys(n), SIZE)]
    for number, box in enumerate(found):
        own = drawn[:, number]
        area = (np.float32(0.02) + np.float32(0.38) * own[0]) * SIZE**2
        if own[1] >= 0.5:
            assert box == (0, 0, 0, 0)
            continue
        ratios, lefts, tops = own[2:].reshape(3, tries)
        for ratio, left, top in zip(ratios, lefts, tops, strict=True):
            aspect = 0.3 + (1 / 0.3 - 0.3) * ratio
            width, height = int(np.sqrt(area / aspect)), int(np.sqrt(area * aspect))
            left, top = int(left * SIZE), int(top * SIZE)
            if left + width <= SIZE and top + height <= SIZE:
                assert box == (left, top, left + width, top + height)
                break
    assert 150 < sum(box[2] > 0 for box in found) < 250


def test_boxes_keep_to_their_area_and_aspect():
    found = np.array([bounds(box) for box in boxes(keys(2000), SIZE, share=1.0)])
    width, height = found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]
    area = width * height / SIZE**2
    fits = (found[:, 2] < SIZE) & (found[:, 3] < SIZE)  # surely not cut at the border
    assert fits.mean() > 0.9
    assert 0.015 < area[fits].min() < 0.03
    assert 0.37 < area.max() <= 0.4
    assert (height / width)[fits].max() < 3.7
    assert (height / width)[fits].min() > 0.27


def test_half_boxes_cover_half():
    found = np.array([bounds(box) for box in half_boxes(keys(500), SIZE)])
    width, height = found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]
    assert width.min() >= SIZE // 2
    assert 0.9 * SIZE < width.max() <= SIZE
    area = width * height / SIZE**2
    assert area.max() <= 0.5
    assert area.min() > 0.48  # height is a whole number
    assert found[:, :2].min() == 0
    assert found[:, 2:].max() == SIZE


@pytest.mark.parametrize("part", [0.2, 0.5])
def test_centred_boxes_are_square_and_cut_at_the_border(part):
    found = np.array([bounds(box) for box in centred_boxes(keys(500), SIZE, torch.tensor([part]))])
    width, height = found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]
    side = np.sqrt(part) * SIZE
    whole = (found[:, 2:] < SIZE).all(1) & (found[:, :2] > 0).all(1)
    assert np.abs(width[whole] - side).max() <= 1
    assert np.abs(height[whole] - side).max() <= 1
    assert 0 < whole.mean() < 1
    assert (found[:, 2] == SIZE).any()


def test_centres_are_in_the_last_seven_eighths():
    found = np.array([bounds(box) for box in centred_boxes(keys(500), SIZE, torch.tensor([0.01]))])
    centre = (found[:, :2] + found[:, 2:]) / 2
    assert SIZE / 8 - 1 <= centre.min() < SIZE / 8 + 3
    assert centre.max() > SIZE - 5


def test_each_image_may_have_a_part_of_its_own():
    part = torch.tensor([0.1, 0.6])
    together = centred_boxes(keys(2), SIZE, part)
    for n in range(2):
        assert torch.equal(together[n : n + 1], centred_boxes(keys(2)[n : n + 1], SIZE, part[n]))


@given(st.integers(0, 2**40))
@settings(max_examples=20)
def test_what_is_pasted_follows_its_image(seed):
    box = boxes(keys(6, seed), 32, share=1.0)
    number = torch.arange(6).view(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    for dtype in (torch.float32, torch.int64, torch.uint8, torch.float64):
        of_type = number.to(dtype)
        pasted = paste(of_type, of_type.roll(1, 0), box)
        assert pasted.dtype == dtype
        assert torch.equal(pasted.long(), torch.where(box, (number - 1) % 6, number))
    colour = number.expand(-1, 3, -1, -1).float()
    assert torch.equal(paste(colour, colour.roll(1, 0), box)[:, 2:], pasted.float())


@pytest.mark.parametrize("channels", [1, 3])
def test_cutout_fills_boxes_with_noise(channels):
    images = torch.full((40, channels, SIZE, SIZE), 0.5)
    out, box = cutout(images, keys(40))
    assert box.shape == (40, 1, SIZE, SIZE)
    outside = ~box.expand_as(out)
    assert (out[outside] == 0.5).all()
    noise = out[~outside]
    assert 0 <= noise.min() <= noise.max() < 1
    assert noise.mean().item() == pytest.approx(0.5, abs=0.01)
    assert noise.std().item() == pytest.approx(12**-0.5, abs=0.01)
    with_box = box.any((1, 2, 3))
    assert 10 < with_box.sum() < 30
    first, second = torch.nonzero(with_box)[:2, 0]
    both = box[first] & box[second]
    assert not both.any() or not torch.equal(out[first][:1][both], out[second][:1][both])


def test_other_uses_of_a_key_draw_other_boxes():
    of_cutout = cutout(torch.zeros(40, 1, SIZE, SIZE), keys(40))[1]
    assert not torch.equal(of_cutout, boxes(keys(40), SIZE))
    assert not torch.equal(
        boxes(keys(40), SIZE), boxes(derive(keys(40), stable_key("second")), SIZE)
    )
