"""Runs with masks in their rows, for tests of the page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from fake_records import make_record

from benchmark.dataset import Dataset
from benchmark.masks import pack
from benchmark.methods import METHODS
from benchmark.metrics import measure
from benchmark.record import DatasetEntry, RunRecord, save
from dataset_builders.tasks import TASKS

IMAGES = 24  # a task, where no data set names them; enough groups for an interval


def entry_of(dataset: Dataset) -> DatasetEntry:
    """What a record says of a data set."""
    return DatasetEntry(dataset.content_sha256, dataset.partial, dataset.images)


def blob(size: int, radius: float, shift: float = 0) -> np.ndarray:
    """A disc (size, size), moved to the right."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return y**2 + (x - shift) ** 2 <= radius**2


def save_with_masks(
    results: Path,
    record: RunRecord | None = None,
    dataset: Dataset | None = None,
    method: str = "unet",
    name: str = "image",
    size: int = 64,
) -> Path:
    """Record and rows of a run whose predictions move away from the mask, image by image.

    The images are the data set's, or `name` and a number; the last prediction of a task is empty.
    """
    if dataset:
        record = record or make_record(method, dataset=entry_of(dataset))
        shards = {task: (dataset.root / task).glob("test-*.parquet") for task in dataset.images}
        ids = {
            task: pq.read_table(sorted(paths), columns=["id"])["id"].to_pylist()
            for task, paths in shards.items()
        }
    else:
        record = record or make_record(method)
        ids = {task: [f"{task}/{name}{i}" for i in range(IMAGES)] for task in TASKS}
    offset = list(METHODS).index(record.method) / len(METHODS)  # later methods are worse
    rows, masks, preds = [], [], []
    for task, names in ids.items():
        for i, image in enumerate(names):
            rows.append({"task": task, "id": image, "group": image})
            masks.append(blob(size, size / 4))
            shift = (i + offset) * size / 2 / len(names)
            preds.append(blob(size, size / 4, shift) & (i < len(names) - 1))
    frame = pd.DataFrame(rows).assign(**measure(np.stack(preds), np.stack(masks), threads=1))
    frame = frame.assign(mask_png=[*map(pack, masks)], pred_png=[*map(pack, preds)])
    entry = next(iter(record.tasks.values()))
    tasks = {task: replace(entry, test_images=len(names)) for task, names in ids.items()}
    return save(replace(record, tasks=tasks), frame, results)
