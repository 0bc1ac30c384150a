"""Which images a step sees, and what is in a batch."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data import Batches, Stream, resident
from benchmark.dataset import DatasetError, Images, load, open_dataset, resize
from dataset_builders.images import encode_png
from dataset_builders.manifest import MANIFEST
from dataset_builders.tasks import TASKS


@given(st.integers(1, 40), st.integers(1, 16), st.integers(0, 10**6))
def test_every_pass_holds_each_image_once(images, batch, seed):
    stream = Stream(torch.arange(100, 100 + images), batch, seed)
    seen = torch.cat([stream.at(step) for step in range(3 * images)])[: 3 * images]
    for number in range(3):
        one_pass = seen[number * images : (number + 1) * images]
        assert sorted(one_pass.tolist()) == list(range(100, 100 + images))


@given(
    st.integers(1, 40), st.integers(1, 16), st.lists(st.integers(0, 200), min_size=1, max_size=9)
)
def test_a_step_is_the_same_whatever_was_asked_before(images, batch, steps):
    once = Stream(torch.arange(images), batch, 5)
    for step in steps:
        assert torch.equal(once.at(step), Stream(torch.arange(images), batch, 5).at(step))


def test_passes_and_seeds_are_shuffled_differently():
    first, second = Stream(torch.arange(50), 50, 0), Stream(torch.arange(50), 50, 1)
    assert not torch.equal(first.at(0), first.at(1))
    assert not torch.equal(first.at(0), second.at(0))


def made(task: str, count: int, channels: int = 1) -> Images:
    pixels = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones(
        (1, channels, 4, 4), np.uint8
    )
    masks = np.ones((count, 4, 4), np.uint8)
    return Images(task, [f"{task}/{i}" for i in range(count)], ["g"] * count, pixels, masks)


def test_batches_keep_labelled_and_unlabelled_apart():
    images = resident(
        [made("BC", 10), made("FH", 20)], [3, 5], torch.device("cpu"), unlabelled=True
    )
    assert len(images.labelled) == 8
    assert len(images.unlabelled) == 22
    batches = Batches(images, 8, seed=1, unlabelled=True)
    for step in range(20):
        batch = batches.at(step)
        assert batch.img_x.shape == batch.img_u.shape == (4, 1, 4, 4)
        rank_x, rank_u = batch.img_x[:, 0, 0, 0] * 255, batch.img_u[:, 0, 0, 0] * 255
        limit = torch.tensor([3, 5])
        assert (rank_x.round() < limit[batch.task_x]).all()
        assert (rank_u.round() >= limit[batch.task_u]).all()
    assert batches.steps_per_epoch == 6  # 22 unlabelled, 4 a step


def test_a_supervised_method_holds_labelled_images_only():
    images = resident([made("BC", 10)], [3], torch.device("cpu"), unlabelled=False)
    batches = Batches(images, 8, seed=1, unlabelled=False)
    assert len(images.pixels) == 3
    assert batches.at(0).img_x.shape == (8, 1, 4, 4)
    assert batches.at(0).img_u.shape[0] == 0
    assert batches.steps_per_epoch == 1


def test_grey_tasks_get_three_channels_beside_one_in_colour():
    images = resident(
        [made("BC", 2), made("OT", 2, 3)], [2, 2], torch.device("cpu"), unlabelled=False
    )
    assert images.pixels.shape == (4, 3, 4, 4)


def test_the_data_set_is_read_and_kept_resized(small_data):
    dataset = open_dataset(small_data)
    assert list(dataset.images) == list(TASKS)
    fresh = load(dataset, "OT", "train", 32)
    assert fresh.pixels.shape == (dataset.images["OT"][0], 3, 32, 32)
    again = load(dataset, "OT", "train", 32)
    assert isinstance(again.pixels, np.memmap)
    assert np.array_equal(fresh.pixels, again.pixels)
    assert np.array_equal(fresh.masks, again.masks)
    assert set(np.unique(fresh.masks)) == {0, 1}
    assert again.ids == (small_data / "splits/OT/train.txt").read_text().split()


def test_resizing_averages_over_areas():
    image = np.random.default_rng(0).integers(0, 256, (60, 90), np.uint8)
    mask = np.zeros((60, 90), np.uint8)
    mask[:30] = 255
    small, truth = resize(encode_png(image), encode_png(mask), 30, colour=False)
    exact = image.reshape(30, 2, 30, 3).mean(axis=(1, 3))
    assert np.abs(small[0] - exact).max() <= 0.5 + 1e-6
    assert truth[:15].all()
    assert not truth[15:].any()


def test_a_folder_without_manifest_is_no_data_set(tmp_path):
    with pytest.raises(DatasetError, match="build one with"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", json.dumps({"format": 99})])
def test_a_damaged_manifest_is_one_clear_error(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DatasetError, match="build the data set again"):
        open_dataset(tmp_path)
