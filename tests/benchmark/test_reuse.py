"""A warm process: a training there is that of a fresh one, and finds what was compiled for it."""

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from small_runs import TINY, assert_same, small_run
from torch import nn
from torch._dynamo.utils import counters
from toy_method import Toy, make_batches

from benchmark import part
from benchmark.backward import ForwardBackward, compile_for
from benchmark.bench import reuse
from benchmark.execution import Execution
from benchmark.method import Clock
from benchmark.methods import METHODS, UNIVERSAL_SEMI, Entry
from benchmark.record import path_of
from benchmark.resolve import Request, method_class
from benchmark.run import run
from benchmark.sweep import worker
from benchmark.sweep.embedded import Slot
from benchmark.sweep.jobs import Job, request_of

# with a queue or a bank, a flow and its moments, stages, a teacher, prompts, and none of these
QUICK = ("csc_pa", "u2pl", "ddfp", "stpp", "unimatch", "propl", "unet")
OTHERS = tuple(name for name, entry in METHODS.items() if entry.target and name not in QUICK)
IN_TURN = "import sys; from benchmark.run import run; from benchmark.sweep.jobs import request_of\n"
IN_TURN += "for spec in sys.stdin: run(request_of(spec))"
needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="--compile needs a compiler")


def asked(name: str, data: Path, results: Path, seed: int) -> Request:
    """A training of two steps."""
    kind = method_class(METHODS[name].target)
    size = "64" if name == "swin_unetr" else "32"
    overrides = {**TINY, "steps": "2", "protocol.size": size}  # some have a size of their own
    del overrides["size"]
    if "packaged" not in kind.weights or kind.from_scratch(kind.Config()):
        del overrides["encoder"]
    return small_run(data, results, name, seed=seed, tasks=("FH",), overrides=overrides)


def weights(results: Path) -> dict[str, bytes]:
    folder = results / "weights"
    files = folder.rglob("*.safetensors")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("names", [QUICK, pytest.param(OTHERS, marks=pytest.mark.slow)])
def test_a_training_in_a_warm_process_ends_as_in_a_fresh_one(names, small_data, tmp_path):
    fresh, warm, before = (tmp_path / name for name in ("fresh", "warm", "before"))
    jobs = [Job(name, asked(name, small_data, fresh, 0)) for name in names]
    specs = "\n".join(job.spec for job in jobs)
    subprocess.run([sys.executable, "-c", IN_TURN], input=specs, text=True, check=True)
    for name in names:
        run(asked(name, small_data, before, 1))
        run(asked(name, small_data, warm, 0))
    for name in names:
        assert_same(*(path_of(results, f"{name}/1_4/seed0") for results in (fresh, warm)))
    trained = weights(fresh)
    assert len(trained) == len(names)
    assert [name for name, held in weights(warm).items() if held != trained[name]] == []


@pytest.fixture
def traced(monkeypatch):
    """Compilation without the part that takes long: the code that is made."""
    real = torch.compile
    torch.compiler.reset()
    counters.clear()
    compile_for(None)
    monkeypatch.setattr(
        torch, "compile", lambda losses, **_: real(losses, backend="aot_eager", dynamic=False)
    )
    yield lambda: counters["stats"]["unique_graphs"]
    torch.compiler.reset()


class Small(Toy):
    """As a method that a run can name."""

    encoder = ""
    weights = ("none",)


@needs_compiler
def test_trainings_of_one_architecture_are_compiled_once(traced, monkeypatch, small_data, tmp_path):
    """And what was compiled for the weights of another training is right for these."""
    entry = Entry("Small", UNIVERSAL_SEMI, "", f"{__name__}:Small")
    monkeypatch.setitem(METHODS, "small", entry)
    overrides = {name: value for name, value in TINY.items() if name != "encoder"}
    for place, seeds in {"warm": (1, 0), "fresh": (0,)}.items():
        torch.compiler.reset()
        counters.clear()
        for seed in seeds:
            request = small_run(small_data, tmp_path / place, "small", seed=seed, compile=True)
            run(replace(request, overrides=overrides))
        assert traced() == 1
    assert_same(*(path_of(tmp_path / place, "small/1_4/seed0") for place in ("fresh", "warm")))


@needs_compiler
def test_what_was_compiled_serves_equal_architectures_only(monkeypatch, small_data, tmp_path):
    told = []
    monkeypatch.setattr(part, "compile_for", told.append)
    monkeypatch.setattr(torch, "compile", lambda losses, **_: losses)
    first = replace(asked("unet", small_data, tmp_path / "0", 0), compile=True)
    run(first)
    run(replace(first, seed=1, tasks=("OT",)))
    for place, changes in enumerate(({"method": "pspnet"}, {"batch": "2"}, {"steps": "1"})):
        changed = replace(first, results=tmp_path / f"other{place}")
        method = changes.pop("method", "unet")
        run(replace(changed, method=method, overrides={**first.overrides, **changes}))
    run(replace(first, results=tmp_path / "plain", compile=False))
    assert len(told) == 5
    assert told[0] == told[1]
    assert told[0] not in told[2:]


class Power(nn.Module):
    """Its code holds its exponent."""

    def __init__(self, exponent):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.exponent = exponent

    def losses(self, batch, clock):
        return {"sum": (self.weight**self.exponent).sum()}


def test_more_architectures_than_torch_has_room_for_are_all_compiled(traced):
    batch = make_batches(Toy).at(0)
    for exponent in range(10):
        method = Power(exponent)
        for _ in range(2):
            compile_for(exponent)
            ForwardBackward(method, Execution(compile=True))(method.losses, batch, Clock(0, 1))
    assert traced() == 10


