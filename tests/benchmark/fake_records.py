"""Runs made by hand, for tests of what reads records: no training, no images."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.metrics import COLUMNS
from benchmark.profiles import Scores
from benchmark.protocol import PRESETS
from benchmark.record import DatasetEntry, RunRecord, TaskEntry, save
from benchmark.scoring import TaskImages
from benchmark.tables import Run
from dataset_builders.tasks import TASKS

IMAGES = 4  # test images a task


def make_record(method="propl", split="1_4", seed=0, preset="paper", tasks=tuple(TASKS), **changes):
    """A record of the given tasks; `changes` replace any other field."""
    protocol = asdict(PRESETS[preset])
    protocol["text"] = protocol["text"] or "bert"  # as `resolve` fills it in
    record = RunRecord(
        method=method,
        split=split,
        seed=seed,
        preset=preset,
        tag="",
        variant="paper",
        encoder=protocol["encoder"] or "resnet34",
        weights=protocol["weights"],
        parameters=1000,
        protocol=protocol,
        config={},
        dataset=DatasetEntry("0123456789abcdef" * 4, (), dict.fromkeys(TASKS, (600, 200))),
        tasks=dict.fromkeys(tasks, TaskEntry(150, 450, IMAGES, 100, 1.0, 10.0)),
        machine={"device": "cpu (x86_64)"},
        commit="unknown",
        finished="2026-01-01T00:00:00+00:00",
    )
    return replace(record, **changes)


def make_exchanged(prompting="pud", noise="dropout", uplc=True, **changes):
    """ProPL with parts exchanged or left out, tagged as a run of it is."""
    config = {"prompting": prompting, "noise": noise, "uplc": uplc}
    usual = {"prompting": "pud", "noise": "dropout", "uplc": True}
    tag = ",".join(f"{k}={v}".lower() for k, v in config.items() if v != usual[k])
    return make_record("propl", tag=tag, config=config, **changes)


def make_ablation(pud: bool, uplc: bool, **changes):
    """ProPL with parts left out."""
    return make_exchanged("pud" if pud else "none", uplc=uplc, **changes)


def make_run(
    record: RunRecord,
    dice: float | Mapping[str, float] = 0.8,
    hd95: float = 5.0,
    images: int = 0,
    **options,
):
    """The record with scores: one Dice for all its tasks, or one a task; IoU is 0.1 lower.

    With `images`, as many images a task as `make_images` makes of the same scores.
    """
    by_task = dice if isinstance(dice, Mapping) else dict.fromkeys(record.tasks, dice)
    return Run(
        record,
        {task: Scores(d, d - 0.1, hd95, images or IMAGES, 0, 0, 0) for task, d in by_task.items()},
        {
            task: make_images(task, {"dice": d, "iou": d - 0.1, "hd95": hd95}, images, **options)
            for task, d in by_task.items()
            if images
        },
    )


def make_images(task, means, images=40, groups=None, spread=0.05, duplicates=0, noise=0.0, seed=0):
    """Images whose scores lie evenly about the means, the same way for every method.

    Args:
        task: its code.
        means: by metric.
        images: how many.
        groups: how many they are of; None: each its own.
        spread: of the scores about their mean.
        duplicates: how many of the images, the last, have one; None: rows that do not tell.
        noise: standard deviation of what is this method's alone.
        seed: of the noise.
    """
    steps = spread * np.linspace(-1, 1, images)
    own = np.random.default_rng(seed).normal(0, noise, images)
    return TaskImages(
        ids=np.array([f"{task}/{i:03}" for i in range(images)]),
        groups=np.array([f"{task}/group{i % (groups or images):03}" for i in range(images)]),
        duplicate=None if duplicates is None else np.arange(images) >= images - duplicates,
        top={name: mean + steps + own - own.mean() for name, mean in means.items()},
        bottom={name: np.ones(images) for name in means},
    )


def save_run(results: Path, record: RunRecord, dice: float = 0.8, empty: int = 0) -> Path:
    """Record and rows on disk: every image of the Dice given, but for `empty` predictions a task.

    HD95 is 4 px from prediction to mask and 5 px back.
    """
    hit = round(100 * dice)
    row = dict.fromkeys(COLUMNS, 1.0) | {"height_px": 30, "width_px": 40}
    row |= {"tp": hit, "fp": 100 - hit, "fn": 100 - hit, "tn": 1000}
    row |= {"hd95_pred_to_mask_px": 4.0, "hd95_mask_to_pred_px": 5.0, "hd95_pooled_px": 4.5}
    missed = {"tp": 0, "fp": 0, "fn": 100}
    missed |= {name: float("nan") for name in COLUMNS if name.startswith(("hd", "asd"))}
    rows = [
        {"task": task, "id": f"{task}{i}", "group": f"{task}{i}"}
        | row
        | (missed if i < empty else {})
        for task in record.tasks
        for i in range(IMAGES)
    ]
    return save(record, pd.DataFrame(rows), results)
