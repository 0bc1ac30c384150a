"""A disk that fills up ends a run with path and size; what was there stays, and it goes on."""

import errno
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import assert_same, small_run

from benchmark import files, part, tensors
from benchmark.files import WriteError
from benchmark.progress import Progress
from benchmark.run import run


@pytest.fixture(scope="module")
def whole(small_data, tmp_path_factory):
    return run(small_run(small_data, tmp_path_factory.mktemp("whole")))


def fill(monkeypatch, ending: str) -> None:
    """The disk is full when a file of this ending is brought to it."""
    real = os.fsync

    def fsync(number: int) -> None:
        if Path(f"/proc/self/fd/{number}").readlink().name == ending:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    monkeypatch.setattr(files.os, "fsync", fsync)


@pytest.mark.parametrize(
    "ending",
    [
        "start.json.tmp",
        "FH.checkpoint.safetensors.tmp",
        "FH.weights.safetensors.tmp",
        "FH.json.tmp",
        "seed0.json.tmp",
    ],
)
def test_nothing_is_lost(whole, small_data, tmp_path, monkeypatch, ending):
    asked = small_run(small_data, tmp_path)
    monkeypatch.setattr(part, "CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        fill(patch, ending)
        message = rf"{ending.removesuffix('.tmp')} cannot be written \(No space.*takes [\d.,]+ MB"
        with pytest.raises(WriteError, match=message):
            run(asked)
    assert not list(tmp_path.rglob("*.tmp"))
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("*.json"))
    assert_same(run(replace(asked, resume=True)), whole)


def test_the_checkpoint_before_is_kept(small_data, tmp_path, monkeypatch):
    asked = small_run(small_data, tmp_path, tasks=("FH",))
    monkeypatch.setattr(part, "CHECKPOINT_SECONDS", 0.0)
    real = Progress.step

    def stepped(bars, done, terms):
        real(bars, done, terms)
        if done == 3:
            fill(monkeypatch, "FH.checkpoint.safetensors.tmp")

    monkeypatch.setattr(Progress, "step", stepped)
    with pytest.raises(WriteError):
        run(asked)
    (saved,) = tmp_path.rglob("FH.checkpoint.safetensors")
    assert tensors.read(saved)[1]["standing"]["step"] == 2


def test_a_limit_of_the_system_is_the_same_error(small_data, tmp_path):
    """No pretence: the kernel refuses what goes beyond 100 kB of a file."""
    asked = small_run(small_data, tmp_path, tasks=("FH",))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        message = r"FH.weights.safetensors cannot be written \(File too large\)"
        with pytest.raises(WriteError, match=message):
            run(asked)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.rglob("*.tmp"))
    assert run(replace(asked, resume=True)).is_file()
