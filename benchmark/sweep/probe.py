"""How long the pieces of a run take: `python -m benchmark.sweep.probe SPEC FOLDER SPAWNED`.

A probe is two short trainings by `benchmark.part`, with a clock in the place of the bars. The first
meets a cold process and is stopped after its first steps, which leaves a checkpoint; the second
runs to its end, on the real images and through all stages, with as many steps of each as fill some
seconds. What the first took longer is what only the first run of a method in a process takes.
"""

import json
import math
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Self

import numpy as np
import torch
from torch import Tensor

from benchmark.bench.rates import synchronise
from benchmark.files import replacing
from benchmark.metrics import measure
from benchmark.part import load_part, train_part
from benchmark.progress import Progress
from benchmark.resolve import Plan, resolve
from benchmark.step import WARM_UP
from benchmark.sweep.jobs import request_of
from benchmark.train import Interrupted
from dataset_builders.errors import UsageError

RESULT = "probe.json"  # in the folder of a probe
EVERY = {"cuda": 2 * WARM_UP, "cpu": 1}  # steps between two looks at the clock; the first warm up
STEPS = {"cuda": 8 * WARM_UP, "cpu": 8}  # of a stage, at least
SECONDS = 5.0  # of a stage: what else the machine does for a moment should not be taken for all
LOOKS = 3  # at the clock before the first training is stopped


@dataclass(frozen=True, slots=True)
class Probe:
    """Seconds, bytes and memory of the pieces that a method's runs are made of."""

    start_s: float  # of a process, until it could take a job
    cold_s: float  # more, for the first run of the method in a process
    ready_s: float  # of a part: building the method, loading images
    first_s: float  # of a stage: its first steps beyond what steady ones take
    steps_s: tuple[float, ...]  # a steady step of each stage
    begin_s: float  # an unlabelled image: what a method of several stages does between them
    look_s: float  # one look at the images kept aside
    image_s: float  # a test image: prediction and statistics
    close_s: float  # of a part: the last statistics, weights and rows written
    checkpoint_s: float
    checkpoint_bytes: float
    weights_bytes: float  # of a part
    row_bytes: float  # a test image: statistics and masks
    memory_mb: float  # the peak, as the record has it

    @classmethod
    def together(cls, probes: "list[Probe]") -> Self:
        """Of several at once: means, and the most memory."""
        names = [own.name for own in fields(cls) if own.name != "steps_s"]
        means = {name: fmean(getattr(probe, name) for probe in probes) for name in names}
        steps = tuple(map(fmean, zip(*(probe.steps_s for probe in probes), strict=True)))
        most = max(probe.memory_mb for probe in probes)
        return replace(cls(**means, steps_s=steps), memory_mb=most)


class Clock(Progress):
    """Looks at the clock where bars would move; on a GPU it waits for it before.

    Args:
        device: of the training.
        stop: after so many steps; 0: never.

    Attributes:
        began: when the clock was made, at the beginning of a part.
        ready: when the first step could begin.
        stages: of each when it began, then when some steps were done, again and again.
        trained: when the last step was done.
        looked: when the images kept aside had been scored after it.
        tested: when the last test image was predicted.
    """

    def __init__(self, device: torch.device, stop: int = 0) -> None:
        self.stopped = False
        self.began = time.perf_counter()
        self.ready = self.trained = self.looked = self.tested = 0.0
        self.stages: list[list[float]] = []
        self._device, self._last = device, stop
        self._every = EVERY[device.type]
        self._total = self._count = 0

    def training(self, part: str, start: int, total: int, batch: int, parameters: int) -> None:
        self._total = total
        self.ready = self._now()

    def stage(self, stage: int, stages: int) -> None:
        self._count = 0
        self.stages.append([self._now()])

    def step(self, step: int, terms: dict[str, Tensor]) -> None:
        self._count += 1
        if self._count % self._every == 0:
            self.stages[-1].append(self._now())
        if step in (self._last, self._total):
            self.trained = self.looked = self._now()
            self.stopped = step == self._last

    def validated(self, step: int, dice: float) -> None:
        self.looked = self._now()

    def evaluating(self, task: str, images: int) -> None:
        pass

    def advance(self, images: int) -> None:
        self.tested = self._now()

    @property
    def until_steady(self) -> float:
        """Seconds from the beginning of the part to its first looks at the clock."""
        return self.ready - self.began + self.stages[0][1] - self.stages[0][0]

    def steady(self, stage: int) -> float:
        """Seconds of a step of a stage, without the first ones."""
        looks = self.stages[stage][1:]
        return median(after - before for before, after in pairwise(looks)) / self._every

    def first(self, stage: int) -> float:
        """Seconds that the beginning of a stage takes beyond its first steps, were they steady."""
        began, looked = self.stages[stage][:2]
        return looked - began - self._every * self.steady(stage)

    def _now(self) -> float:
        synchronise(self._device)
        return time.perf_counter()


