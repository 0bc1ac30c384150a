"""Runs made by hand, for tests of what reads records: no training, no images."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from benchmark.metrics import COLUMNS
from benchmark.profiles import Scores
from benchmark.protocol import PRESETS
from benchmark.record import DatasetEntry, RunRecord, TaskEntry, save
from benchmark.tables import Run
from dataset_builders.tasks import TASKS

IMAGES = 4  # test images a task


def make_record(method="propl", split="1_4", seed=0, preset="paper", tasks=tuple(TASKS), **changes):
    """A record of the given tasks; `changes` replace any other field."""
    protocol = asdict(PRESETS[preset])
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


def make_ablation(pud: bool, uplc: bool, **changes):
    """ProPL with parts left out, tagged as a run of it is."""
    flags = {"prompting": pud, "calibration": uplc}
    tag = ",".join(f"{name}=false" for name, value in flags.items() if not value)
    return make_record("propl", tag=tag, config=flags, **changes)


def make_run(record: RunRecord, dice: float | Mapping[str, float] = 0.8, hd95: float = 5.0):
    """The record with scores: one Dice for all its tasks, or one a task; IoU is 0.1 lower."""
    by_task = dice if isinstance(dice, Mapping) else dict.fromkeys(record.tasks, dice)
    return Run(
        record,
        {task: Scores(d, d - 0.1, hd95, IMAGES, 0, 0, 0) for task, d in by_task.items()},
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
