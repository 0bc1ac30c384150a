"""Several trainings at a time on one device: how many images they learn from in a second, together.

Two ways of having K at a time, each beside one alone:

    processes   K of them; on a GPU they take turns, or share it where NVIDIA's MPS runs; on a CPU
                each has its share of the threads
    streams     K threads of one process, each with a training and a CUDA stream of its own; they
                wait for Python's lock in turn, so it serves where a step is one recorded graph

All K are built and have done their first steps before the clock starts for all of them. It stops
when the last one has done its steps.
"""

import gc
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier as ProcessBarrier
from pathlib import Path
from textwrap import shorten

import torch

from benchmark import machine
from benchmark.bench.images import RANDOM, resident_batches
from benchmark.bench.sides import Ours
from benchmark.bench.step import STEPS
from benchmark.files import replacing
from benchmark.guard import explained
from benchmark.machine import arithmetic
from benchmark.methods import METHODS
from benchmark.resolve import Plan, Request, resolve
from dataset_builders.errors import UsageError

FORMAT = 1
PROCESSES, STREAMS = "processes", "streams"
NO_STREAMS = "a CPU has none"


@dataclass(frozen=True, slots=True)
class Packing:
    """So many trainings at a time, one way."""

    runs: int
    way: str  # PROCESSES or STREAMS
    images_per_s: float = 0.0  # of all of them
    ratio: float = 0.0  # to one process
    problem: str = ""  # why it could not be measured


@dataclass(frozen=True, slots=True)
class PackBench:
    """One method under one preset on one device."""

    title: str
    batch: int  # images a step of one training
    steps: int  # timed, of each training
    packings: list[Packing]
    best: Packing  # most images in a second; of equal ones that of fewest runs


@dataclass
class PackReport:
    """All that one call measured, as it is written."""

    begun: str
    commit: str
    machine: dict[str, str]
    preset: str
    data: str  # content hash of the data set, or "random"
    methods: dict[str, PackBench] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # method -> why


@dataclass(frozen=True, slots=True)
class Lap:
    """One training among several; the clock is the machine's, one for all processes."""

    images: int
    began: float
    ended: float


def pack_counts(words: str) -> tuple[int, ...]:
    """Numbers of trainings at a time, ascending, of "1,2,4"; 1 is always among them.

    Raises:
        UsageError: not such numbers.
    """
    try:
        counts = {1, *(int(word) for word in words.split(","))}
    except ValueError:
        counts = {0}
    if min(counts) < 1:
        raise UsageError(f"--pack {words}: give numbers of runs at a time, such as 1,2,4")
    return tuple(sorted(counts))


