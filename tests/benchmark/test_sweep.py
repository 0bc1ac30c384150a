"""A sweep: workers that are killed, jobs that fail, and records like those of single runs."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import assert_same, interrupt_at, of_tasks, queue_of, small_run, sweep_words
from typer.testing import CliRunner

from benchmark import record
from benchmark.cli import app
from benchmark.progress import Progress, Standing
from benchmark.report import write_all
from benchmark.run import run
from benchmark.step import Recording
from benchmark.sweep import embedded, worker
from benchmark.sweep import queue as queue_module
from benchmark.sweep.embedded import Slot, Workers, slots_here
from benchmark.sweep.engine import STOPPED, WorkerError
from benchmark.sweep.queue import DONE, FAILED, RUNNING, WAITING, Queue, Task
from benchmark.sweep.view import last_lines
from benchmark.sweep.worker import log_of, work
from dataset_builders.errors import UsageError


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


def test_a_process_whose_graphs_are_broken_takes_no_other_job(small_data, tmp_path, monkeypatch):
    def runs(request):
        Recording.broken = True
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr("benchmark.run.run", runs)
    monkeypatch.setattr(Recording, "broken", False)
    queue = queue_of(tmp_path, [small_run(small_data, tmp_path, seed=seed) for seed in range(2)])
    assert work(queue.path) == 1
    assert list(states(queue).values()) == [FAILED, WAITING]


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
    assert last_lines(log_of(queue.path, "unet/1_4/seed1"))[-1].startswith("Error: no such")


def beats(queue, monkeypatch, name, parent):
    """Whether a worker is asked to stop while it has a job."""
    heard = []
    monkeypatch.setattr(worker, "BEAT_SECONDS", 0.01)
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
    try:
        with worker._heard(queue.path, name, parent):
            yield heard
            end = time.monotonic() + 20
            while not heard and time.monotonic() < end:
                time.sleep(0.01)
            yield heard
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_worker_stops_whose_job_was_given_to_another(tmp_path, monkeypatch):
    queue = Queue(tmp_path / "sweep.sqlite")
    queue.put([Task("unet/1_4/seed0", "{}")])
    assert queue.lease(os.getpid())
    asked = beats(queue, monkeypatch, "unet/1_4/seed0", os.getppid())
    assert not next(asked)
    time.sleep(0.1)
    queue.give_back(os.getpid())
    assert next(asked)
    asked.close()


def test_a_worker_stops_whose_supervisor_is_gone(tmp_path, monkeypatch):
    queue = Queue(tmp_path / "sweep.sqlite")
    queue.put([Task("unet/1_4/seed0", "{}")])
    nobody = os.getpid()  # no process is its own parent; 1 may be the parent of this one
    assert work(queue.path, parent=nobody) == 0
    assert states(queue) == {"unet/1_4/seed0": WAITING}
    assert queue.lease(os.getpid())
    asked = beats(queue, monkeypatch, "unet/1_4/seed0", nobody)
    next(asked)
    assert next(asked)
    asked.close()


def test_a_worker_says_how_far_it_is(tmp_path, monkeypatch):
    queue = Queue(tmp_path / "sweep.sqlite")
    queue.put([Task("unet/1_4/seed0", "{}")])
    queue.lease(os.getpid())
    said = iter([Standing(0.1, 20.0), Standing(0.25, 31.5)])  # then its record is written
    monkeypatch.setattr("benchmark.progress.standing", lambda: next(said, None))
    asked = beats(queue, monkeypatch, "unet/1_4/seed0", os.getppid())
    next(asked)
    time.sleep(0.5)
    queue.give_back(os.getpid())
    next(asked)
    asked.close()
    (entry,) = queue.entries()
    assert (entry.share, entry.speed) == (0.25, 31.5)


def disturb(data, out, times, seeds):
    """Run the script; returns what it told of each time."""
    script = Path(__file__).with_name("kill_sweep.py")
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, script, data, out, str(times), seeds],
        env={**os.environ, **threads, "PYTHONPATH": str(script.parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def tables(results):
    """What `usbench report` writes, by byte."""
    return {path.name: path.read_bytes() for path in write_all(results)}


def loses_nothing(data, out, times, seeds):
    """Ctrl-C and kill -9, of workers, of the command, of everything; the same command goes on."""
    told = disturb(data, out, times, seeds)
    assert sum(bool(each["kind"]) for each in told) == times
    endings = {"": {0}, "worker": {None}, "workers": {None}, "interrupt": {130}}
    for each in told:
        assert each["status"] in endings.get(each["kind"], {-signal.SIGKILL}), each
    whole = [each.name for each in record.load_all(out / "whole")]
    steps = Counter((out / "steps").read_text().splitlines())
    for results in {each["results"] for each in told}:
        for name in whole:
            assert_same(record.path_of(out / results, name), record.path_of(out / "whole", name))
        assert tables(out / results) == tables(out / "whole")
        assert not any((out / results / "unfinished").rglob("*.*"))
        own = {step: count for step, count in steps.items() if step.startswith(f"{results} ")}
        assert len(own) == len(whole) * 2 * 4  # 4 steps a task
        # a checkpoint was left after every step: of each worker that was killed one step is lost
        killed = sum(each["killed"] for each in told if each["results"] == results)
        assert sum(own.values()) - len(own) <= killed


def test_a_sweep_that_is_stopped_and_killed_loses_nothing(small_data, tmp_path):
    loses_nothing(small_data, tmp_path, 3, "0")


@pytest.mark.slow
def test_a_sweep_that_is_killed_at_many_moments_loses_nothing(small_data, tmp_path):
    loses_nothing(small_data, tmp_path, 31, "0-1")  # 25 kills, and 6 times Ctrl-C


def test_a_worker_that_is_asked_to_stop_gives_its_job_back(small_data, tmp_path, monkeypatch):
    asked = small_run(small_data, tmp_path, tasks=("FH",), resume=True)
    queue = queue_of(tmp_path, [asked])
    monkeypatch.setattr(sys, "argv", ["worker", str(queue.path)])
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2, signal.SIGTERM)
        assert worker.main() == STOPPED
    (entry,) = queue.entries()
    assert (entry.state, entry.deaths, entry.problem) == (WAITING, 0, "")
    assert (tmp_path / "unfinished/unet/1_4/seed0/FH.checkpoint.safetensors").is_file()
    assert worker.main() == 0
    assert states(queue) == {"unet/1_4/seed0": DONE}
    alone = run(replace(asked, results=tmp_path / "alone"))
    assert_same(record.path_of(tmp_path, "unet/1_4/seed0"), alone)


@pytest.mark.parametrize("part", ["FH", "OT"])
def test_a_worker_that_is_asked_to_stop_in_an_evaluation_begins_nothing(
    small_data, tmp_path, monkeypatch, part
):
    """Of the last part: then the job is done, and another must not be taken."""
    asked = small_run(small_data, tmp_path, tasks=("FH", "OT"), resume=True)
    queue = queue_of(tmp_path, [asked, replace(asked, seed=1)])
    monkeypatch.setattr(sys, "argv", ["worker", str(queue.path)])
    real = Progress.evaluating

    def evaluating(self, task, images):
        real(self, task, images)
        if task == part:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "evaluating", evaluating)
        assert worker.main() == STOPPED
    first = DONE if part == "OT" else WAITING
    assert states(queue) == {"unet/1_4/seed0": first, "unet/1_4/seed1": WAITING}
    done = {path.name for path in (tmp_path / "unfinished").rglob("*.parquet")}
    assert done == ({"FH.parquet"} if part == "FH" else set())
    assert worker.main() == 0
    assert set(states(queue).values()) == {DONE}


def test_a_sweep_waits_for_workers_of_one_that_was_killed(tmp_path):
    """They are on their way to a checkpoint; who ended is told from who has its number."""
    queue = Queue(tmp_path / "sweep.sqlite")
    queue.put([Task("unet/1_4/seed0", "{}")])
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert queue.lease(other.pid)
    workers = Workers(queue, [])
    assert workers.tend()
    other.communicate(b"\n")
    other = subprocess.Popen([sys.executable, "-c", ""])
    assert states(queue) == {"unet/1_4/seed0": RUNNING}
    assert not workers.tend()
    assert states(queue) == {"unet/1_4/seed0": WAITING}
    assert queue.lease(other.pid)
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it ended, and is still listed
    assert not workers.tend()
    assert states(queue) == {"unet/1_4/seed0": WAITING}
    other.wait()


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="as Linux has it")
def test_a_later_process_with_the_number_of_a_worker_is_not_taken_for_it():
    assert not queue_module._is_over(os.getpid(), time.time())
    assert queue_module._is_over(os.getpid(), time.time() - 10 * 365 * 86400)


def test_a_worker_that_cannot_start_ends_the_sweep(tmp_path, monkeypatch):
    queue = Queue(tmp_path / "sweep.sqlite")
    queue.put([Task("unet/1_4/seed0", "{}")])
    monkeypatch.setattr(embedded.sys, "executable", "/bin/false")
    workers = Workers(queue, [Slot()])
    assert workers.tend()
    os.waitid(os.P_PID, workers.processes[0], os.WEXITED | os.WNOWAIT)
    with pytest.raises(WorkerError, match="could not start"):
        workers.tend()


def test_slots(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert slots_here(None, "auto") == [Slot("", 1)] * 8
    assert slots_here(3, "cpu") == [Slot("", 2)] * 3
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [slot.device for slot in slots_here(None, "auto")] == ["0", "1"]
    assert [slot.device for slot in slots_here(None, "auto", 2)] == ["0", "1", "0", "1"]
    assert [slot.device for slot in slots_here(3, "auto")] == ["0", "1", "0"]
    assert [slot.device for slot in slots_here(2, "cpu")] == ["", ""]
    assert slots_here(None, "cuda:1", 2) == [Slot("", 4)] * 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [slot.device for slot in slots_here(3, "cuda")] == ["3", "5", "3"]
    assert Slot("1", 4).environment.items() >= {
        "CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "4",
    }.items()  # fmt: skip


def usbench(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def short(small_data, results, *words):
    return [*sweep_words(small_data, results), *words]


def test_the_command_does_what_is_missing_and_nothing_twice(small_data, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.sweep.jobs.requests_of", of_tasks("FH"))
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
    def failing(queue, *_):
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


def test_a_budget_ends_the_sweep_and_leaves_the_rest(small_data, tmp_path, monkeypatch):
    monkeypatch.setattr(Workers, "tend", lambda _: True)
    words = short(small_data, tmp_path, "--methods", "dodnet", "--splits", "1_4", "--slots", "1")
    done = usbench(*words, "--budget", "0.01s")
    assert done.exit_code == 0, done.output
    assert "the budget is spent" in done.output
    assert "1 of 1 runs are left" in done.output


def test_what_was_probed_decides_the_order(small_data, tmp_path, monkeypatch):
    """And what was not counts as the mean of what was; without probes it is that of the tables."""
    known = {"unet/1_4/seed0": 5.0, "dodnet/1_4/seed0": 9.0}
    monkeypatch.setattr(Workers, "tend", lambda _: False)
    words = short(small_data, tmp_path, "--methods", "unet,pspnet,dodnet", "--splits", "1_4")

    def queued():
        assert usbench(*words).exit_code == 0
        return [(entry.name, entry.seconds) for entry in Queue(tmp_path / "sweep.sqlite").entries()]

    names = ["unet/1_4/seed0", "pspnet/1_4/seed0", "dodnet/1_4/seed0"]
    assert queued() == [(name, 0.0) for name in names]
    monkeypatch.setattr("benchmark.sweep.costs.predicted", lambda *_: known)
    assert queued() == [
        ("dodnet/1_4/seed0", 9.0), ("pspnet/1_4/seed0", 7.0), ("unet/1_4/seed0", 5.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tables", "1-x"], "'1-x' is no list of numbers"),
        (["--seeds", "7,2-0"], "'2-0' runs backwards; write it as 0-2"),
        (["--tables", "7"], "unknown table '7'"),
        (["--methods", "unett"], r"unknown method 'unett' \(did you mean 'unet'"),
        (["--splits", "1_2"], "unknown split '1_2'"),
        (["--tables", "1", "--splits", "1_4"], "no run of tables 1 is of .* splits 1_4"),
        (["--seeds", ""], "'' is no list of numbers"),
        (["--methods", ","], "',' is no list of names"),
        (["--methods", "unet", "--set", "segformer.size=b0"], "no run of segformer is asked for"),
        (["--set", "propl.prompting=dodnet"], "a row of the tables has prompting=none itself"),
        (["--set", "uplc=true"], "a row of the tables has uplc=false itself"),
        (["--order", "shortest"], "unknown order 'shortest'; choose one of: longest, tables"),
        (["--budget", "10"], "--budget 10: write a time as 90s, 25m, 1.5h or 2d"),
        (["--engine", "dask"], "unknown engine 'dask'; choose one of: embedded, ray, slurm"),
        (["--address", "auto"], "--address auto is of a Ray cluster; add --engine ray"),
        (["--slurm", "partition=a"], "--slurm partition=a is for a SLURM cluster"),
        (["--engine", "ray", "--device", "cuda:1"], "--device cuda:1: the engine chooses the GPU"),
        (["--detach"], "--detach is for a SLURM cluster; add --engine slurm"),
        (["--engine", "slurm"], "--engine slurm needs --slots"),
    ],
)
def test_what_cannot_be_asked_is_one_clear_error(small_data, tmp_path, words, message):
    done = usbench(*short(small_data, tmp_path, *words))
    assert done.exit_code == 2
    assert re.search(message, done.output), done.output
    assert list(tmp_path.iterdir()) == []
