"""Which images a step sees, what is in a batch, and how it lies on the device."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from benchmark.data import Batches, Stream, pack_masks, resident, unpack_masks
from benchmark.dataset import DatasetError, Images, open_dataset
from benchmark.keys import step_keys
from dataset_builders.manifest import MANIFEST

CPU = torch.device("cpu")


@given(st.integers(1, 40), st.integers(1, 16), st.integers(0, 10**6))
def test_every_pass_holds_each_image_once(images, batch, seed):
    stream = Stream(torch.arange(100, 100 + images), batch, seed, CPU)
    seen = torch.cat([stream.at(step) for step in range(3 * images)])[: 3 * images]
    for number in range(3):
        one_pass = seen[number * images : (number + 1) * images]
        assert sorted(one_pass.tolist()) == list(range(100, 100 + images))


@given(
    st.integers(1, 40), st.integers(1, 16), st.lists(st.integers(0, 200), min_size=1, max_size=9)
)
def test_a_step_is_the_same_whatever_was_asked_before(images, batch, steps):
    once = Stream(torch.arange(images), batch, 5, CPU)
    for step in steps:
        assert torch.equal(once.at(step), Stream(torch.arange(images), batch, 5, CPU).at(step))


def test_passes_and_seeds_are_shuffled_differently():
    first, second = (Stream(torch.arange(50), 50, seed, CPU) for seed in (0, 1))
    assert not torch.equal(first.at(0), first.at(1))
    assert not torch.equal(first.at(0), second.at(0))


def test_a_pass_is_shuffled_and_moved_once(monkeypatch):
    calls = []
    shuffle = torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda *a, **k: calls.append(a) or shuffle(*a, **k))
    stream = Stream(torch.arange(20), 4, 0, CPU)
    for step in range(15):
        stream.at(step)
    assert len(calls) == 3


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
        rank_x, rank_u = batch.img_x[:, 0, 0, 0], batch.img_u[:, 0, 0, 0]
        limit = torch.tensor([3, 5])
        assert (rank_x < limit[batch.task_x]).all()
        assert (rank_u >= limit[batch.task_u]).all()
    assert batches.steps_per_epoch == 6  # 22 unlabelled, 4 a step


def both_tasks(device: torch.device = CPU) -> Batches:
    images = resident([made("BC", 10), made("FH", 20)], [3, 5], device, unlabelled=True)
    return Batches(images, 8, seed=1, unlabelled=True)


# step: labelled and unlabelled images, and the key of the first of each
RECORDED = {
    0: ([2, 11, 1, 12], [27, 8, 25, 18], -1040292441230142714, 4302807018879284415),
    1: ([0, 13, 14, 10], [20, 16, 24, 17], -7271676446322224793, -7330811319432494481),
    5: ([11, 1, 0, 12], [6, 15, 4, 18], -8042427103219551353, -6125233519220469766),
    6: ([14, 1, 2, 13], [29, 17, 23, 16], -245397713497912095, 7915759610588931264),
    100: ([0, 14, 2, 1], [25, 23, 8, 15], 3689851139447630373, -2752839414332981215),
}


@pytest.mark.parametrize("step", RECORDED)
def test_the_order_of_images_is_pinned(step):
    """A change of it would change every run."""
    batches = both_tasks()
    x, u = batches.indices(step)
    batch = batches.at(step)
    found = (x.tolist(), u.tolist(), batch.key_x[0].item(), batch.key_u[0].item())
    assert found == RECORDED[step]


@pytest.mark.parametrize("as_step", [int, torch.tensor])
def test_a_batch_is_gathered_from_its_indices(as_step):
    batches = both_tasks()
    images = batches.images
    for step in (0, 7):
        x, u = batches.indices(step)
        batch, same = batches.gather(x, u, as_step(step)), batches.at(step)
        assert batch.img_x.dtype == batch.mask_x.dtype == torch.uint8
        assert torch.equal(batch.img_x, images.pixels[x])
        assert torch.equal(batch.img_u, images.pixels[u])
        assert torch.equal(batch.task_x, images.tasks[x])
        assert torch.equal(batch.key_u, step_keys(images.keys[u], 1, step))
        for name in batch.__slots__:
            assert torch.equal(getattr(batch, name), getattr(same, name))


@pytest.mark.parametrize("size", [4, 5, 32])
def test_masks_come_back_from_their_bits(size):
    masks = np.random.default_rng(size).integers(0, 2, (7, size, size), np.uint8)
    packed = pack_masks(masks)
    assert packed.nbytes == 7 * -(-(size**2) // 8)
    unpacked = unpack_masks(packed, size)
    with FlopCounterMode(display=False):  # what records operations has torch's alone
        by_torch = unpack_masks(packed, size)
    for each in (unpacked, by_torch):
        assert each.dtype == torch.uint8
        assert np.array_equal(each[:, 0].numpy(), masks)


def test_every_image_lies_with_its_mask_task_and_key():
    rng = np.random.default_rng(0)
    parts = [
        Images(
            task,
            [f"{task}/{n}" for n in range(6)],
            ["g"] * 6,
            rng.integers(0, 256, (6, channels, 8, 8), np.uint8),
            rng.integers(0, 2, (6, 8, 8), np.uint8),
        )
        for task, channels in (("BC", 1), ("OT", 3))
    ]
    images = resident(parts, [2, 3], CPU, unlabelled=True)
    masks = unpack_masks(images.masks, 8)[:, 0].numpy()
    for number, part in enumerate(parts):
        own = slice(6 * number, 6 * number + 6)
        expected = np.broadcast_to(part.pixels, (6, 3, 8, 8))
        assert np.array_equal(images.pixels[own].numpy(), expected)
        labelled = (2, 3)[number]  # what is known of the others stays off the device
        assert np.array_equal(masks[own][:labelled], part.masks[:labelled])
        assert not masks[own][labelled:].any()
        assert (images.tasks[own] == number).all()
    assert len(images.keys.unique()) == 12
    assert images.labelled.tolist() == [0, 1, 6, 7, 8]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU")
def test_a_gpu_gets_the_same_batches():
    here, there = both_tasks(), both_tasks(torch.device("cuda"))
    for step in range(8):
        torch.cuda.set_sync_debug_mode("error")
        try:
            batch = there.at(step)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        for name in batch.__slots__:
            assert torch.equal(getattr(batch, name).cpu(), getattr(here.at(step), name))


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


def test_a_folder_without_manifest_is_no_data_set(tmp_path):
    with pytest.raises(DatasetError, match="build one with"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", json.dumps({"format": 99})])
def test_a_damaged_manifest_is_one_clear_error(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DatasetError, match="build the data set again"):
        open_dataset(tmp_path)
