"""Runs of one method by one worker in turn, against a process for each, in one call.

    python -m benchmark.bench.reuse --method unet [--runs 4] [--preset mini] [--set steps=10]
        [--data data] [--split 1_4] [--task FH] [--device auto] [--threads 1] [--compile]

All sides do the seeds 0, 1, ... with the same settings:

    a process each    `usbench run` so many times, one run after another
    one worker        a worker of `usbench sweep`, one run after another: what reuse alone gains
    N at a time       as many workers as `usbench sweep` has here, one a GPU, or one a core; they
                      share the cores; left out where that is one

Images are decoded before. Each side has a folder of its own for what torch compiles, empty at
first: the first process of either compiles, and later ones load from there, as a user's would.
`--threads` is what the first two sides have of the CPU: as many as torch takes by itself, or with 1
as many as each of the third has where that is one a core. In the end the records of all sides with
as many threads must be equal; others round differently.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import record
from benchmark.dataset import load
from benchmark.resolve import Request, resolve
from benchmark.settings import parse_overrides
from benchmark.sweep.embedded import Slot, Workers, slots_here
from benchmark.sweep.jobs import Job
from benchmark.sweep.queue import DONE, Queue, Task

COMPILED = "TORCHINDUCTOR_CACHE_DIR"
THREADS = "OMP_NUM_THREADS"
SECONDS_BETWEEN_LOOKS = 0.2  # after the workers
TIMES = ("seconds", "peak_memory_mb")  # of a task: these may differ


def main() -> None:
    """Print the times of all sides and their ratios."""
    given = _parse()
    slots = slots_here(None, given.device)
    threads = {THREADS: str(given.threads)} if given.threads else {}
    with tempfile.TemporaryDirectory() as folder, _environment(threads):
        sides = {name: Path(folder) / name for name in ("processes", "worker", "slots")}
        runs = {name: requests(given, results) for name, results in sides.items()}
        decode(runs["worker"][0])
        words = [option_words(request) for request in runs["processes"]]
        times = {
            "a process each": timed(lambda: by_processes(words, sides["processes"])),
            "one worker": timed(lambda: by_worker(runs["worker"], sides["worker"])),
        }
        alike = ["worker"]
        if len(slots) > 1:
            times[f"{len(slots)} at a time"] = timed(
                lambda: by_slots(runs["slots"], sides["slots"], slots)
            )
            alike += ["slots"] * all(slot.threads == given.threads for slot in slots)
        names = [resolve(request).name for request in runs["worker"]]
        different = [
            name
            for name in names
            if not all(same(sides["processes"], sides[side], name) for side in alike)
        ]
    print(f"{given.method}, preset {given.preset}, {given.runs} runs{' compiled' * given.compile}")
    show(times)
    if different:
        raise SystemExit(f"records differ: {', '.join(different)}")
    print(f"records are equal, of {1 + len(alike)} sides")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--method", required=True)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--split", default="1_4")
    parser.add_argument("--task", action="append", default=[])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="of the first two sides; else as torch has it")
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


def show(times: Mapping[str, "Seconds"]) -> None:
    """A line a side, with how many times faster than the first it is."""
    first = next(iter(times.values()))
    print(f"{'':<15}{'wall, s':>10}{'CPU, s':>10}   times faster: wall     CPU")
    for name, of in times.items():
        faster = f"{first.wall / of.wall:20.2f}{first.cpu / of.cpu:8.2f}" * (of is not first)
        print(f"{name:<15}{of.wall:10.1f}{of.cpu:10.1f}{faster}".rstrip())


def requests(given: argparse.Namespace, results: Path) -> list[Request]:
    """One for every seed."""
    return [
        Request(
            given.method,
            given.split,
            seed,
            tasks=tuple(given.task),
            preset=given.preset,
            overrides=parse_overrides(given.set),
            data=given.data.absolute(),
            results=results,
            device=given.device,
            compile=given.compile or None,
        )
        for seed in range(given.runs)
    ]


def option_words(request: Request) -> list[str]:
    """The request as words of `usbench run`."""
    named: dict[str, object] = {
        "--method": request.method,
        "--split": request.split,
        "--seed": request.seed,
        "--preset": request.preset,
        "--data": request.data,
        "--results": request.results,
        "--device": request.device,
    }
    words = [str(word) for pair in named.items() for word in pair]
    words += [word for task in request.tasks for word in ("--task", task)]
    settings = (f"{name}={value}" for name, value in request.overrides.items())
    words += [word for setting in settings for word in ("--set", setting)]
    return [*words, *(["--compile"] if request.compile else [])]


def decode(request: Request) -> None:
    """Have the images in the cache of the data set, so that neither side decodes them."""
    plan = resolve(request)
    for task in plan.tasks:
        for split in ("train", "test"):
            load(plan.dataset, task, split, plan.protocol.size)


def by_processes(runs: Sequence[Sequence[str]], folder: Path) -> None:
    """One process after another.

    Raises:
        SystemExit: one failed.
    """
    for words in runs:
        _call(["benchmark.cli", "run", *words], folder)


def by_worker(runs: Sequence[Request], folder: Path) -> None:
    """One process that takes them from a queue.

    Raises:
        SystemExit: one failed.
    """
    queue = _queued(runs, folder)
    _call(["benchmark.sweep.worker", str(queue.path)], folder)
    _close(queue)


def by_slots(runs: Sequence[Request], folder: Path, slots: Sequence[Slot]) -> None:
    """As many processes as slots, that take them from a queue, as in `usbench sweep`.

    Raises:
        SystemExit: one failed.
    """
    queue = _queued(runs, folder)
    with _environment(_compiled(folder)), Workers(queue, slots) as workers:
        while workers.tend():
            time.sleep(SECONDS_BETWEEN_LOOKS)
    _close(queue)


def _queued(runs: Sequence[Request], folder: Path) -> Queue:
    queue = Queue(folder / "queue.sqlite")
    queue.put(Task(job.name, job.spec) for job in (Job(resolve(r).name, r) for r in runs))
    return queue


def _close(queue: Queue) -> None:
    failed = [entry for entry in queue.entries() if entry.state != DONE]
    queue.close()
    if failed:
        raise SystemExit("\n".join(f"{entry.name}: {entry.problem}" for entry in failed))


def _compiled(folder: Path) -> dict[str, str]:
    """What torch compiles goes to a folder of that side."""
    return {COMPILED: str(folder / "compiled")}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Of the processes that start meanwhile."""
    before = {name: os.environ[name] for name in values if name in os.environ}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]
        os.environ.update(before)


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of some processes; those of the processor are steadier on a shared machine."""

    wall: float
    cpu: float


def timed(work: Callable[[], object]) -> Seconds:
    """Time of a call that waits for processes."""
    wall, before = time.perf_counter(), os.times()
    work()
    wall, after = time.perf_counter() - wall, os.times()
    user = after.children_user - before.children_user
    return Seconds(wall, user + after.children_system - before.children_system)


def same(one: Path, other: Path, name: str) -> bool:
    """Whether two results folders have the same run, but for the times that it took."""
    records = [record.load(record.path_of(results, name)) for results in (one, other)]
    rows = [pd.read_parquet(record.path_of(r, name).with_suffix(".parquet")) for r in (one, other)]
    return _outcome(records[0]) == _outcome(records[1]) and rows[0].equals(rows[1])


def _outcome(done: record.RunRecord) -> dict[str, Any]:
    fields = asdict(done)
    del fields["finished"]
    for entry in fields["tasks"].values():
        for name in TIMES:
            del entry[name]
    return fields


def _call(words: Sequence[str], folder: Path) -> None:
    """Run a module of ours; what it prints is shown if it fails."""
    with _environment(_compiled(folder)):
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # as `usbench` has it
        done = subprocess.run(
            [sys.executable, "-m", *words], env=environment, capture_output=True, text=True
        )
    if done.returncode:
        raise SystemExit(done.stderr or f"{' '.join(words)}: exit code {done.returncode}")


if __name__ == "__main__":
    main()
