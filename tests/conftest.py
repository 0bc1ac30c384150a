"""Shared fixtures: real images where they are at hand, synthetic archives always."""

import subprocess
import sys
from pathlib import Path

import pytest

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