SETTINGS = {**TINY, "steps": "1"}


def in_this_process(words, folder):
    """In place of a process."""
    if words[0] == "benchmark.sweep.worker":
        worker.work(Path(words[1]))
        return
    parser = argparse.ArgumentParser()
    for name in ("method", "split", "seed", "preset", "data", "results", "device"):
        parser.add_argument(f"--{name}")
    for name in ("task", "set"):
        parser.add_argument(f"--{name}", action="append")
    given = parser.parse_args(words[2:])
    overrides = dict(setting.split("=") for setting in given.set)
    run(
        Request(
            given.method, given.split, int(given.seed), tuple(given.task), given.preset,
            overrides=overrides, data=Path(given.data), results=Path(given.results),
            device=given.device,
        )
    )  # fmt: skip


def call_main(monkeypatch, data, *words):
    settings = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    given = ["--method", "unet", "--preset", "smoke", "--task", "FH", "--runs", "2", *settings]
    given += ["--data", str(data), "--device", "cpu", *words]
    monkeypatch.setattr(sys, "argv", ["reuse", *given])
    reuse.main()


def test_both_sides_do_the_same_runs(monkeypatch, capsys, small_data):
    calls = []

    def call(words, folder):
        calls.append((words[0], folder.name))
        in_this_process(words, folder)

    monkeypatch.setattr(reuse, "_call", call)
    monkeypatch.setattr(reuse, "slots_here", lambda count, device: [Slot()])
    call_main(monkeypatch, small_data)
    assert calls == [("benchmark.cli", "processes")] * 2 + [("benchmark.sweep.worker", "worker")]
    printed = capsys.readouterr().out
    assert "unet, preset smoke, 2 runs" in printed
    assert "times faster" in printed
    assert printed.endswith("records are equal, of 2 sides\n")
    assert "at a time" not in printed


def test_with_more_slots_a_sweep_of_as_many_at_a_time_is_timed_too(monkeypatch, capsys, small_data):
    asked = []

    def by_slots(runs, folder, slots):
        asked.append((runs, slots))
        reuse.by_worker(runs, folder)

    monkeypatch.setattr(reuse, "_call", in_this_process)
    monkeypatch.setattr(reuse, "slots_here", lambda count, device: [Slot(), Slot(), Slot()])
    monkeypatch.setattr(reuse, "by_slots", by_slots)
    call_main(monkeypatch, small_data)
    ((runs, slots),) = asked
    assert [run.seed for run in runs] == [0, 1]
    assert len(slots) == 3
    assert "\n3 at a time " in (printed := capsys.readouterr().out)
    assert printed.endswith("records are equal, of 2 sides\n")  # slots have other threads


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_with_as_many_threads_the_records_of_slots_are_compared_too(
    monkeypatch, capsys, small_data, rate
):
    threads = []

    def call(words, folder):
        threads.append(os.environ["OMP_NUM_THREADS"])
        in_this_process(words, folder)

    def by_slots(runs, folder, slots):
        changed = [replace(run, overrides={**run.overrides, "rate": rate}) for run in runs]
        reuse.by_worker(changed, folder)

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(reuse, "_call", call)
    monkeypatch.setattr(reuse, "slots_here", lambda count, device: [Slot(), Slot()])
    monkeypatch.setattr(reuse, "by_slots", by_slots)
    if rate == 0.01:
        call_main(monkeypatch, small_data, "--threads", "1", "--set", "rate=0.01")
        assert capsys.readouterr().out.endswith("records are equal, of 3 sides\n")
    else:
        with pytest.raises(SystemExit, match="records differ: unet/1_4/seed0, unet/1_4/seed1"):
            call_main(monkeypatch, small_data, "--threads", "1", "--set", "rate=0.01")
    assert set(threads) == {"1"}
    assert "OMP_NUM_THREADS" not in os.environ


def test_records_that_differ_are_named(monkeypatch, small_data):
    def call(words, folder):
        if words[0] == "benchmark.cli":
            place = words.index("--set")
            words = [*words[:place], "--set", "rate=0.1", *words[place:]]
        in_this_process(words, folder)

    monkeypatch.setattr(reuse, "_call", call)
    monkeypatch.setattr(reuse, "slots_here", lambda count, device: [Slot()])
    with pytest.raises(SystemExit, match="records differ: unet/1_4/seed0, unet/1_4/seed1"):
        call_main(monkeypatch, small_data)


def test_a_run_that_fails_ends_the_comparison(monkeypatch, small_data):
    def perform(spec):
        return f"no luck with {request_of(spec).seed}"

    monkeypatch.setattr(worker, "perform", perform)
    monkeypatch.setattr(reuse, "_call", in_this_process)
    with pytest.raises(SystemExit, match=r"unet/1_4/seed0: no luck with 0\nunet/1_4/seed1: no"):
        call_main(monkeypatch, small_data)


@pytest.mark.slow
def test_with_real_processes(monkeypatch, capsys, small_data):
    call_main(monkeypatch, small_data)
    assert "records are equal, of " in capsys.readouterr().out


def test_a_process_that_fails_says_why(tmp_path):
    with pytest.raises(SystemExit, match="no_such_module"):
        reuse._call(["no_such_module"], tmp_path)


def test_rows_are_compared_too(small_data, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    run(asked("unet", small_data, one, 0))
    shutil.copytree(one, other)
    assert reuse.same(one, other, "unet/1_4/seed0")
    rows = path_of(other, "unet/1_4/seed0").with_suffix(".parquet")
    pd.read_parquet(rows).assign(group="another").to_parquet(rows)
    assert not reuse.same(one, other, "unet/1_4/seed0")
