"""Pairs of 224 x 224 masks on which the definitions of HD95 part, and what each gives, in px."""

from typing import NamedTuple

import numpy as np


def disc(y: int, x: int, radius: int) -> np.ndarray:
    rows, columns = np.ogrid[:224, :224]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


class Case(NamedTuple):
    pred: np.ndarray
    mask: np.ndarray
    pooled: float  # MedPy
    larger: float  # MONAI
    weighted: float  # google-deepmind/surface-distance
    maximum: float  # Hausdorff distance


ONE, OTHER = disc(80, 80, 40), disc(100, 60, 30)
CASES = {
    "shift by 3 px": Case(disc(100, 103, 40), disc(100, 100, 40), 3, 3, 3, 3),
    "perfect, with a far false island of radius 3": Case(
        ONE | disc(172, 172, 3), ONE, 0.00, 88.39, 88.39, 93.34
    ),
    "the same, radius 5": Case(ONE | disc(172, 172, 5), ONE, 86.44, 91.22, 91.22, 95.46),
    "a second lesion of radius 12 missed": Case(
        OTHER, OTHER | disc(100, 180, 12), 96.52, 100.12, 100.08, 102.00
    ),
    "a second lesion of radius 2 missed": Case(
        OTHER, OTHER | disc(100, 180, 2), 0.00, 0.00, 88.01, 92.00
    ),
}