def pack(
    requests: Mapping[str, Request],
    counts: Iterable[int],
    *,
    steps: int | None = None,
    random: bool = True,
    out: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> PackReport:
    """Measure one method after another.

    Args:
        requests: method -> what is to be measured; all of one preset and device.
        counts: of `pack_counts`.
        steps: timed, of each training; default as for `benchmark.bench.step`.
        random: random images instead of the data set of the requests.
        out: JSON file, written again after every method.
        say: told of progress.

    Raises:
        UsageError: no method can be measured, or `out` cannot be written.
    """
    plans, failed = _plans(requests, random=random)
    first = next(iter(plans.values()))
    report = PackReport(
        begun=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=machine.commit(),
        machine=machine.describe(first.device),
        preset=first.request.preset,
        data=first.dataset.content_sha256,
        failed=failed,
    )
    for name, plan in plans.items():
        _write(report, out)  # the first time before anything is measured: it may not be possible
        say(f"{METHODS[name].title} ...")
        of_each = steps or STEPS[plan.device.type]
        packings = measure(plan, counts, of_each, random=random)
        if packings[0].problem:  # one at a time: what all others are measured by
            report.failed[name] = packings[0].problem
            continue
        best = max(packings, key=lambda packing: packing.images_per_s)
        report.methods[name] = PackBench(
            METHODS[name].title, plan.protocol.batch, of_each, packings, best
        )
    _write(report, out)
    return report


def measure(plan: Plan, counts: Iterable[int], steps: int, *, random: bool) -> list[Packing]:
    """Both ways for every number, fewest first, which must include 1."""
    packings: list[Packing] = []
    for count in counts:
        packings.append(
            _tried(count, PROCESSES, lambda n: by_processes(plan.request, n, steps, random=random))
        )
        if plan.device.type == "cuda":
            packings.append(_tried(count, STREAMS, lambda n: by_streams(plan, n, steps)))
            _forget()
        else:
            packings.append(Packing(count, STREAMS, problem=NO_STREAMS))
    alone = packings[0].images_per_s
    return [replace(p, ratio=p.images_per_s / alone if alone else 0.0) for p in packings]


def _tried(count: int, way: str, rate: Callable[[int], float]) -> Packing:
    """A number that is too large for the memory must not stop the others."""
    try:
        return Packing(count, way, rate(count))
    except UsageError as error:
        return Packing(count, way, problem=str(error))
    except Exception as error:  # whatever it is, it is this number's
        reason = shorten(f"{type(error).__name__}: {error}", 160, placeholder="...")
        return Packing(count, way, problem=reason)


def by_processes(request: Request, count: int, steps: int, *, random: bool) -> float:
    """Images a second that so many processes learn from.

    Raises:
        Exception: of the one that failed.
    """
    context = get_context("spawn")  # CUDA does not survive a fork
    gate = context.Barrier(count)
    threads = max(torch.get_num_threads() // count, 1)
    with ProcessPoolExecutor(count, context, _enter, (gate, threads)) as pool:
        seeds = range(count)
        laps = [pool.submit(_train, replace(request, seed=n), steps, random) for n in seeds]
        wait(laps)
    errors = [error for lap in laps if (error := lap.exception())]
    # those that only waited for one that failed have nothing to tell
    telling = [error for error in errors if not isinstance(error, threading.BrokenBarrierError)]
    for error in telling or errors:
        raise error
    return _images_per_s([lap.result() for lap in laps])


_gate: ProcessBarrier  # of a process of `by_processes`


def _enter(gate: ProcessBarrier, threads: int) -> None:
    """What a process begins with."""
    global _gate
    _gate = gate
    torch.set_num_threads(threads)


def _train(request: Request, steps: int, random: bool) -> Lap:
    """What a process does: all of them pass the gate, or none."""
    try:
        plan = resolve(request, RANDOM if random else None)
        side = Ours(plan, resident_batches(plan))
    except BaseException:
        _gate.abort()
        raise
    with arithmetic(plan.execution, plan.device), explained():
        return _lap(side, _gate, steps)


def by_streams(plan: Plan, count: int, steps: int) -> float:
    """Images a second that so many threads learn from, each on a stream of its own.

    Raises:
        Exception: of the one that failed.
    """
    # one after another: while a step is recorded, no other thread may use the device
    sides = [Ours(plan, resident_batches(plan)) for _ in range(count)]
    gate = threading.Barrier(count)
    # once for all threads: it sets what torch has once in a process
    with arithmetic(plan.execution, plan.device), explained(), ThreadPoolExecutor(count) as pool:
        laps = list(pool.map(lambda side: _on_stream(side, gate, steps), sides))
    return _images_per_s(laps)


def _on_stream(side: Ours, gate: threading.Barrier, steps: int) -> Lap:
    device = side.plan.device
    on_gpu = device.type == "cuda"
    with torch.cuda.stream(torch.cuda.Stream(device)) if on_gpu else nullcontext():
        return _lap(side, gate, steps)


def _lap(side: Ours, gate: threading.Barrier | ProcessBarrier, steps: int) -> Lap:
    """Time so many steps of one training, from when all are ready."""
    gate.wait()
    began = time.monotonic()
    for step in range(steps):
        side.do(step % side.total)
    if side.plan.device.type == "cuda":
        torch.cuda.current_stream(side.plan.device).synchronize()
    return Lap(steps * side.plan.protocol.batch, began, time.monotonic())


def _images_per_s(laps: Sequence[Lap]) -> float:
    seconds = max(lap.ended for lap in laps) - min(lap.began for lap in laps)
    return sum(lap.images for lap in laps) / seconds


def _forget() -> None:
    """Give back what threads held: the next processes need the memory."""
    gc.collect()
    torch.cuda.empty_cache()


def _plans(
    requests: Mapping[str, Request], *, random: bool
) -> tuple[dict[str, Plan], dict[str, str]]:
    """Plans, and why some methods have none."""
    plans: dict[str, Plan] = {}
    failed: dict[str, str] = {}
    for name, request in requests.items():
        try:
            plans[name] = resolve(request, RANDOM if random else None)
        except UsageError as error:
            failed[name] = str(error)
    if not plans:
        raise UsageError("; ".join(failed.values()))
    return plans, failed


def _write(report: PackReport, path: Path | None) -> None:
    """As JSON, whole or not at all."""
    if path is None:
        return
    text = json.dumps({"format": FORMAT, **asdict(report)}, indent=1).encode() + b"\n"
    with replacing(path, len(text)) as file:
        file.write(text)
