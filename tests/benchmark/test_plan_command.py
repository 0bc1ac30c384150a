"""`usbench plan`: what it measures, predicts and prints."""

import json
from dataclasses import fields, replace

import pytest
import typer
from small_runs import TINY
from typer.testing import CliRunner

from benchmark.commands.plan import plan, seconds_in
from benchmark.sweep import forecast as forecast_module
from benchmark.sweep.forecast import duration, size
from benchmark.sweep.probe import Probe
from benchmark.sweep.probes import ProbeError
from dataset_builders.errors import UsageError

APP = typer.Typer()
APP.command()(plan)
BASE = replace(
    Probe(**{f.name: 0.0 for f in fields(Probe) if f.name != "steps_s"}, steps_s=(1.0,)),
    start_s=10.0, memory_mb=1500.0, weights_bytes=5e6, checkpoint_bytes=20e6,
)  # fmt: skip
STEP_S = {"unet": 1.0, "pspnet": 2.0, "dodnet": 4.0}


@pytest.fixture
def measured(monkeypatch):
    """Methods that were measured, without measuring."""
    methods = []

    def measure(job, slots):
        methods.append(job.request.method)
        if job.request.method not in STEP_S:
            raise ProbeError("no such luck")
        return replace(BASE, steps_s=(STEP_S[job.request.method],))

    monkeypatch.setattr(forecast_module, "measure", measure)
    return methods


@pytest.fixture
def planned(small_data, tmp_path):
    def call(*words, results="results", code=0):
        settings = [f"--set={name}={value}" for name, value in TINY.items()]
        common = ["--data", str(small_data), "--results", str(tmp_path / results), *settings]
        given = CliRunner().invoke(
            APP, ["--preset=smoke", "--device=cpu", "--slots=1", *common, *words]
        )
        assert given.exit_code == code, given.output
        return given.output if code else given.stdout

    return call


def test_a_method_is_measured_once_for_all_its_runs(planned, measured):
    lines = planned("--methods=unet,dodnet", "--tables=1-3").splitlines()
    assert measured == ["unet", "dodnet"]
    rows = {line.split()[0]: line.split() for line in lines if "/seed0" in line}
    assert len(rows) == 6
    # 8 tasks of 4 steps; a universal method has 4 for each task
    assert rows["unet/1_8/seed0"][1:4] == ["32", "32", "s"]
    assert rows["dodnet/1_4/seed0"][1:4] == ["32", "2.1", "min"]
    assert "6 runs to do: 8.0 min of work" in "\n".join(lines)
    assert any("done after 8.2 min" in line for line in lines)  # and 10 s of a process's start


def test_what_was_measured_is_kept(planned, measured):
    planned("--methods=unet", "--tables=1")
    planned("--methods=unet", "--tables=2-3")
    assert measured == ["unet"]
    planned("--methods=unet", "--tables=1", "--probe-again")
    assert measured == ["unet"] * 2


def test_the_longest_run_is_first_or_the_smallest_table(planned, measured):
    words = ("--methods=unet,pspnet,dodnet", "--tables=1,3")
    runs = [line.split()[0] for line in planned(*words).splitlines()[1:7]]
    assert [name.split("/")[0] for name in runs] == ["dodnet"] * 2 + ["pspnet"] * 2 + ["unet"] * 2
    runs = [line.split()[0] for line in planned(*words, "--order=tables").splitlines()[1:7]]
    assert [name.split("/")[1] for name in runs] == ["1_16"] * 3 + ["1_4"] * 3
    assert runs[0].startswith("dodnet")


def test_what_fits_a_budget(planned, measured, tmp_path):
    out = tmp_path / "plan.json"
    words = ("--methods=unet,pspnet", "--tables=1-2", "--order=tables", "--budget=110s")
    text = planned(*words, "--out", str(out))
    values = json.loads(out.read_text())
    fitting = [run["name"] for run in values["runs"] if run["ends_s"] <= 110]
    assert [run["name"] for run in values["runs"] if run["fits"]] == fitting
    assert f"within 1.8 min: {len(fitting)} of 4 runs" in text
    assert values["makespan_s"] == pytest.approx(10 + 2 * (32 + 64))
    assert values["bound_s"] == pytest.approx(2 * (32 + 64))
    assert values["budget_s"] == 110
    assert set(values["tables"]) == {"1", "2"}
    assert "Table 1 (2 of its 21 runs): done after 1.8 min" in text  # 106 s
    assert "Table 2 (2 of its 21 runs): 2 of 2 runs too late" in text


def test_a_method_that_cannot_be_measured_stops_no_other(planned, measured):
    text = planned("--methods=unet,propl", "--tables=3,6", code=1)
    assert "unet/1_4/seed0" in text
    assert "not known: propl/1_4/seed0" in text
    assert "no such luck" in text
    assert "Table 3 (2 of its 21 runs): not known" in text
    assert "Table 6: not known" in text


def test_runs_that_are_done_are_not_planned(planned, measured, small_data, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "benchmark.sweep.jobs.is_done", lambda plan, **_: plan.request.split == "1_16"
    )
    text = planned("--methods=unet", "--tables=1,3")
    assert "1 run to do, 1 done before" in text
    assert "Table 1 (1 of its 21 runs): done\n" in text
    assert "Table 3 (1 of its 21 runs): done after 42 s" in text


def test_errors_name_what_would_be_right(planned, measured):
    assert "write a time as" in planned("--budget=soon", code=2)
    assert "choose one of: longest, tables" in planned("--order=shortest", code=2)
    assert measured == []


@pytest.mark.slow
def test_a_probe_in_processes_of_their_own(planned, tmp_path):
    """Nothing is replaced here: two slots are probed at once."""
    text = planned("--methods=unet", "--tables=3", "--slots=2")
    assert "1 run to do" in text
    kept = json.loads((tmp_path / "results/probes.json").read_text())["probes"]
    assert [entry["of"]["slots"] for entry in kept] == [2]
    probe = kept[0]["probe"]
    assert probe["start_s"] > 0
    assert probe["steps_s"][0] > 0
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["probes.json"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("25m", 1500), ("1.5h", 5400), ("2d", 172800)]
)
def test_a_budget(text, seconds):
    assert seconds_in(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "h", "0h", "-1h", "1h30m", "1e3s"])
def test_what_is_no_budget(text):
    with pytest.raises(UsageError, match="write a time as"):
        seconds_in(text)


def test_how_numbers_read():
    assert [duration(s) for s in (0.4, 99, 100, 5969, 5971, 200_000, 864_000)] == [
        "0 s", "99 s", "1.7 min", "99.5 min", "1.7 h", "55.6 h", "10.0 days",
    ]  # fmt: skip
    assert [size(mb) for mb in (0.4, 999, 1234)] == ["0 MB", "999 MB", "1.23 GB"]
