"""Killed at any point and resumed, a run ends with the same bits."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

SCENARIOS = ("unet:FH:LA,OT", "propl:FH,OT")
ALL_SCENARIOS = (*SCENARIOS, "stpp:FH")


def kill(data: Path, out: Path, kills: int, scenarios: tuple[str, ...]) -> list[dict]:
    script = Path(__file__).with_name("kill_again.py")
    done = subprocess.run(
        [sys.executable, script, data, out, str(kills), *scenarios],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(script.parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def contents(results: Path) -> Iterator[tuple[str, object]]:
    """All that a run leaves: weights by byte, record and rows by value."""
    for path in sorted(results.rglob("*.*")):
        name = str(path.relative_to(results))
        if path.suffix == ".json":
            fields = json.loads(path.read_text())
            for entry in fields["tasks"].values():
                del entry["seconds"], entry["peak_memory_mb"]
            yield name, fields | {"finished": ""}
        elif path.suffix == ".parquet":
            yield name, pd.read_parquet(path).to_dict("list")
        else:
            yield name, path.read_bytes()


def same_as_never_killed(data: Path, out: Path, kills: int, scenarios: tuple[str, ...]) -> None:
    attempts = kill(data, out, kills, scenarios)
    for scenario in scenarios:
        of_scenario = [a for a in attempts if Path(a["results"]).parent == out / scenario]
        assert [a["status"] for a in of_scenario].count(-signal.SIGKILL) == kills
        whole, *killed = sorted({Path(a["results"]) for a in of_scenario}, reverse=True)
        expected = dict(contents(whole))
        assert len(expected) == (6 if scenario.startswith("unet") else 4)
        assert killed
        for results in killed:
            assert str(dict(contents(results))) == str(expected), results


def test_killed_at_random_points_a_run_ends_with_the_same_bits(small_data, tmp_path):
    same_as_never_killed(small_data, tmp_path, 5, SCENARIOS)


@pytest.mark.slow
def test_killed_at_many_random_points_a_run_ends_with_the_same_bits(small_data, tmp_path):
    same_as_never_killed(small_data, tmp_path, 25, ALL_SCENARIOS)
