"""The command line: what it prints, what it answers to nonsense, how fast it starts."""

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.methods import METHODS
from dataset_builders.sources import SOURCES
from dataset_builders.tasks import TASKS


def usbench(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize(
    ("what", "names"), [("methods", METHODS), ("tasks", TASKS), ("sources", SOURCES)]
)
def test_list_names_everything_in_order(what, names):
    lines = usbench("list", what).output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(names)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "method"], "unknown list 'method' (did you mean 'methods'?)"),
        (["run", "--method", "unet", "--split", "1_3"], "unknown split '1_3'"),
        (["run", "--method", "unte", "--split", "1_4"], "did you mean 'unet'?"),
        (["run", "--method", "unet", "--split", "1_4", "--set", "rate"], "name=value"),
        (["build-data", "--raw", "nowhere"], "9 of 9 sources are missing"),
        (["build-data", "--source", "busy"], "unknown source 'busy' (did you mean 'busi'?)"),
        (["report", "--results", "nowhere"], "no runs in"),
        (["report", "--format", "pdf"], "unknown format 'pdf'"),
    ],
    ids=" ".join,
)
def test_nonsense_is_answered_without_a_traceback(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    done = usbench(*words)
    assert done.exit_code == 2
    assert message in re.sub(r"\s+", " ", done.output)
    assert "Traceback" not in done.output
    assert not list(tmp_path.iterdir())


def test_run_without_data_says_how_to_build_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = usbench("run", "--method", "unet", "--split", "1_4")
    assert done.exit_code == 2
    assert "usbench build-data --out data" in done.output


@pytest.mark.parametrize("words", [["--help"], ["list", "methods"], ["list", "runs"]])
def test_starts_in_under_a_second_of_work(tmp_path, words):
    """Processor time of the fastest of three: the clock of a shared machine says little."""
    times = []
    for _ in range(3):
        code = f"import sys, time; sys.argv = ['usbench', *{words}]\n" + (
            "from benchmark.cli import main\ntry: main()\nexcept SystemExit: pass\n"
            "print('seconds', time.process_time(), file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        times.append(float(done.stderr.split()[-1]))
    assert min(times) < 1.0


def test_the_module_is_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "benchmark.cli", "list", "tasks"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == usbench("list", "tasks").stdout
