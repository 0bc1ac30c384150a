"""What a built data set knows of its images beyond their pixels at one size."""

import shutil

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmark.dataset import DatasetError, load, native, open_dataset
from benchmark.masks import unpack
from dataset_builders.parquet import write_shard


@pytest.fixture
def dataset(small_data, tmp_path):
    """A copy, so that a test may change it."""
    return open_dataset(shutil.copytree(small_data, tmp_path / "data"))


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
