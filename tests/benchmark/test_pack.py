"""Several trainings at a time: that they are at the same time, and what is made of the numbers."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmark.bench import pack as module
from benchmark.bench.images import RANDOM
from benchmark.bench.pack import (
    NO_STREAMS,
    PROCESSES,
    STREAMS,
    Lap,
    PackBench,
    Packing,
    PackReport,
    by_processes,
    by_streams,
    measure,
    pack_counts,
)
from benchmark.bench.show_pack import as_text, verdict
from benchmark.commands.bench import bench
from benchmark.resolve import Request, resolve
from dataset_builders.errors import UsageError

TINY = {"weights": "none", "encoder": "test_efficientnet", "size": "32", "batch": "2"}
REQUEST = Request("unet", "1_4", preset="smoke", overrides=TINY, device="cpu")
SMOKE = ["--method", "unet", "--preset", "smoke", "--device", "cpu"]
SMOKE += [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]


def usbench_bench(*words: object):
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(bench)
    return CliRunner().invoke(app, [str(word) for word in words])


class Threads(ThreadPoolExecutor):
    """In place of processes."""

    given = None

    def __init__(self, count, context, begin, arguments):
        super().__init__(count)
        gate, Threads.given = threading.Barrier(count), arguments[1]
        module._gate = gate


@pytest.fixture
def threads(monkeypatch):
    monkeypatch.setattr(module, "_gate", None, raising=False)
    monkeypatch.setattr(module, "ProcessPoolExecutor", Threads)


@pytest.mark.parametrize(
    ("words", "counts"), [("1,2,4", (1, 2, 4)), ("4", (1, 4)), ("3, 2,3", (1, 2, 3))]
)
def test_one_alone_is_always_measured(words, counts):
    assert pack_counts(words) == counts


@pytest.mark.parametrize("words", ["", "0", "2,-1", "two", "1;2"])
def test_numbers_that_cannot_be(words):
    with pytest.raises(UsageError, match=r"give numbers of runs at a time, such as 1,2,4"):
        pack_counts(words)


def test_the_rate_is_that_of_all_until_the_last_is_done():
    laps = [Lap(10, began=3.0, ended=5.0), Lap(30, began=2.0, ended=6.0)]
    assert module._images_per_s(laps) == 10


class Side:
    """Needs another one beside it: a step waits for one of the other's."""

    def __init__(self, plan, meet):
        self.plan, self.total, self._meet = plan, 3, meet
        self.steps = []

    def do(self, step):
        self._meet.wait(timeout=30)
        self.steps.append(step)


def test_steps_are_done_at_the_same_time(monkeypatch):
    meet = threading.Barrier(2)
    plan = resolve(REQUEST, RANDOM)
    monkeypatch.setattr(module, "resident_batches", lambda plan: None)
    sides = [Side(plan, meet), Side(plan, meet)]
    unbuilt = list(sides)
    monkeypatch.setattr(module, "Ours", lambda plan, batches: unbuilt.pop())
    assert by_streams(plan, 2, 4) > 0
    assert [side.steps for side in sides] == [[0, 1, 2, 0]] * 2  # a training begins anew at its end


def test_all_are_built_before_the_first_step(monkeypatch, threads):
    built, seen = [], []

    class Watched(Side):
        def __init__(self, plan, batches):
            super().__init__(plan, threading.Barrier(1))
            built.append(plan.request.seed)

        def do(self, step):
            seen.append(len(built))

    monkeypatch.setattr(module, "Ours", Watched)
    by_processes(REQUEST, 3, 2, random=True)
    assert sorted(built) == [0, 1, 2]
    assert seen == [3] * 6


