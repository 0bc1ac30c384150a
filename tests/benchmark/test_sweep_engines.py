"""All 21 methods through each engine, by the command: the records and the tables are the same."""

import os
import subprocess
import sys

import pytest
import small_slurm
from small_runs import assert_same

from benchmark import record
from benchmark.methods import METHODS

OPTIONS = {
    "embedded": [],
    "ray": ["--engine", "ray"],
    "slurm": ["--engine", "slurm", "--slurm", "cpus_per_task=1"],
}


def usbench(*words, **environment):
    """What it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmark.cli", *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_engine_gives_the_same_tables(small_data, tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install 'usbench[ray]'")
    pytest.importorskip("submitit", reason="needs submitit: pip install 'usbench[slurm]'")
    methods = [name for name, entry in METHODS.items() if entry.target]
    small_slurm.install(tmp_path / "slurm")
    path = f"{tmp_path / 'slurm/bin'}:{os.environ['PATH']}"
    tables = {}
    for engine, options in OPTIONS.items():
        words = ["sweep", "--preset", "smoke", "--device", "cpu", "--data", small_data]
        words += ["--methods", ",".join(methods), "--splits", "1_4", "--slots", "2", *options]
        words += ["--results", tmp_path / engine]
        usbench(*words, PATH=path, SLURM_CPUS_PER_TASK="1")
        tables[engine] = usbench("report", "--results", tmp_path / engine, "--format", "csv")
    assert len(methods) == 21
    for name in methods:
        one, *others = (
            record.path_of(tmp_path / engine, f"{name}/1_4/seed0") for engine in OPTIONS
        )
        for other in others:
            assert_same(one, other)
    assert len(set(tables.values())) == 1
    assert tables["embedded"].count("\n") > 21
