"""What a source promises, what a sample is, and how both refuse nonsense.

A source is read in two steps, so that selection needs names only and pixels are decoded once:

    files --Source.index--> items (names and groups) --select--> --Source.read--> samples (pixels)
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataset_builders.errors import UsageError

Files = Mapping[PurePosixPath, Path]  # path inside the source's folder -> file on disk


class SourceError(UsageError):
    """Bad input, said once: which source, which file, what is wrong, what to do."""

    def __init__(self, source: str, file: object, problem: str, remedy: str) -> None:
        super().__init__(f"{source}: {file}: {problem}; {remedy}")


class NothingFoundError(SourceError):
    """Files are there, but none of them is the source's: a shared folder, or another layout."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image with one mask for one task, known by name; nothing is decoded yet."""

    task: str  # code of dataset_builders.tasks: "BC"
    source: str  # name of dataset_builders.sources: "busi"
    source_id: str  # the publisher's name, unique in (source, task): "benign (1)"
    group: str  # patient, exam, video or duplicate cluster; unique in the source
    files: tuple[Path, ...]  # what `read` opens; image first, then its mask or masks
    frame: int = 0  # 0-based frame of a video, where `files` holds one
    view: str = ""  # "2CH", "4CH", "A4C", "" where the source names none

    @property
    def id(self) -> str:
        """Unique in the data set; the key of every random decision about this sample."""
        return f"{self.task}/{self.source}/{self.source_id}"


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source's files hold."""

    items: tuple[Item, ...]
    skipped: Mapping[str, str]  # publisher's name -> why it is left out, for the manifest
    expected: int | None = None  # images of this form, where a source has a form with fewer


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A decoded item: native resolution, mask of the same size.

    Raises:
        SourceError: image or mask of a wrong type or size, or an empty mask.
    """

    item: Item
    image: NDArray[np.uint8]  # (H, W) grey, or (H, W, 3) RGB where the task is in colour
    mask: NDArray[np.bool_]  # (H, W), True is foreground
    encoded: bytes | None = None  # original file, if decoding it gives `image`; None: make a PNG
    spacing_mm: tuple[float, float] | None = None  # one pixel's height and width, None unknown

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim not in (2, 3):
            self._refuse(f"image is {self.image.dtype} {self.image.shape}", "uint8 (H, W) is right")
        if self.mask.dtype != np.bool_ or self.mask.ndim != 2:
            self._refuse(f"mask is {self.mask.dtype} {self.mask.shape}", "bool (H, W) is right")
        if self.image.shape[:2] != self.mask.shape:
            self._refuse(
                f"image is {self.image.shape[1]}x{self.image.shape[0]} but its mask is "
                f"{self.mask.shape[1]}x{self.mask.shape[0]}",
                "both must have one size; get the file again from the publisher",
            )
        if not self.mask.any():
            self._refuse("mask is empty", "get the file again from the publisher")

    def _refuse(self, problem: str, remedy: str) -> None:
        files = ", ".join(f"'{path.name}'" for path in self.item.files)
        raise SourceError(self.item.source, files, problem, remedy)


@dataclass(frozen=True, slots=True)
class Card:
    """Where a source comes from and on what terms; printed in the data set card."""

    title: str
    homepage: str
    access: str  # how to get it, in one imperative sentence
    licence: str  # SPDX where one is stated, else what is known, in words
    citation: str  # authors, title, venue, year, doi
    archives: tuple[str, ...] = ()  # file names a browser saves it under
    folders: tuple[str, ...] = ()  # folders of other sources that may hold it too


class Source(ABC):
    """One public archive. Subclasses hold its facts; they are the data card in code."""

    name: ClassVar[str]
    card: ClassVar[Card]
    expected: ClassVar[Mapping[str, int]]  # task -> items in a complete release

    @abstractmethod
    def index(self, files: Files) -> Listing:
        """List the items by name.

        Raises:
            SourceError: a mask without image, an unreadable table.
            NothingFoundError: no file of this source among them.
        """

    @abstractmethod
    def read(self, item: Item) -> Sample:
        """Decode one item. Pure, safe in threads.

        Raises:
            SourceError: a file that cannot be decoded, or a sample that `Sample` refuses.
        """

    def nothing(self, files: Files, layout: str) -> NothingFoundError:
        """The error of this source when it recognises none of its files."""
        return NothingFoundError(
            self.name,
            f"{len(files)} files",
            f"none lies like {layout}",
            f"unpack the archive as it comes; if this is another form, {self.card.access}",
        )

    def error(self, file: object, problem: str, remedy: str = "") -> SourceError:
        """The error of this source about `file`; by default the remedy is to get it again."""
        return SourceError(self.name, file, problem, remedy or f"get it again: {self.card.access}")
