"""The two sides of the comparison of views do the same work."""

import pytest
import torch

pytest.importorskip("albumentations")

from benchmark.bench import views


@pytest.fixture(scope="module")
def images():
    return views.noise(views.BATCH)


def test_both_sides_turn_to_the_same_side(images):
    assert views.same_rotation(images) < views.TOLERANCE


@pytest.mark.parametrize("with_strong", [False, True])
def test_both_sides_end_with_the_same_kind_of_batch(images, with_strong):
    sides = [
        views.ours(images, with_strong=with_strong)(0),
        views.theirs(images, 1, views.BY_IMAGE, with_strong=with_strong)(0),
    ]
    # albumentations rounds the mean of a dark view
    for side, off in zip(sides, (1e-4, 2e-3), strict=True):
        assert [view.shape[1] for view in side] == [3, 1, 3][: len(side)]
        assert len(side) == 2 + with_strong
        for view in side:
            assert view.shape[0] == views.BATCH
            assert view.dtype == torch.float32
        for view in side[::2]:  # images
            assert view.mean((2, 3)).abs().max() < off
            assert (view.std((2, 3)) - 1).abs().max() < 1e-3
        assert set(side[1].unique().tolist()) == {0.0, 1.0}


def test_times_are_of_every_side(images):
    side = views.ours(images, with_strong=False)
    times = views.measure({"one": side, "twice": lambda n: side(n) and side(n)}, rounds=2)
    assert 0 < times["one"] < times["twice"]