def test_threads_of_the_cpu_are_shared_out(monkeypatch, threads):
    monkeypatch.setattr(module, "Ours", lambda plan, batches: Side(plan, threading.Barrier(1)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    for count, each in {1: 16, 3: 5, 16: 1}.items():
        by_processes(REQUEST, count, 1, random=True)
        assert Threads.given == each


def test_the_one_that_failed_says_why_and_none_waits_for_it(monkeypatch, threads):
    def make(plan, batches):
        if plan.request.seed == 1:
            raise RuntimeError("CUDA out of memory")
        return Side(plan, threading.Barrier(1))

    monkeypatch.setattr(module, "Ours", make)
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        by_processes(REQUEST, 3, 1, random=True)


def test_too_many_at_a_time_do_not_stop_the_others(monkeypatch):
    def rate(request, count, steps, *, random):
        if count == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 10.0 * (1 + count)

    monkeypatch.setattr(module, "by_processes", rate)
    one, two, four = measure(resolve(REQUEST, RANDOM), (1, 2, 4), 1, random=True)[::2]
    assert (one.ratio, two.ratio) == (1, 1.5)
    assert (four.images_per_s, four.problem) == (0, "OutOfMemoryError: CUDA out of memory")


def packed(monkeypatch, *rates: tuple[int, str, float]) -> PackBench:
    """What is made of such rates."""
    alone = rates[0][2]
    packings = [Packing(runs, way, rate, rate / alone) for runs, way, rate in rates]
    monkeypatch.setattr(module, "measure", lambda *_, **__: packings)
    return module.pack({"unet": REQUEST}, (1, 2)).methods["unet"]


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ([(1, PROCESSES, 10.0), (4, PROCESSES, 23.0)], "pack 4 by processes: 2.3x"),
        (
            [(1, PROCESSES, 10.0), (2, PROCESSES, 12.0), (2, STREAMS, 18.0)],
            "pack 2 by streams: 1.8x (`usbench sweep --pack` makes processes)",
        ),
        ([(1, PROCESSES, 10.0), (2, PROCESSES, 9.0)], "one at a time"),
        ([(1, PROCESSES, 10.0), (2, PROCESSES, 10.0)], "one at a time"),
    ],
)
def test_the_verdict_is_the_fastest_way(monkeypatch, rates, words):
    assert verdict(packed(monkeypatch, *rates)) == words


def test_on_a_gpu_both_ways_stand_in_the_table(monkeypatch):
    bench = packed(monkeypatch, (1, PROCESSES, 10.0), (1, STREAMS, 11.0), (2, PROCESSES, 15.0))
    failed = Packing(2, STREAMS, problem="OutOfMemoryError: CUDA out of memory")
    bench.packings.append(failed)
    report = PackReport("", "", {"device": "cuda (H200)"}, "mini", "random", {"unet": bench})
    rows = [line.split() for line in as_text(report).splitlines()]
    assert ["U-Net", "1", "10.0", "1.00", "11.0", "1.10"] in rows
    assert ["2", "15.0", "1.50", "-", "-"] in rows
    assert "U-Net, 2 by streams failed: OutOfMemoryError: CUDA out of memory" in as_text(report)


def test_the_command_on_a_cpu(tmp_path):
    """With processes of its own: nothing is in another one's place."""
    out = tmp_path / "pack.json"
    done = usbench_bench(*SMOKE, "--pack", "2", "--steps", "2", "--out", out)
    assert done.exit_code == 0, done.output
    assert "U-Net: " in done.stdout
    assert f"streams: {NO_STREAMS}" in " ".join(done.stdout.split())
    report = json.loads(out.read_text())
    assert (report["preset"], report["data"], report["failed"]) == ("smoke", "random", {})
    assert report["methods"]["unet"]["best"]["way"] == PROCESSES
    found = {(p["runs"], p["way"]): p for p in report["methods"]["unet"]["packings"]}
    assert set(found) == {(runs, way) for runs in (1, 2) for way in (PROCESSES, STREAMS)}
    assert found[1, PROCESSES]["ratio"] == 1
    assert min(found[runs, PROCESSES]["images_per_s"] for runs in (1, 2)) > 0
    assert all(found[runs, STREAMS]["problem"] == NO_STREAMS for runs in (1, 2))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pack", "0"], "--pack 0: give numbers of runs at a time"),
        (["--pack", "2", "--budget", "60"], "--budget is not for --pack"),
        (["--pack", "2", "--set", "rate=-1"], "rate = -1.0 is not possible"),
        (["--pack", "2", "--out", "/proc/pack.json"], "/proc/pack.json cannot be written"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_measured(monkeypatch, words, message):
    monkeypatch.setattr(module, "measure", None)
    done = usbench_bench(*SMOKE, *words)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
