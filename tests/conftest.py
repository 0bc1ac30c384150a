"""Shared fixtures: real images where they are at hand, synthetic archives always."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Two test processes on two cores: torch's own threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples every time, so that a failure is the change's; no deadline on shared machines.
settings.register_profile("usbench", derandomize=True, deadline=None)
settings.load_profile("usbench")

REAL = Path(__file__).parents[2] / "shared" / "real"


@pytest.fixture(scope="session")
def sample_root() -> Path:
    """Byte-identical sample files of the sources, in the publishers' layout."""
    root = REAL / "sample"
    if not root.is_dir():
        pytest.skip(
            "no real images here (../shared/real/sample); synthetic archives cover the rest"
        )
    return root


@pytest.fixture(scope="session")
def raw_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nearly complete, reduced sources, unpacked once a session (a minute, 400 MB)."""
    script = REAL / "unpack.py"
    if not script.is_file():
        pytest.skip("no real images here (../shared/real/unpack.py)")
    raw = tmp_path_factory.mktemp("pack") / "raw"
    subprocess.run([sys.executable, str(script), str(raw)], check=True, capture_output=True)
    return raw


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set built from synthetic archives: 8 tasks of some 24 images."""
    from dataset_builders import phantom
    from dataset_builders.build import build

    folder = tmp_path_factory.mktemp("small")
    phantom.write(folder / "raw", images=24, size=64)
    build(folder / "raw", folder / "data", allow_missing=True)
    return folder / "data"
