"""Which pictures a command was given: files, folders and wildcards; and their frames."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.pictures.frames import PictureError, Pixels
from benchmark.pictures.reading import KNOWN, SUFFIXES, read, sniff


@dataclass(frozen=True, slots=True)
class Input:
    """A picture that was asked for."""

    path: Path
    name: Path  # of its outputs, without ending, below the folder that all inputs share


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of an input."""

    source: Input
    number: int  # from 1
    count: int  # frames of the input
    pixels: Pixels

    @property
    def name(self) -> Path:
        """Of its outputs, without ending; numbered if there are several."""
        if self.count == 1:
            return self.source.name
        digits = max(3, len(str(self.count)))
        return self.source.name.with_name(f"{self.source.name.name}_{self.number:0{digits}}")


def frames_of(source: Input) -> list[Frame]:
    """Read an input.

    Raises:
        PictureError: it cannot be read.
    """
    frames = read(source.path)
    return [Frame(source, n, len(frames), pixels) for n, pixels in enumerate(frames, start=1)]


def find_inputs(arguments: Sequence[str], outside: Path) -> tuple[list[Input], list[PictureError]]:
    """Expand what was given, each file once, in the order given; folders in order of their names.

    Outputs keep the folders that tell inputs apart: of `a/x.png` and `b/x.png` they are called
    `a/x` and `b/x`. Where only the ending tells two apart, it is kept too: `x.png` and `x.dcm`.

    Args:
        arguments: files, folders, which are searched to any depth, and wildcards; a file whose
            name holds `*`, `?` or `[` is taken by its name.
        outside: the folder of outputs, which is left out where it lies in a folder of inputs.

    Returns:
        The pictures, and what was wrong with arguments that gave none.
    """
    roots: list[Path] = []
    found: dict[Path, None] = {}
    problems = []
    for argument in arguments:
        matches = _expand(argument)
        if not matches:
            problems.append(PictureError(Path(argument), "nothing is there", "check the path"))
        for path in matches:
            files = list(_pictures_in(path, outside)) if path.is_dir() else [path]
            if not files:
                problem = f"the folder holds no {KNOWN} file"
                problems.append(PictureError(path, problem, "name another"))
                continue
            roots.append(path if path.is_dir() else path.parent)
            found |= dict.fromkeys(files)
    return _named(list(found), roots), problems


def whole_path(path: Path | str) -> Path:
    """From the root, without dots; links stay, so that a file keeps the name it was given by."""
    return Path(os.path.normpath(Path(path).absolute()))


def _expand(argument: str) -> list[Path]:
    if Path(argument).exists():
        return [whole_path(argument)]
    return [whole_path(path) for path in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207 - it may begin at the root


def _pictures_in(folder: Path, outside: Path) -> Iterator[Path]:
    """Files that are pictures, or should be by their name."""
    outputs = whole_path(outside)
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        earlier = folder in outputs.parents and outputs in path.parents
        if hidden or earlier or not path.is_file() or path.name == "DICOMDIR":
            continue
        if path.name.lower().endswith(SUFFIXES) or _looks_like_one(path):
            yield path


def _looks_like_one(path: Path) -> bool:
    try:
        return sniff(path) is not None
    except PictureError:
        return True  # reading it will tell the user why not


def _named(files: Sequence[Path], roots: Iterable[Path]) -> list[Input]:
    if not files:
        return []
    base = os.path.commonpath(list(roots))
    names = [path.relative_to(base) for path in files]
    stems = [name.with_name(_stem(name.name)) for name in names]
    times = Counter(stems)
    return [
        Input(path, stem if times[stem] == 1 else name)
        for path, name, stem in zip(files, names, stems, strict=True)
    ]


def _stem(name: str) -> str:
    """A file's name without the ending of its format; other dots belong to it."""
    ending = max((s for s in SUFFIXES if name.lower().endswith(s)), key=len, default="")
    return name.removesuffix(name[len(name) - len(ending) :]) or name
