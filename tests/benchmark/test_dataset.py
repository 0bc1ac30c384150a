"""A built data set as it is read: images at one size, and what is known of them beyond that."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmark.dataset import DatasetError, load, native, open_dataset, resize
from benchmark.masks import unpack
from dataset_builders.images import encode_png
from dataset_builders.parquet import write_shard
from dataset_builders.tasks import TASKS


@pytest.fixture
def dataset(small_data, tmp_path):
    """A copy, so that a test may change it; without what other tests had resized."""
    without = shutil.ignore_patterns("cache")
    return open_dataset(shutil.copytree(small_data, tmp_path / "data", ignore=without))


def rewrite(dataset, task: str, **changes) -> None:
    """Change columns of a task's test rows: name -> one value a row."""
    (shard,) = (dataset.root / task).glob("test-*.parquet")
    rows = pq.read_table(shard).to_pylist()
    for i, row in enumerate(rows):
        row.update({name: values[i % len(values)] for name, values in changes.items()})
    write_shard(rows, shard)


def test_masks_are_those_of_the_images_at_their_own_size(dataset):
    for task in ("BC", "LA"):
        images, own = load(dataset, task, "test", 32), native(dataset, task, "test")
        assert len(own.masks) == len(own.spacing_mm) == len(own.duplicate_of) == len(images.ids)
        masks = [unpack(png) for png in own.masks]
        assert len({mask.shape for mask in masks}) > 1
        assert all(mask.shape != (32, 32) for mask in masks)
        for mask, resized in zip(masks, images.masks, strict=True):
            same = cv2.resize(
                mask.astype(np.uint8), (32, 32), interpolation=cv2.INTER_NEAREST_EXACT
            )
            np.testing.assert_array_equal(same, resized)


def test_spacing_is_the_side_of_a_square_pixel(dataset):
    rewrite(dataset, "FH", spacing_mm=[[0.2, 0.2], [0.308, 0.154], None, [0.5, 0.502]])
    own = native(dataset, "FH", "test")
    np.testing.assert_allclose(own.spacing_mm[:4], [0.2, np.nan, np.nan, 0.501], rtol=1e-5)


def test_duplicates_are_named(dataset):
    rewrite(dataset, "FH", duplicate_of=[None, "FH/hc18/x"])
    assert native(dataset, "FH", "test").duplicate_of[:3] == [None, "FH/hc18/x", None]


def test_a_split_that_is_not_there_is_named(dataset):
    shutil.rmtree(dataset.root / "FH")
    with pytest.raises(DatasetError, match="no shard of task FH, split test; build the data set"):
        native(dataset, "FH", "test")


def test_the_data_set_is_read_and_kept_resized(dataset):
    assert list(dataset.images) == list(TASKS)
    fresh = load(dataset, "OT", "train", 32)
    assert fresh.pixels.shape == (dataset.images["OT"][0], 3, 32, 32)
    again = load(dataset, "OT", "train", 32)
    assert isinstance(again.pixels, np.memmap)
    assert np.array_equal(fresh.pixels, again.pixels)
    assert np.array_equal(fresh.masks, again.masks)
    assert set(np.unique(fresh.masks)) == {0, 1}
    assert again.ids == (dataset.root / "splits/OT/train.txt").read_text().split()
    assert load(dataset, "BC", "train", 32).pixels.shape[1] == 1


def test_training_neither_opens_nor_keeps_the_test_split(dataset):
    for shard in dataset.root.glob("*/test-*.parquet"):
        shard.write_bytes(b"not to be read")
    for task in dataset.images:
        load(dataset, task, "train", 32)
    kept = [path.name for path in (dataset.root / "cache").rglob("*") if path.is_file()]
    assert len(kept) == len(dataset.images)
    assert all("-train" in name for name in kept)


def test_a_damaged_cache_is_made_again(dataset):
    fresh = load(dataset, "BC", "train", 32)
    (path,) = (dataset.root / "cache").rglob("BC-train*")
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 16
    for content in (bytes(damaged), whole[:-9], b""):
        path.write_bytes(content)
        again = load(dataset, "BC", "train", 32)
        assert np.array_equal(fresh.pixels, again.pixels)
        assert np.array_equal(fresh.masks, again.masks)
        assert path.read_bytes() == whole


def test_another_data_set_in_the_same_folder_has_its_own_cache(dataset):
    load(dataset, "BC", "train", 32)
    other = replace(dataset, content_sha256="0" * 64)
    assert not isinstance(load(other, "BC", "train", 32).pixels, np.memmap)


def areas(length: int, size: int) -> np.ndarray:
    """(size, length): how much of each old pixel lies in each new one, as shares of the new."""
    step = length / size
    low = np.arange(size)[:, None] * step
    pixel = np.arange(length)[None]
    shared = np.minimum(low + step, pixel + 1) - np.maximum(low, pixel)
    return np.clip(shared, 0, None) / step


@pytest.mark.parametrize("shape", [(224, 224), (240, 301), (448, 672), (577, 763), (1024, 224)])
def test_images_are_averaged_over_the_area_of_each_pixel(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    small, _ = resize(encode_png(image), encode_png(image), 224, colour=False)
    exact = areas(shape[0], 224) @ image.astype(np.float64) @ areas(shape[1], 224).T
    error = np.abs(small[0] - exact)
    assert error.max() <= 0.5 + 1e-3  # rounding to whole levels, and nothing else
    if shape != (224, 224):
        assert 10 * np.log10(255**2 / (error**2).mean()) > 58  # dB; of rounding alone: 58.9


def test_colour_is_averaged_channel_by_channel():
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    colour, _ = resize(encode_png(image), encode_png(image[..., 0]), 32, colour=True)
    for channel in range(3):
        plain = np.ascontiguousarray(image[..., channel])
        grey, _ = resize(encode_png(plain), encode_png(plain), 32, colour=False)
        assert np.array_equal(colour[channel], grey[0])


def test_masks_are_taken_at_the_nearest_pixel():
    mask = np.zeros((60, 90), np.uint8)
    mask[:30] = 255
    _, truth = resize(encode_png(mask), encode_png(mask), 30, colour=False)
    assert truth[:15].all()
    assert not truth[15:].any()


def test_an_entry_of_another_kind_is_damage_and_no_traceback(small_data, tmp_path):
    manifest = json.loads((small_data / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"withheld": 5}))
    with pytest.raises(DatasetError, match="is damaged"):
        open_dataset(tmp_path)