def probe(plan: Plan, folder: Path, *, start_s: float = 0.0, cold_s: float = 0.0) -> Probe:
    """Measure the largest part of a run.

    Args:
        plan: of any run of the method; of its steps only what one takes matters.
        folder: for what is written, an empty one, on the disk that runs write to.
        start_s: what the process took before.
        cold_s: what the method took before, and takes only once in a process.

    Raises:
        ValueError: of any kind of this package, as a run raises it.
    """
    began = time.perf_counter()
    blank = np.zeros((1, 8, 8), np.bool_)
    measure(blank, blank)  # compiled, or read from the disk, once a process
    cold_s += time.perf_counter() - began

    part, tasks = largest_part(plan)
    least = STEPS[plan.device.type]
    cold = Clock(plan.device, stop=LOOKS * EVERY[plan.device.type])
    with suppress(Interrupted):
        train_part(_shortened(plan, tasks, least), part, tasks, folder / "cold", cold)
    checkpoint_s = time.perf_counter() - cold.trained
    warm = Clock(plan.device)
    enough = max(least, math.ceil(SECONDS / cold.steady(0)))
    train_part(_shortened(plan, tasks, enough), part, tasks, folder / "warm", warm)
    close_s = time.perf_counter() - warm.tested

    files = folder / "warm" / part
    done = load_part(files.with_suffix(".json")).tasks.values()
    tests, pool = sum(task.test_images for task in done), sum(t.train_unlabelled for t in done)
    steps_s = tuple(map(warm.steady, range(len(warm.stages))))
    first_s, *later = (warm.first(stage) for stage in range(len(steps_s)))
    return Probe(
        start_s=start_s,
        cold_s=cold_s + max(0.0, cold.until_steady - warm.until_steady),
        ready_s=warm.ready - warm.began,
        first_s=max(0.0, first_s),
        steps_s=steps_s,
        begin_s=sum(max(0.0, of_stage - first_s) for of_stage in later) / max(1, pool),
        look_s=warm.looked - warm.trained,
        image_s=(warm.tested - warm.looked) / tests,
        close_s=close_s,
        checkpoint_s=checkpoint_s,
        checkpoint_bytes=_size(folder / "cold" / f"{part}.checkpoint.safetensors"),
        weights_bytes=_size(files.with_suffix(".weights.safetensors")),
        row_bytes=_size(files.with_suffix(".parquet")) / tests,
        memory_mb=max(task.peak_memory_mb for task in done),
    )


def largest_part(plan: Plan) -> tuple[str, tuple[str, ...]]:
    """The part with the most training images, and its tasks."""
    images = plan.dataset.images
    return max(plan.parts.items(), key=lambda item: sum(images[task][0] for task in item[1]))


def _shortened(plan: Plan, tasks: Collection[str], steps: int) -> Plan:
    """The same with fewer steps, one look at the images kept aside, and the weights written.

    Not more steps than the run has, if it says how many, but for `STEPS`.
    """
    if plan.protocol.steps:
        steps = min(steps, max(STEPS[plan.device.type], plan.protocol.steps * len(tasks)))
    steps = -(-steps // len(tasks))
    return replace(
        plan,
        protocol=plan.protocol.with_(steps=steps, validation_every=1.0),
        request=replace(plan.request, keep_weights=True),
    )


def _size(path: Path) -> int:
    return path.stat().st_size


def main() -> int:
    """Probe what `Job.spec` wrote; 1 if it cannot be done, and the last line on stderr says why."""
    spec, folder, spawned = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    start_s, began = time.time() - spawned, time.perf_counter()
    try:
        plan = resolve(request_of(spec))
        done = probe(plan, folder, start_s=start_s, cold_s=time.perf_counter() - began)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 1
    text = json.dumps(asdict(done)).encode()
    with replacing(folder / RESULT, len(text)) as file:
        file.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
