"""Two ways of running the same method's steps, and the clock that they take turns under."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch

from benchmark.bench.images import tasks_of
from benchmark.bench.memory import PeakMemory
from benchmark.bench.rates import synchronise
from benchmark.data import Batches
from benchmark.execution import Execution
from benchmark.guard import Finite, explained
from benchmark.machine import arithmetic
from benchmark.method import Clock, Method, Setup
from benchmark.resolve import Plan
from benchmark.step import Stepper, rate_at
from benchmark.train import make_optimizer

TURNS = 5  # of each side
FIRST_STEPS = {"cuda": 10, "cpu": 1}  # before the clock starts: tuning, compilation, capture


@dataclass(frozen=True, slots=True)
class Timing:
    """Steps of one side; in a turn they follow each other without a wait."""

    ms_per_step: float  # wall time; the middle one of the turns
    ms_per_step_least: float
    ms_per_step_most: float
    cpu_ms_per_step: float  # processor time of all threads, the middle one of the turns
    images_per_s: float
    first_steps_s: float  # building the method, and the steps before the clock starts
    peak_memory_mb: float | None  # beyond the training images; None where it cannot be known


class Side(ABC):
    """A method that was built and has done its first steps.

    Args:
        plan: of the method; both sides of a plan begin with the same weights.
        batches: may be shared by the sides.
    """

    def __init__(self, plan: Plan, batches: Batches) -> None:
        memory = PeakMemory(plan.device)
        began = time.perf_counter()
        self.plan, self.batches = plan, batches
        self.method = _build(plan)
        self.optimizer = make_optimizer(self.method, plan.protocol)
        protocol = plan.protocol
        epochs = protocol.epochs * batches.steps_per_epoch
        self.total = protocol.steps * len(tasks_of(plan)) or epochs
        self._done = 0
        self.prepare()
        self.steps(FIRST_STEPS[plan.device.type])
        synchronise(plan.device)
        self.first_steps_s = time.perf_counter() - began
        self.peak_memory_mb = memory.mb()

    def steps(self, count: int = 1) -> None:
        """Do the next ones; nobody waits for the device."""
        for _ in range(count):
            self.do(self._done % self.total)
            self._done += 1

    @abstractmethod
    def prepare(self) -> None:
        """Called before the first step."""

    @abstractmethod
    def do(self, step: int) -> None:
        """One step."""


class PlainLoop(Side):
    """What one would write first: fp32, memory as it comes, nothing compiled, no graph."""

    def prepare(self) -> None:
        for group in self.optimizer.param_groups:
            # one tensor after another
            group |= {"foreach": False, "fused": False, "capturable": False}

    def do(self, step: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.plan.protocol, step, self.total)
        clock = Clock(step, self.total, self.method.stages - 1)
        self.method.update(self.batches.at(step), clock, self.optimizer)
        self.method.after_step(clock)


class Ours(Side):
    """As `usbench run` does it: see `benchmark.train.train`."""

    def prepare(self) -> None:
        if self.plan.execution.channels_last:
            self.method.to(memory_format=torch.channels_last)
        self._execute(self.plan.execution)

    def uncompiled(self) -> None:
        """From here on call after call, so that one can look between them."""
        self._execute(replace(self.plan.execution, compile=False, graph=False))

    def _execute(self, execution: Execution) -> None:
        self.stepper = Stepper(
            self.method,
            self.batches,
            self.optimizer,
            self.plan.protocol,
            self.total,
            execution,
            self.method.stages - 1,
        )
        self._guard = Finite(self.plan.device)

    def steps(self, count: int = 1) -> None:
        with arithmetic(self.plan.execution, self.plan.device), explained():
            super().steps(count)

    def do(self, step: int) -> None:
        terms = self.stepper(step)
        self._guard.observe(step + 1, terms, rate_at(self.plan.protocol, step, self.total))


def take_turns(sides: Sequence[Side], steps: int) -> list[Timing]:
    """Time so many steps of each side, a fifth of them at a time."""
    turns = min(TURNS, steps)
    times: list[list[tuple[float, float]]] = [[] for _ in sides]
    for turn in range(turns):
        length = steps // turns + (turn < steps % turns)
        for side, of_side in zip(sides, times, strict=True):
            of_side.append(_ms_per_step(side, length))
    return [_timing(side, of_side) for side, of_side in zip(sides, times, strict=True)]


def _build(plan: Plan) -> Method:
    torch.manual_seed(plan.request.seed)
    blank = plan.protocol.weights == "none"  # then text features are not had either
    setup = Setup(tasks_of(plan), plan.protocol, plan.request.seed, blank=blank)
    return plan.kind(plan.config, setup).to(plan.device).train()


def _ms_per_step(side: Side, steps: int) -> tuple[float, float]:
    """Wall time and processor time."""
    synchronise(side.plan.device)
    wall, cpu = time.perf_counter(), time.process_time()
    side.steps(steps)
    synchronise(side.plan.device)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return 1e3 * wall / steps, 1e3 * cpu / steps


def _timing(side: Side, turns: Sequence[tuple[float, float]]) -> Timing:
    wall, cpu = zip(*turns, strict=True)
    return Timing(
        ms_per_step=median(wall),
        ms_per_step_least=min(wall),
        ms_per_step_most=max(wall),
        cpu_ms_per_step=median(cpu),
        images_per_s=1e3 * side.plan.protocol.batch / median(wall),
        first_steps_s=side.first_steps_s,
        peak_memory_mb=side.peak_memory_mb,
    )
