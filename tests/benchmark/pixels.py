"""Pixels that picture files are made of, and what is read from them."""

import numpy as np

from benchmark.pictures.reading import read

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 31), np.uint8)
COLOUR = RNG.integers(0, 256, (20, 31, 3), np.uint8)
DEEP = RNG.integers(100, 40_000, (20, 31)).astype(np.uint16)


def stretched(values, low=None, high=None):
    low, high = (int(values.min()), int(values.max())) if low is None else (low, high)
    return np.rint((values.astype(np.float64) - low) / (high - low) * 255).astype(np.uint8)


def one(path):
    (pixels,) = read(path)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    return pixels
