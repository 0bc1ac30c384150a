"""From a probe to what a run will take: seconds, memory, bytes on the disk."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmark.dataset import Dataset, Images
from benchmark.part import CHECKPOINT_SECONDS
from benchmark.resolve import Plan, resolve
from benchmark.sweep.embedded import Slot
from benchmark.sweep.jobs import Job
from benchmark.sweep.probe import Probe
from benchmark.sweep.probes import Probes, conditions
from benchmark.validation import carve


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run is predicted to take."""

    steps: int  # of all its parts and stages
    seconds: float  # where it is the first of its method in its process, without that one's start
    again: float  # seconds where it is not
    memory_mb: float
    disk_mb: float  # that stay: weights, statistics, masks
    checkpoint_mb: float  # that go when it is done


@dataclass(frozen=True, slots=True)
class Length:
    """How much one part has to do."""

    steps: int  # of each stage
    stages: int
    unlabelled: int  # images that a method of several stages labels
    looks: int  # at the images kept aside
    tests: int  # images

    @property
    def total(self) -> int:
        """Steps of all stages."""
        return self.steps * self.stages


def cost_of(plan: Plan, probe: Probe) -> Cost:
    """Of a run whose method was probed."""
    lengths = [length_of(plan, tasks) for tasks in plan.parts.values()]
    weights = probe.weights_bytes if plan.request.keep_weights else 0.0
    kept = sum(weights + length.tests * probe.row_bytes for length in lengths)
    seconds = sum(_seconds(length, probe) for length in lengths)
    return Cost(
        steps=sum(length.total for length in lengths),
        seconds=seconds + probe.cold_s,
        again=seconds,
        memory_mb=probe.memory_mb,
        disk_mb=kept / 1e6,
        checkpoint_mb=probe.checkpoint_bytes / 1e6,
    )


def predicted(jobs: Iterable[Job], results: Path, slots: Sequence[Slot]) -> dict[str, float]:
    """Seconds of those runs whose method was probed before, by name; nothing is measured."""
    probes = Probes(results)
    found: dict[str, float] = {}
    for job in jobs:
        plan = resolve(job.request)
        if probe := probes.get(conditions(plan, slots)):
            found[job.name] = cost_of(plan, probe).seconds
    return found


def _seconds(length: Length, probe: Probe) -> float:
    """Of one part."""
    training = (
        length.stages * probe.first_s
        + length.steps * sum(probe.steps_s)
        + length.unlabelled * probe.begin_s
    )
    looks = length.looks * probe.look_s
    checkpoints = (training + looks) // CHECKPOINT_SECONDS * probe.checkpoint_s
    testing = length.tests * probe.image_s
    return probe.ready_s + training + looks + checkpoints + testing + probe.close_s


def length_of(plan: Plan, tasks: tuple[str, ...]) -> Length:
    """Steps and images of a part, counted without opening an image.

    `benchmark.part` and `benchmark.data.Batches` count the same when the images are there.
    """
    protocol, kind = plan.protocol, plan.kind
    labelled, unlabelled = _images(plan, tasks)
    unlabelled *= kind.unlabelled
    half = protocol.batch // 2 if kind.unlabelled else 0
    members, batch = (unlabelled, half) if unlabelled else (labelled, protocol.batch - half)
    steps = protocol.steps * len(tasks) or protocol.epochs * -(-members // batch)
    total = steps * kind.stages
    every = max(1, round(protocol.validation_every * total))
    return Length(
        steps=steps,
        stages=kind.stages,
        unlabelled=unlabelled if kind.stages > 1 else 0,
        looks=-(-total // every) if protocol.validation else 0,
        tests=sum(plan.dataset.images[task][1] for task in tasks),
    )


def _images(plan: Plan, tasks: tuple[str, ...]) -> tuple[int, int]:
    """Training images with and without a label, less those kept aside."""
    labels = [plan.dataset.labelled(task, plan.request.split) for task in tasks]
    if not plan.protocol.validation:
        return sum(labels), sum(plan.dataset.images[task][0] for task in tasks) - sum(labels)
    carved = carve([_names(plan.dataset, task) for task in tasks], labels, plan.protocol.validation)
    labelled = sum(carved.labels)
    return labelled, sum(len(images.ids) for images in carved.training) - labelled


def _names(dataset: Dataset, task: str) -> Images:
    """Training images of a task without their pixels."""
    shards = sorted((dataset.root / task).glob("train-*.parquet"))
    names = pq.read_table(shards, columns=["id", "group"]).to_pydict()
    count = len(names["id"])
    pixels, masks = np.empty((count, 1, 0, 0), np.uint8), np.empty((count, 0, 0), np.uint8)
    return Images(task, names["id"], names["group"], pixels, masks)
