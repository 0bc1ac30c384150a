"""A sweep: workers that are killed, jobs that fail, and records like those of single runs."""

import os
import random
import re
import signal
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from small_runs import TINY, assert_same, small_run
from typer.testing import CliRunner

from benchmark import record
from benchmark.cli import app
from benchmark.run import run
from benchmark.sweep import embedded, worker
from benchmark.sweep.embedded import Slot, Workers, slots_here
from benchmark.sweep.engine import WorkerError
from benchmark.sweep.jobs import Job
from benchmark.sweep.queue import DONE, FAILED, WAITING, Queue, Task
from benchmark.sweep.view import View, counts, last_line
from benchmark.sweep.worker import log_of, work
from dataset_builders.errors import UsageError


def queue_of(results, requests):
    """A queue of these requests, in this order."""
    queue = Queue(results / "sweep.sqlite")
    queue.put(
        Task(f"{request.method}/{request.split}/seed{request.seed}", Job("", request).spec)
        for request in requests
    )
    return queue


def states(queue):
    return {entry.name: entry.state for entry in queue.entries()}


def test_one_process_makes_the_records_of_many(small_data, tmp_path):
    """What a run leaves behind in its process changes nothing in the next."""
    asked = [
        small_run(small_data, tmp_path / "sweep", method, seed=seed, resume=True)
        for method, seed in (("unet", 0), ("propl", 0), ("unet", 1))
    ]
    queue = queue_of(tmp_path / "sweep", asked)
    assert work(queue.path) == 3
    assert set(states(queue).values()) == {DONE}
    for request in asked[1:]:
        alone = run(replace(request, results=tmp_path / "alone"))
        name = record.load(alone).name
        assert_same(record.path_of(tmp_path / "sweep", name), alone)


def test_a_job_that_fails_leaves_the_others_and_its_words(small_data, tmp_path, monkeypatch):
    def runs(request):
        if request.seed == 1:
            raise UsageError("no such encoder; choose another")
        if request.seed == 2:
            print("before it broke")
            raise ZeroDivisionError("of something")

    monkeypatch.setattr("benchmark.run.run", runs)
    asked = [small_run(small_data, tmp_path, seed=seed) for seed in range(4)]
    queue = queue_of(tmp_path, asked)
    assert work(queue.path) == 4
    assert list(states(queue).values()) == [DONE, FAILED, FAILED, DONE]
    problems = [entry.problem for entry in queue.entries()]
    assert problems[1] == "no such encoder; choose another"
    assert problems[2].endswith("ZeroDivisionError: of something")
    log = log_of(queue.path, "unet/1_4/seed2").read_text()
    assert "before it broke" in log
    assert log.strip().endswith("ZeroDivisionError: of something")
    assert last_line(log_of(queue.path, "unet/1_4/seed1")).startswith("Error: no such encoder")


def test_a_worker_stops_where_nobody_waits_for_it(small_data, tmp_path, monkeypatch):
    """Its supervisor is gone, or the job was given to another."""
    asked = small_run(small_data, tmp_path, seed=0)
    queue = queue_of(tmp_path, [asked])
    monkeypatch.setattr(worker, "BEAT_SECONDS", 0.01)
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
    try:
        assert queue.lease(os.getpid())
        with worker._heard(queue.path, "unet/1_4/seed0"):
            time.sleep(0.1)
            assert not heard
            queue.give_back(os.getpid())
            time.sleep(0.3)
        assert heard
    finally:
        signal.signal(signal.SIGTERM, before)


def tend(queue, slots, disturb=lambda workers: None):
    """Keep workers at it until all is done."""
    with Workers(queue, slots) as workers:
        while workers.tend():
            disturb(workers)
            time.sleep(0.02)


def killed_again_and_again(small_data, tmp_path, kills):
    """Two slots, some runs; a worker or all of them are killed at random moments."""
    rng = random.Random(kills)
    asked = [
        small_run(small_data, tmp_path / "sweep", method, seed=seed, resume=True)
        for method, seed in (("unet", 0), ("propl", 0), ("unet", 1))
    ]
    queue = queue_of(tmp_path / "sweep", asked)
    left, due = [kills], [time.monotonic() + rng.uniform(2, 9)]

    def disturb(workers):
        if not left[0] or time.monotonic() < due[0] or not workers.processes:
            return
        victims = workers.processes if rng.random() < 0.3 else [rng.choice(workers.processes)]
        for process in victims:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        left[0] -= 1
        due[0] = time.monotonic() + rng.uniform(0.5, 9)

    while left[0] or set(states(queue).values()) != {DONE}:
        tend(queue, [Slot(), Slot()], disturb)
        assert FAILED not in states(queue).values()
        if left[0]:  # all is done before the last kill: once more, from the records on
            for path in (tmp_path / "sweep/runs").rglob("*.json"):
                path.unlink()
            queue.put(Task(entry.name, entry.spec) for entry in queue.entries())
    for request in asked:
        alone = run(replace(request, results=tmp_path / "alone"))
        assert_same(record.path_of(tmp_path / "sweep", record.load(alone).name), alone)


