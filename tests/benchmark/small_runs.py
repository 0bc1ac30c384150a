"""Runs of seconds, what must be equal of two of them, and how to stop one."""

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchmark.progress import Progress
from benchmark.resolve import Request
from benchmark.sweep.jobs import Job, requests_of
from benchmark.sweep.queue import Queue, Task

TINY = {
    "size": "32",
    "steps": "4",
    "batch": "4",
    "encoder": "test_efficientnet",
    "weights": "none",
    "text": "random",
}


def small_run(small_data: Path, results: Path, method: str = "unet", **changes) -> Request:
    """Of two tasks, 4 steps each, as 32 x 32 images."""
    asked = Request(
        method, "1_4", tasks=("FH", "OT"), preset="smoke", overrides=TINY, data=small_data,
        results=results, device="cpu",
    )  # fmt: skip
    return replace(asked, **changes)


def queue_of(results, requests):
    """A queue of these requests, in this order."""
    queue = Queue(results / "sweep.sqlite")
    queue.put(
        Task(f"{request.method}/{request.split}/seed{request.seed}", Job("", request).spec)
        for request in requests
    )
    return queue


def outcome(path: Path) -> tuple[dict, pd.DataFrame]:
    """What must be equal of two equal runs."""
    fields = json.loads(path.read_text())
    for entry in fields["tasks"].values():
        del entry["seconds"], entry["peak_memory_mb"]
    del fields["finished"]
    return fields, pd.read_parquet(path.with_suffix(".parquet"))


def assert_same(one: Path, two: Path) -> None:
    """Two records and their rows are equal in all that must be."""
    assert outcome(one)[0] == outcome(two)[0]
    pd.testing.assert_frame_equal(outcome(one)[1], outcome(two)[1])


def interrupt_at(monkeypatch, step: int, number: int = signal.SIGINT) -> None:
    """The user stops the run after a step."""
    real = Progress.step

    def stepped(self, done, terms):
        real(self, done, terms)
        if done == step:
            signal.raise_signal(number)

    monkeypatch.setattr(Progress, "step", stepped)


def sweep_words(data: Path, results: Path) -> list[str]:
    """`usbench sweep` of such runs, but of all tasks."""
    settings = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    return [
        *("sweep", "--preset", "smoke", "--device", "cpu"),
        *("--data", str(data), "--results", str(results), *settings),
    ]


def of_tasks(*tasks: str) -> Callable[..., list[Request]]:
    """In the place of `requests_of`: a sweep of these tasks only."""
    return lambda *given, **named: [
        replace(request, tasks=tasks) for request in requests_of(*given, **named)
    ]
