"""What is kept of a picture to compare it: two small greys, and views of them.

Three views, from coarse to fine:

- grey: 48x48 px of the whole, aspect not kept. Correlating all pairs is one matrix product.
- parts: 24x24 px of the whole and of 49 windows of it, without the slow change from bright to
  dark that most ultrasound pictures share, so that a crop or a zoom is found from either side.
- detail: 128x128 px with mean and contrast evened out everywhere. Speckle does not repeat from one
  moment to the next, so only the same frame agrees in it; organs and screens that look alike agree
  in the coarse views alone.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

GREY, PART, DETAIL = 48, 24, 128  # px
SMALL = 240  # px, the longer side of what is kept of a picture

Floats = NDArray[np.float32]

# From and to, as shares of a side: the whole, three places of 85 % and three of 70 %.
_SPANS = ((0, 1), (0, 0.85), (0.075, 0.925), (0.15, 1), (0, 0.7), (0.15, 0.85), (0.3, 1))
_SLOW = 4.0  # px, the width of the average that is taken off
_FAINT = 4.0  # grey levels; contrast below it is noise of the encoding, and counts less


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What is kept of a picture."""

    grey: Floats  # (GREY * GREY,), mean 0 and length 1; all 0 for a flat picture
    small: NDArray[np.uint8]  # (h, w), longer side at most SMALL


def fingerprint(grey: NDArray[np.uint8]) -> Fingerprint:
    """Of a picture (H, W)."""
    scale = min(1.0, SMALL / max(grey.shape))
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    whole = cv2.resize(grey, (GREY, GREY), interpolation=cv2.INTER_AREA)
    return Fingerprint(_unit(whole.astype(np.float32)), np.asarray(small, np.uint8))


def mirrored(grey: Floats) -> Floats:
    """`Fingerprint.grey` of the picture seen in a mirror."""
    return np.ascontiguousarray(grey.reshape(GREY, GREY)[:, ::-1]).ravel()


def parts(small: NDArray[np.uint8]) -> Floats:
    """(49, PART * PART): the whole and its windows, each of mean 0 and length 1."""
    side = 4 * PART
    even = cv2.resize(small, (side, side), interpolation=cv2.INTER_AREA)
    cuts = [slice(round(start * side), round(end * side)) for start, end in _SPANS]
    return np.stack([part(even[rows, columns]) for rows in cuts for columns in cuts])


def part(window: NDArray[np.uint8]) -> Floats:
    """(PART * PART,) of a picture or window (h, w): without slow changes, mean 0, length 1."""
    tiny = cv2.resize(window, (PART, PART), interpolation=cv2.INTER_AREA).astype(np.float32)
    return _unit(tiny - cv2.GaussianBlur(tiny, (0, 0), _SLOW))


def detail(small: NDArray[np.uint8]) -> Floats:
    """(DETAIL, DETAIL): deviations from the average around, in units of the contrast around."""
    even = cv2.resize(small, (DETAIL, DETAIL), interpolation=cv2.INTER_AREA).astype(np.float32)
    even -= cv2.GaussianBlur(even, (0, 0), _SLOW)
    contrast = np.sqrt(cv2.GaussianBlur(even * even, (0, 0), _SLOW))
    return np.asarray(even / (contrast + _FAINT), np.float32)


def _unit(values: Floats) -> Floats:
    flat = values.ravel() - values.mean()
    length = float(np.linalg.norm(flat))
    return np.asarray(flat / length if length > 1e-3 else np.zeros_like(flat), np.float32)