def test_killed_workers_lose_nothing(small_data, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.sweep.queue.DEATHS", 100)
    killed_again_and_again(small_data, tmp_path, 2)


@pytest.mark.slow
def test_workers_killed_at_many_moments_lose_nothing(small_data, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.sweep.queue.DEATHS", 100)
    killed_again_and_again(small_data, tmp_path, 25)


def test_a_worker_that_cannot_start_ends_the_sweep(tmp_path, monkeypatch):
    queue = Queue(tmp_path / "sweep.sqlite")
    queue.put([Task("unet/1_4/seed0", "{}")])
    monkeypatch.setattr(embedded.sys, "executable", "/bin/false")
    with pytest.raises(WorkerError, match="could not start"):
        tend(queue, [Slot()])


def test_slots(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert slots_here(None, "auto") == [Slot("", 1)] * 8
    assert slots_here(3, "cpu") == [Slot("", 2)] * 3
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [slot.device for slot in slots_here(None, "auto")] == ["0", "1"]
    assert [slot.device for slot in slots_here(3, "auto")] == ["0", "1", "0"]
    assert [slot.device for slot in slots_here(2, "cpu")] == ["", ""]
    assert Slot("1", 4).environment.items() >= {
        "CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "4",
    }.items()  # fmt: skip


def test_what_is_shown(tmp_path, capsys):
    queue = Queue(tmp_path / "sweep.sqlite")
    queue.put(Task(f"unet/1_4/seed{seed}", "{}") for seed in range(3))
    with View(queue.path, 5, 2) as view:
        view.show(queue.entries())
        queue.finish(queue.lease(os.getpid()).name, os.getpid())
        queue.fail(queue.lease(os.getpid()).name, os.getpid(), "line one\nline two")
        view.show(queue.entries())
        view.show(queue.entries())
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("unet/1_4/seed0: done")
    assert told[1:] == ["unet/1_4/seed1: FAILED", "    line one", "    line two"]
    assert counts(queue.entries(), 5, 2) == "3 of 5 done, 1 failed, 1 waiting"


def usbench(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def short(small_data, results, *words):
    sets = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    return [
        *("sweep", "--preset", "smoke", "--device", "cpu", "--data", small_data),
        *("--results", results, *sets, *words),
    ]


def test_the_command_does_what_is_missing_and_nothing_twice(small_data, tmp_path):
    words = short(small_data, tmp_path, "--methods", "dodnet,unet", "--splits", "1_4")
    planned = usbench(*words, "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert planned.output.split() == ["unet/1_4/seed0", "dodnet/1_4/seed0"]
    assert list(tmp_path.iterdir()) == []

    first = usbench(*words, "--methods", "dodnet", "--slots", "1")
    assert first.exit_code == 0, first.output
    made = record.path_of(tmp_path, "dodnet/1_4/seed0")
    before = made.stat().st_mtime_ns
    planned = usbench(*words, "--dry-run")
    assert planned.output.splitlines() == ["dodnet/1_4/seed0  done", "unet/1_4/seed0"]
    again = usbench(*words, "--methods", "dodnet")
    assert again.exit_code == 0, again.output
    assert made.stat().st_mtime_ns == before


def test_what_failed_is_told_and_tried_again_when_asked(small_data, tmp_path, monkeypatch):
    def failing(jobs, *_, **__):
        queue = Queue(tmp_path / "sweep.sqlite")
        queue.put(Task(job.name, job.spec) for job in jobs)
        queue.fail(queue.lease(os.getpid()).name, os.getpid(), "broken")
        return [entry for entry in queue.entries() if entry.state == FAILED]

    words = short(small_data, tmp_path, "--methods", "dodnet", "--splits", "1_4", "--slots", "1")
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.commands.sweep._work", failing)
        failed = usbench(*words)
    assert failed.exit_code == 1
    assert "1 of 1 failed: dodnet/1_4/seed0; mend that and add --retry" in failed.output
    still = usbench(*words)
    assert still.exit_code == 1
    assert not record.path_of(tmp_path, "dodnet/1_4/seed0").exists()
    monkeypatch.setattr(Workers, "tend", lambda _: False)
    assert usbench(*words, "--retry").exit_code == 0
    assert states(Queue(tmp_path / "sweep.sqlite")) == {"dodnet/1_4/seed0": WAITING}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tables", "1-x"], "'1-x' is no list of numbers"),
        (["--tables", "7"], "unknown table '7'"),
        (["--methods", "unett"], r"unknown method 'unett' \(did you mean 'unet'"),
        (["--splits", "1_2"], "unknown split '1_2'"),
        (["--tables", "1", "--splits", "1_4"], "no run of tables 1 is of .* splits 1_4"),
        (["--seeds", ""], "'' is no list of numbers"),
    ],
)
def test_what_cannot_be_asked_is_one_clear_error(small_data, tmp_path, words, message):
    done = usbench(*short(small_data, tmp_path, *words))
    assert done.exit_code == 2
    assert re.search(message, done.output), done.output
    assert list(tmp_path.iterdir()) == []
