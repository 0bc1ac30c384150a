"""Synthetic archives as their builders see them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from dataset_builders import phantom
from dataset_builders.acquire import Finder
from dataset_builders.schema import Item, Listing, Sample
from dataset_builders.sources import SOURCES

IMAGES, SIZE = 16, 96


@dataclass(frozen=True)
class Archives:
    raw: Path
    finder: Finder

    def files(self, source: str) -> dict[str, Path]:
        found = self.finder.find(SOURCES[source])
        return {path.as_posix(): file for path, file in found.items()}

    def file(self, source: str, ending: str) -> Path:
        (file,) = (file for name, file in self.files(source).items() if name.endswith(ending))
        return file

    def index(self, source: str) -> Listing:
        return SOURCES[source].index(self.finder.find(SOURCES[source]))

    def read(self, source: str) -> Iterator[tuple[Item, Sample]]:
        for item in self.index(source).items:
            yield item, SOURCES[source].read(item)

    @classmethod
    def drawn(cls, folder: Path) -> Self:
        """All sources, new."""
        phantom.write(folder / "raw", images=IMAGES, size=SIZE)
        return cls(folder / "raw", Finder(folder / "raw", folder / "scratch"))


def picture(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
