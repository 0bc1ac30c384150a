"""Runs made by hand, for tests of figures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from fake_records import make_exchanged, make_record, make_run

from benchmark.dataset import Dataset
from benchmark.dataset import load as load_images
from benchmark.figures.records import Runs
from benchmark.masks import pack
from benchmark.metrics import COLUMNS
from benchmark.record import DatasetEntry, TaskEntry, save

IMAGES = 40  # test images a task, each its own group: enough for an interval


def runs_of(*runs):
    return Runs(Path("nowhere"), "paper", runs)


def run(dice, method="propl", split="1_4", **changes):
    return make_run(make_record(method, split, **changes), dice, images=IMAGES)


def ablation(dice, prompting="none", **changes):
    return make_run(make_exchanged(prompting, **changes), dice, images=IMAGES)


def perturbed(dice, n, split="1_4", **changes):
    config = {"perturbations": n, "prompting": "pud", "uplc": True}
    tag = "" if n == 2 else f"perturbations={n}"
    return run(dice, split=split, tag=tag, **({"config": config} | changes))


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def save_masked(results, dataset, method, shift, **changes):
    """A run whose predictions are the masks, moved right by a few pixels: more for later images."""
    rows = []
    for task in dataset.images:
        images = load_images(dataset, task, "test", 64)
        for place, (name, group, mask) in enumerate(
            zip(images.ids, images.groups, images.masks.astype(bool), strict=True)
        ):
            pred = np.roll(mask, shift * (place + 1), axis=1)
            row = dict.fromkeys(COLUMNS, 1.0) | {"height_px": 64, "width_px": 64}
            row |= {"tp": (mask & pred).sum(), "fp": (pred & ~mask).sum()}
            row |= {"fn": (mask & ~pred).sum(), "tn": (~mask & ~pred).sum()}
            row |= {"task": task, "id": name, "group": group}
            rows.append(row | {"mask_png": pack(mask), "pred_png": pack(pred)})
    frame = pd.DataFrame(rows)
    counts = frame.task.value_counts()
    seen = DatasetEntry(dataset.content_sha256, dataset.partial, dict(dataset.images))
    tasks = {task: TaskEntry(6, 12, int(counts[task]), 100, 1.0, 10.0) for task in dataset.images}
    record = make_record(method, preset="smoke", dataset=seen, **changes)
    return save(replace(record, tasks=tasks), frame, results)


def save_three(results: Path, dataset: Dataset) -> Path:
    """Records of three methods with masks; ProPL is the best, U-Net the worst."""
    for method, shift in (("propl", 1), ("segformer", 2), ("unet", 4)):
        save_masked(results, dataset, method, shift)
    return results
