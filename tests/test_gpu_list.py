"""`results/gpu.py`: what is to be run on a GPU, in order, within a budget."""

import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from benchmark.cli import app
from benchmark.methods import METHODS
from benchmark.tables import TABLES

PATH = Path(__file__).parents[1] / "results/gpu.py"
spec = importlib.util.spec_from_file_location("gpu_list", PATH)
assert spec
assert spec.loader
gpu_list = sys.modules["gpu_list"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gpu_list)


def stages():
    return list(gpu_list.stages(Path("results/gpu"), Path("data")))


def options(stage):
    """As the command reads them."""
    command = typer.main.get_command(app).commands[stage.words[0]]
    return command.make_context(stage.words[0], list(stage.with_budget(60)[1:])).params


def test_every_command_is_one_that_usbench_understands():
    for stage in stages():
        given = options(stage)
        assert given["budget"] in (("60s",) if stage.words[0] == "sweep" else (60.0, None))
        if given.get("pack") and stage.words[0] == "bench":
            assert given["budget"] is None  # `bench --pack` refuses it


def test_in_the_end_all_runs_of_all_tables_are_there_with_both_encoders():
    found = {"own": set(), "shared": set()}
    for stage in stages():
        if stage.words[0] == "sweep":
            asked = options(stage)
            low, _, high = asked["tables"].partition("-")
            cells = {
                (method, number, int(asked["seeds"]))
                for method in asked["methods"].split(",")
                for number in range(int(low), int(high or low) + 1)
            }
            found[asked["results"].name] |= cells
    ablations = {("propl", number, seed) for number in (4, 5, 6) for seed in range(3)}
    plain = set(itertools.product(METHODS, (1, 2, 3), range(3)))
    assert found["own"] >= ablations | plain
    assert {method for method, *_ in found["shared"]} == {
        "unet", "pspnet", "deeplabv3plus", "unetpp", "fixmatch", "u2pl", "stpp", "unimatch",
        "augseg", "ddfp", "csc_pa", "dodnet", "clip_um", "univ_full", "propl",
    }  # fmt: skip
    assert set(TABLES) == set(range(1, 7))


def called(monkeypatch, *words, code=0, seconds=0.0):
    """Commands that a call runs, where each takes so long."""
    ran, clock = [], [0.0]

    def run(command, check):
        ran.append(command[3:])
        clock[0] += seconds
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(gpu_list.subprocess, "run", run)
    monkeypatch.setattr(gpu_list.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sys, "argv", ["gpu.py", *map(str, words)])
    return gpu_list.main(), ran


def test_a_budget_is_dealt_out_until_it_is_spent(monkeypatch, tmp_path):
    code, ran = called(monkeypatch, "--budget", "10m", "--results", tmp_path, seconds=200)
    assert code == 0
    assert [words[-1] for words in ran] == ["600", "400", "200"]
    assert [words[words.index("--method") + 1] for words in ran] == list(METHODS)[:3]
    for name in list(METHODS)[:2]:
        out = tmp_path / f"bench/fp32/{name}.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text('{"not_begun": []}')
    code, ran = called(monkeypatch, "--budget", "10m", "--results", tmp_path, seconds=599)
    assert [words[:3] for words in ran] == [["bench", "--method", list(METHODS)[2]]]
    out.write_text('{"not_begun": ["pspnet"]}')
    code, ran = called(monkeypatch, "--budget", "10m", "--results", tmp_path, seconds=599)
    assert [words[:3] for words in ran] == [["bench", "--method", list(METHODS)[1]]]


def test_the_preset_is_that_of_the_trainings():
    for preset in ("paper", "mini"):
        asked = [
            options(stage)
            for stage in gpu_list.stages(Path("results/gpu"), Path("data"), preset)
            if "--pack" not in stage.words
        ]
        assert {own["preset"] for own in asked if "tables" in own} == {preset}
        assert {own["preset"] for own in asked if "tables" not in own} == {"paper"}


def test_what_cannot_begin_ends_it_and_a_run_that_fails_does_not(monkeypatch, tmp_path):
    code, ran = called(monkeypatch, "--results", tmp_path, code=2)
    assert (code, len(ran)) == (2, 1)
    code, ran = called(monkeypatch, "--results", tmp_path, code=1)
    assert (code, len(ran)) == (1, len(stages()))
    assert all("--retry" in words for words in ran if words[0] == "sweep")


@pytest.mark.parametrize("word", ["10", "0m", "ten"])
def test_a_budget_that_is_none(monkeypatch, word):
    with pytest.raises(SystemExit):
        called(monkeypatch, "--budget", word)


def test_a_dry_run_only_prints(monkeypatch, capsys, tmp_path):
    code, ran = called(monkeypatch, "--dry-run", "--results", tmp_path)
    assert (code, ran) == (0, [])
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    assert len(lines) == len(stages())
    assert all(line.startswith(("usbench bench ", "usbench sweep ")) for line in lines)
