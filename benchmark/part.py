"""One training of a run: build, train, evaluate; stop and go on at any step."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from benchmark import checkpoint, machine
from benchmark.augment import stable_key
from benchmark.data import Batches, resident
from benchmark.dataset import DatasetError, load, native
from benchmark.evaluate import evaluate
from benchmark.method import Method, Setup
from benchmark.progress import Progress
from benchmark.record import TaskEntry
from benchmark.resolve import Plan
from benchmark.train import make_optimizer, train

CHECKPOINT_SECONDS = 60.0


def train_part(
    plan: Plan, part: str, tasks: tuple[str, ...], folder: Path, progress: Progress
) -> None:
    """Train one model from its checkpoint, if there is one, and score its tasks.

    Args:
        plan: of the run.
        part: the training's name in `folder`.
        tasks: codes the model serves.
        folder: of the unfinished run; gets `<part>.parquet`, then `<part>.json`.
        progress: told of every step; may ask to stop.

    Raises:
        Interrupted: after `<part>.pt` was written.
    """
    seed = stable_key(f"{plan.request.seed}/{plan.request.method}/{plan.request.split}/{part}")
    torch.manual_seed(seed)
    if plan.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(plan.device)
    protocol = plan.protocol
    method = plan.kind(plan.config, Setup(tasks, protocol, plan.request.seed))
    # convolutions run a third faster on channels_last, on CPU too
    method.to(memory_format=torch.channels_last).to(plan.device)
    batches = _batches(plan, tasks, seed)
    total = protocol.steps * len(tasks) or protocol.epochs * batches.steps_per_epoch
    seconds = _train(plan, method, batches, total, tasks, folder / f"{part}.pt", progress, part)
    frames = _evaluate(plan, method, tasks, progress)
    entries = {
        task: TaskEntry(
            train_labelled=labelled,
            train_unlabelled=plan.dataset.images[task][0] - labelled if plan.kind.unlabelled else 0,
            test_images=len(frame),
            steps=total,
            seconds=round(seconds, 3),
            peak_memory_mb=round(machine.peak_memory_mb(plan.device), 1),
        )
        for task, labelled, frame in zip(tasks, _labels(plan, tasks), frames, strict=True)
    }
    text = {"parameters": trainable(method), "tasks": {k: asdict(v) for k, v in entries.items()}}
    pd.concat(frames, ignore_index=True).to_parquet(folder / f"{part}.parquet", index=False)
    partial = folder / f"{part}.json.tmp"
    partial.write_text(json.dumps(text))
    partial.replace(folder / f"{part}.json")
    (folder / f"{part}.pt").unlink(missing_ok=True)


def trainable(method: Method) -> int:
    """Number of parameters that learn."""
    return sum(p.numel() for p in method.parameters() if p.requires_grad)


def _labels(plan: Plan, tasks: tuple[str, ...]) -> list[int]:
    return [plan.dataset.labelled(task, plan.request.split) for task in tasks]


def _batches(plan: Plan, tasks: tuple[str, ...], seed: int) -> Batches:
    """The run's training images on the device, and how they are dealt out."""
    labels = _labels(plan, tasks)
    for task, count in zip(tasks, labels, strict=True):
        if not count:
            raise DatasetError(
                f"split {plan.request.split} leaves task {task} without a labelled image "
                f"(it has {plan.dataset.images[task][0]} for training); "
                "choose a larger split or build a larger data set"
            )
    images = [load(plan.dataset, task, "train", plan.protocol.size) for task in tasks]
    unlabelled = plan.kind.unlabelled
    on_device = resident(images, labels, plan.device, unlabelled=unlabelled)
    return Batches(on_device, plan.protocol.batch, seed, unlabelled=unlabelled)


def _train(
    plan: Plan,
    method: Method,
    batches: Batches,
    total: int,
    tasks: tuple[str, ...],
    saved: Path,
    progress: Progress,
    part: str,
) -> float:
    """Train to the end, with a checkpoint now and then; return the seconds it took in all."""
    settings = {**plan.settings, "tasks": list(tasks)}
    optimizer = make_optimizer(method, plan.protocol)
    start, before = 0, 0.0
    if saved.is_file():
        start, before = checkpoint.restore(saved, settings, method, optimizer)
    progress.training(part, start, total, plan.protocol.batch, trainable(method))
    began = last_saved = time.monotonic()

    def watch(step: int, terms: dict[str, Tensor]) -> bool:
        nonlocal last_saved
        progress.step(step, terms)
        stop = progress.stopped and step < total
        now = time.monotonic()
        if stop or now - last_saved > CHECKPOINT_SECONDS:
            checkpoint.save(saved, step, before + now - began, settings, method, optimizer)
            last_saved = time.monotonic()
        return stop

    train(
        method,
        batches,
        optimizer,
        plan.protocol,
        total,
        execution=plan.execution,
        start=start,
        watch=watch,
    )
    if plan.device.type == "cuda":
        torch.cuda.synchronize(plan.device)
    return before + time.monotonic() - began


def _evaluate(
    plan: Plan, method: Method, tasks: tuple[str, ...], progress: Progress
) -> list[pd.DataFrame]:
    """Rows of every task's test images; the only place that opens the test split."""
    frames = []
    for index, task in enumerate(tasks):
        images = load(plan.dataset, task, "test", plan.protocol.size)
        progress.evaluating(task, len(images.ids))
        batch = plan.protocol.evaluation_batch
        own = native(plan.dataset, task, "test")
        frames.append(evaluate(method, images, own, index, plan.device, batch, progress.advance))
    return frames
