"""What the README tells a newcomer to type works as printed."""

import json
import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.methods import METHODS
from dataset_builders import phantom

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.split("#")[0].strip()
]
# what turns the printed command into one of seconds on synthetic archives
SHORT = {
    "build-data": "--allow-missing",
    "run": "--preset smoke --set size=32 --set steps=1 --set batch=4 --set text=random",
    "plan": "--preset smoke --methods pspnet --set size=32 --slots 1",
    "sweep": "--preset smoke --methods pspnet --dry-run",
    "bench": "--preset smoke --set size=32 --set batch=4 --steps 1",
}
# nothing can be fetched in a test; pictures of 64 px of one organ may look alike
EXITS = {"download": {2}, "leakage": {0, 1}}


def no_network(*_: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "no network in a test")


def test_the_readme_has_commands_of_every_kind():
    words = {tuple(command.split()[:2]) for command in COMMANDS}
    assert {("make", "demo"), ("make", "test")} <= words
    assert {("usbench", name) for name in ("build-data", "run", "report", "list")} <= words


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_knows_the_target(command):
    done = subprocess.run([*command.split(), "-n"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ci_runs_the_test_command():
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_the_printed_commands_work_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    phantom.write(tmp_path / "raw", images=24, size=64)
    shutil.copytree(ROOT / "results/paper", tmp_path / "results/paper")
    (tmp_path / "scans").mkdir()
    cv2.imwrite("scans/one.png", np.tile(np.arange(80, dtype=np.uint8), (60, 1)))
    for command in COMMANDS:
        if not command.startswith("usbench "):
            continue
        words = shlex.split(command)[1:]
        added = SHORT.get(words[0], "").split()
        done = CliRunner().invoke(app, [*words, *added])
        assert done.exit_code in EXITS.get(words[0], {0}), f"{command}: {done.output}"
    assert (tmp_path / "results/tables/table3.md").is_file()
    assert cv2.imread("masks/one_mask.png", cv2.IMREAD_UNCHANGED).shape == (60, 80)
    assert (tmp_path / "unet.onnx").is_file()


def test_every_file_of_the_tree_exists_and_every_module_is_in_it():
    (tree,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    named = set(re.findall(r"[\w/.]+\.py", tree))
    folders = re.findall(r"^(\w+)/", tree, re.MULTILINE)
    assert folders
    present = {path.name for folder in folders for path in (ROOT / folder).rglob("*.py")}
    present |= {path.name for path in (ROOT / "tests").glob("conftest.py")}
    assert {Path(name).name for name in named} <= present
    code = {
        path.name
        for folder in ("dataset_builders", "benchmark", "baselines", "propl")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert code <= {Path(name).name for name in named}


def test_the_result_table_is_the_committed_report():
    """Each number of the README's table stands in the table made from the records."""
    rows = re.findall(r"^\| ([^|]+?)\*? \|((?: [\d.]+ \|){9})$", README, re.MULTILINE)
    made = pd.read_csv(ROOT / "results/mini/tables/table3.csv")
    made = made[(made.metric == "dice") & made.ours.notna()]
    assert [title for title, _ in rows] == [
        entry.title for name, entry in METHODS.items() if name in set(made.method)
    ]
    keys = {entry.title: name for name, entry in METHODS.items()}
    for title, cells in rows:
        numbers = [float(cell) for cell in cells.split("|")[:-1]]
        ours = made[made.method == keys[title]].ours
        assert numbers == [round(value, 1) for value in ours]


def test_citation_file_and_package_agree_on_the_version():
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert version
    assert cited
    assert version[1] == cited[1]


@pytest.mark.slow
def test_the_demo_runs(tmp_path):
    """`make demo` as a newcomer types it, in a clone."""
    clone = tmp_path / "usbench"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    done = subprocess.run(["make", "demo"], cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ProPL" in done.stdout
    record = json.loads((clone / "demo/results/runs/propl/1_4/seed0.json").read_text())
    assert record["preset"] == "mini"
