"""A frame of a picture: 8 bits, grey or colour; how deeper ones become so, how large one may be."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_builders.errors import UsageError
from dataset_builders.images import MAX_PIXELS

MAX_FILE_PIXELS = 5 * MAX_PIXELS  # of all frames of a file, which are held in memory at once

Pixels = NDArray[np.uint8]  # (H, W) grey, or (H, W, 3) RGB
Values = NDArray[Any]  # the same before it is brought to 8 bits


class PictureError(UsageError):
    """A file that cannot be read as a picture: which, why, and what would be right."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}; {remedy}")


def eight_bits(frames: Sequence[Values]) -> list[Pixels]:
    """Frames of any depth as 8 bits, all of a file by one rule, so that they stay comparable.

    Whole numbers from 0 to 255 stay as they are. Others are stretched linearly, the least of the
    file to 0 and the greatest to 255.

    Raises:
        ValueError: NaN or infinite values.
    """
    if all(frame.dtype == np.uint8 for frame in frames):
        return [np.ascontiguousarray(frame) for frame in frames]
    low = float(min(frame.min() for frame in frames))
    high = float(max(frame.max() for frame in frames))
    if not np.isfinite(high - low):
        raise ValueError("it holds values that are no finite numbers")
    if low >= 0 and high <= 255 and all(np.array_equal(f, np.rint(f)) for f in frames):
        low, high = 0, 255
    scale = 255 / (high - low) if high > low else 0.0
    return [
        np.ascontiguousarray(np.rint((frame.astype(np.float64) - low) * scale), np.uint8)
        for frame in frames
    ]


def in_colour(pixels: Pixels, *, colour: bool) -> Pixels:
    """A frame as (H, W, 3) RGB, or as (H, W) grey: what a task's model was trained on."""
    if colour == (pixels.ndim == 3):
        return pixels
    code = cv2.COLOR_GRAY2RGB if colour else cv2.COLOR_RGB2GRAY
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def check_size(path: Path, width: int, height: int, total: int) -> None:
    """Refuse a file by what its header says, before memory is taken for it.

    Args:
        path: of the file.
        width: of a frame, in px.
        height: of a frame, in px.
        total: pixels of all frames.

    Raises:
        PictureError: it is too large.
    """
    if width * height > MAX_PIXELS:
        raise PictureError(
            path,
            f"a frame of {width}x{height} px is larger than any ultrasound image (at most "
            f"{MAX_PIXELS / 1e6:,.0f} million pixels)",
            "check where it comes from, or cut out the picture",
        )
    if total > MAX_FILE_PIXELS:
        raise PictureError(
            path,
            f"its frames have {total / 1e6:,.0f} million pixels together, at most "
            f"{MAX_FILE_PIXELS / 1e6:,.0f} million are read at once",
            "cut it into several files",
        )
