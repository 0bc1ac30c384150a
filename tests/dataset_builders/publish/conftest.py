"""One small data set, built and published, for all tests of this folder."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from dataset_builders import phantom
from dataset_builders.build import build
from dataset_builders.publish.contents import Contents
from dataset_builders.publish.folder import assemble

REPO, TAG = "lab/usbench", "v1.0.0"


@dataclass(frozen=True)
class Published:
    raw: Path
    built: Path
    folder: Path
    contents: Contents


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Published:
    """More than a hundred images in some training splits, so that there are two row groups."""
    root = tmp_path_factory.mktemp("publish")
    phantom.write(root / "raw", images=70, size=64)
    build(root / "raw", root / "data", allow_missing=True)
    contents = assemble(root / "data", root / "published", REPO, TAG)
    return Published(root / "raw", root / "data", root / "published", contents)
