"""Data sets for the proof of one: to read, and to spoil."""

import shutil

import pytest

from dataset_builders import phantom
from dataset_builders.build import build


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proof")
    phantom.write(folder / "raw", images=16, size=64)
    build(folder / "raw", folder / "data", allow_missing=True)
    return folder / "data"


@pytest.fixture(scope="session")
def few(sound, tmp_path_factory):
    """Grey and colour, PNG and JPEG, in six shards, for tests that verify hundreds of times."""
    folder = tmp_path_factory.mktemp("few")
    sources = ["busi", "mmotu", "ddti"]
    build(sound.parent / "raw", folder / "data", sources=sources, allow_missing=True)
    return folder / "data"


@pytest.fixture
def data(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "data")
    return tmp_path / "data"
