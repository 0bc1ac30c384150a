"""Imports run one way, and what must start fast imports no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("dataset_builders", "benchmark", "baselines", "propl")  # low to high


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
    return names


@pytest.mark.parametrize("layer", LAYERS)
def test_no_module_imports_a_higher_layer(layer):
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    paths = sorted((ROOT / layer).rglob("*.py"))
    assert paths
    for path in paths:
        assert not imported(path) & above, path


@pytest.mark.parametrize(
    "path", sorted((ROOT / "dataset_builders").glob("*.py")), ids=lambda p: p.stem
)
def test_dataset_builders_import_no_torch(path):
    assert not imported(path) & {"torch", "torchvision", "monai", "timm"}


@pytest.mark.parametrize(
    "modules",
    [
        "benchmark.cli",
        "benchmark.listing, dataset_builders.sources",
        "benchmark.report",
        "dataset_builders.build",
    ],
)
def test_starts_without_torch(modules):
    code = (
        f"import {modules}, sys; print([m for m in ('torch', 'timm', 'monai') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
