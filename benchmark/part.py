"""One training of a run: build, train, evaluate; stop and go on at any step."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmark import checkpoint, machine
from benchmark.backward import compile_for
from benchmark.checkpoint import Standing
from benchmark.data import Batches, resident
from benchmark.dataset import DatasetError, load, native
from benchmark.evaluate import evaluate
from benchmark.execution import Execution
from benchmark.files import replace_together
from benchmark.guard import Finite
from benchmark.keys import stable_key
from benchmark.method import Method, Setup
from benchmark.progress import Progress
from benchmark.record import TaskEntry
from benchmark.resolve import Plan
from benchmark.train import make_optimizer, train
from benchmark.validation import Carved, Validation, carve
from benchmark.weights import save_weights, trainable

CHECKPOINT_SECONDS = 60.0  # most that a kill can cost


@dataclass(frozen=True, slots=True)
class Part:
    """A training that is done, as `<part>.json` has it."""

    parameters: int  # trainable
    tasks: dict[str, TaskEntry]
    execution: dict[str, Any]
    validation: dict[str, list[tuple[int, float]]]  # as in the record


def load_part(path: Path) -> Part:
    """What `train_part` left in `<part>.json`."""
    values = json.loads(path.read_text())
    tasks = {task: TaskEntry(**entry) for task, entry in values.pop("tasks").items()}
    return Part(tasks=tasks, **values)


def train_part(
    plan: Plan, part: str, tasks: tuple[str, ...], folder: Path, progress: Progress
) -> None:
    """Train one model from its checkpoint, if there is one, and score its tasks.

    Args:
        plan: of the run.
        part: the training's name in `folder`.
        tasks: codes the model serves.
        folder: of the unfinished run; gets the files that `benchmark.run` lists.
        progress: told of every step; may ask to stop.

    Raises:
        Interrupted: after the checkpoint was written.
        WriteError: the disk is full; the last checkpoint is as it was.
        TrainingError: training went wrong; the last checkpoint is from before.
    """
    if plan.device.type == "cuda":
        torch.cuda.init()  # else a device with a number is not known yet
        torch.cuda.reset_peak_memory_stats(plan.device)
    training = _Training(plan, part, tasks, folder / f"{part}.checkpoint.safetensors", progress)
    execution = training.run()
    frames = _evaluate(plan, training.method, tasks, progress)
    carved = training.carved
    entries = {
        task: TaskEntry(
            train_labelled=labelled,
            train_unlabelled=len(images.ids) - labelled if plan.kind.unlabelled else 0,
            test_images=len(frame),
            steps=training.total,
            seconds=round(training.seconds, 3),
            peak_memory_mb=round(machine.peak_memory_mb(plan.device), 1),
        )
        for task, labelled, images, frame in zip(
            tasks, carved.labels, carved.training, frames, strict=True
        )
    }
    curves = _curves(training.validation)
    done = Part(trainable(training.method), entries, asdict(execution), curves)
    rows = pd.concat(frames, ignore_index=True)
    if plan.request.keep_weights:
        save_weights(folder / f"{part}.weights.safetensors", training.method, _origin(plan))
    replace_together(
        {
            folder / f"{part}.parquet": rows.to_parquet(index=False),
            folder / f"{part}.json": json.dumps(asdict(done)).encode(),
        }
    )
    training.saved.unlink(missing_ok=True)


class _Training:
    """A method and all that it is trained with.

    Built anew for every training, so that nothing of an earlier one of the process is left in it;
    what is dear to have again, compiled code, torch keeps by itself (`compile_for`). A CUDA graph
    knows the places of its weights and is recorded again, which takes a second.

    Args:
        plan: of the run.
        part: the training's name.
        tasks: codes the model serves.
        saved: the checkpoint, to go on from and to write now and then.
        progress: told of every step; may ask to stop.
    """

    def __init__(
        self, plan: Plan, part: str, tasks: tuple[str, ...], saved: Path, progress: Progress
    ) -> None:
        self.plan, self.part, self.saved, self.progress = plan, part, saved, progress
        request, protocol, device = plan.request, plan.protocol, plan.device
        if plan.execution.compile:
            shapes = plan.kind, plan.config, protocol, len(tasks), plan.execution, device
            compile_for(shapes)
        # without the method's name: where networks are alike, methods begin with equal weights and
        # see the same batches and views, so that a difference between two is not one of their draws
        seed = stable_key(f"{request.seed}/{request.split}/{part}")
        torch.manual_seed(seed)
        self.method = plan.kind(plan.config, Setup(tasks, protocol, request.seed))
        if plan.execution.channels_last:
            self.method.to(memory_format=torch.channels_last)
        self.method.to(device)
        self.optimizer = make_optimizer(self.method, protocol)
        self.carved = _carve(plan, tasks)
        unlabelled = plan.kind.unlabelled
        images = resident(self.carved.training, self.carved.labels, device, unlabelled=unlabelled)
        self.batches = Batches(images, protocol.batch, seed, unlabelled=unlabelled)
        self.steps = protocol.steps * len(tasks) or protocol.epochs * self.batches.steps_per_epoch
        self.total = self.steps * plan.kind.stages
        self.labels = self.batches.pool if plan.kind.stages > 1 else None
        precision = plan.execution.precision
        self.validation = Validation(self.carved.held, protocol, self.total, device, precision)
        self.guard = Finite(device, saved)
        self.settings = {**plan.exact, "tasks": list(tasks)}
        self.seconds = 0.0  # of training alone
        self._began = self._last_saved = 0.0
        self.start = Standing()
        if saved.is_file():
            self.start = checkpoint.restore(
                saved, self.settings, self.method, self.optimizer, self.labels
            )
            self.validation.load_state(self.start.validation)

    def run(self) -> Execution:
        """Train to the end, with a checkpoint now and then.

        Returns:
            How the last step was executed.

        Raises:
            Interrupted: after a checkpoint was written.
        """
        batch, parameters = self.plan.protocol.batch, trainable(self.method)
        self.progress.training(self.part, self.start.step, self.total, batch, parameters)
        self._began = self._last_saved = time.monotonic()
        execution = train(
            self.method,
            self.batches,
            self.optimizer,
            self.plan.protocol,
            self.steps,
            execution=self.plan.execution,
            start=self.start.step,
            watch=self._watch,
            staged=lambda stage: self.progress.stage(stage, self.plan.kind.stages),
            guard=self.guard,
        )
        if self.plan.device.type == "cuda":
            torch.cuda.synchronize(self.plan.device)
        self.seconds = self._seconds()
        return execution

    def _watch(self, step: int, terms: dict[str, Tensor]) -> bool:
        self.progress.step(step, terms)
        if self.validation.due(step):
            self.progress.validated(step, self.validation.score(self.method, step))
        if step == self.total:
            return False
        due = time.monotonic() - self._last_saved > CHECKPOINT_SECONDS
        if due or self.progress.stopped:
            self.guard.check(self.method)
            standing = Standing(step, self._seconds(), self.validation.state())
            checkpoint.save(
                self.saved, standing, self.settings, self.method, self.optimizer, self.labels
            )
            self._last_saved = time.monotonic()
        return self.progress.stopped

    def _seconds(self) -> float:
        """Since the first step; those of earlier processes count, looks at validation do not."""
        now = time.monotonic()
        return self.start.seconds + now - self._began - self.validation.seconds


def _curves(validation: Validation) -> dict[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for step, task, dice in validation.curve:
        curves.setdefault(task, []).append((step, dice))
    return curves


def _origin(plan: Plan) -> dict[str, Any]:
    """What a trained method learned from, for the header of its weights."""
    return {
        "method": plan.request.method,
        "split": plan.request.split,
        "variant": plan.request.variant,
        "dataset": plan.dataset.content_sha256,
        "execution": plan.settings["execution"],
        "commit": machine.commit(),
    }


def _carve(plan: Plan, tasks: tuple[str, ...]) -> Carved:
    """The run's training images, with and without a label, and those kept aside."""
    labels = [plan.dataset.labelled(task, plan.request.split) for task in tasks]
    for task, count in zip(tasks, labels, strict=True):
        if not count:
            raise DatasetError(
                f"split {plan.request.split} leaves task {task} without a labelled image "
                f"(it has {plan.dataset.images[task][0]} for training); "
                "choose a larger split or build a larger data set"
            )
    images = [load(plan.dataset, task, "train", plan.protocol.size) for task in tasks]
    return carve(images, labels, plan.protocol.validation)


def _evaluate(
    plan: Plan, method: Method, tasks: tuple[str, ...], progress: Progress
) -> list[pd.DataFrame]:
    """Rows of every task's test images; the only place that opens the test split."""
    device, batch = plan.device, plan.protocol.evaluation_batch
    frames = []
    for index, task in enumerate(tasks):
        images = load(plan.dataset, task, "test", plan.protocol.size)
        progress.evaluating(task, len(images.ids))
        own, precision = native(plan.dataset, task, "test"), plan.execution.precision
        rows = evaluate(method, images, own, index, device, batch, progress.advance, precision)
        frames.append(rows)
    return frames
