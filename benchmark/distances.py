"""Pixel counts and surface distances of pairs of masks, exact: the inner loops of `metrics`.

Two forms of one function, equal to the last bit. `compiled` (numba) takes some 30 µs for a pair
of 224 x 224 masks; `plain` (NumPy, SciPy) takes over the work at 1 ms where numba cannot be
imported: it often trails a new NumPy or Python by a release.

The surface of a mask is its foreground pixels with a 4-neighbour outside it; beyond the image all
is outside, so foreground on the border is surface. MedPy and MONAI mean the same pixels.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from benchmark.jit import COMPILED, jit

# One row per pair. Counts: true positives, false positives, false negatives, surface pixels of
# the prediction and of the mask. Distances, in px: quantiles and average from the prediction's
# surface to the mask's, the same from mask to prediction, and the 95th percentile of both
# directions' distances in one heap.
N_COUNTS = 5
N_DISTANCES = 9
QUANTILES = (0.5, 0.95, 1.0)
POOLED_QUANTILE = 0.95

Masks = npt.NDArray[np.bool_]  # (N, H, W)
Counts = npt.NDArray[np.int64]  # (N, N_COUNTS)
Distances = npt.NDArray[np.float64]  # (N, N_DISTANCES), NaN where a mask of the pair is empty
Points = npt.NDArray[np.int32]  # (2, P), y then x, in raster order
Squared = npt.NDArray[np.int32]  # squared distances
Words = npt.NDArray[np.uint64]  # (H, ...) a row's pixels, lowest bit leftmost


# ---- numba: 64 pixels to a word for the surface, then all pairs of surface pixels -------------

# Every constant that meets a word is a uint64: numba turns uint64 with int64 into float64.
ZERO, ONE, LAST = np.uint64(0), np.uint64(1), np.uint64(63)
TOP_BYTE = np.uint64(56)
# Byte i of a product with this number adds its lowest bit to bit 56 + i: no two of the 64
# partial products meet, so eight 0/1 bytes become one byte of eight bits in one multiplication.
GATHER = np.uint64(0x0102040810204080)
PAIRS, NIBBLES = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
BYTES, SUM = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
TWO, FOUR = np.uint64(2), np.uint64(4)
FARTHEST = np.int32(2**31 - 1)


@jit
def _count_bits(word: np.uint64) -> np.int64:
    """Bits set in a word: the textbook form, which LLVM knows and makes one instruction."""
    word = word - ((word >> ONE) & PAIRS)
    word = (word & NIBBLES) + ((word >> TWO) & NIBBLES)
    word = (word + (word >> FOUR)) & BYTES
    return np.int64((word * SUM) >> TOP_BYTE)


@jit
def _pack(octets: Words) -> Words:
    """Eight 0/1 pixels a word, (H, G), to 64 pixels a word inside a frame of background words."""
    height, groups = octets.shape
    packed = np.zeros((height + 2, (groups + 7) // 8 * 8 + 16), np.uint8)
    for y in range(height):
        for g in range(groups):
            packed[y + 1, g + 8] = (octets[y, g] * GATHER) >> TOP_BYTE
    return packed.view(np.uint64)


@jit
def _count(words: Words) -> np.int64:
    """Pixels that are set."""
    total = np.int64(0)
    for row in words:
        for k in range(row.size):
            total += _count_bits(row[k])
    return total


@jit
def _surface(words: Words) -> Words:
    """Foreground less its 4-connected erosion, in the same frame."""
    surface = np.zeros_like(words)
    for y in range(1, words.shape[0] - 1):
        for k in range(1, words.shape[1] - 1):
            here = words[y, k]
            left = (here << ONE) | (words[y, k - 1] >> LAST)
            right = (here >> ONE) | (words[y, k + 1] << LAST)
            surface[y, k] = here & ~(left & right & words[y - 1, k] & words[y + 1, k])
    return surface


@jit
def _points(surface: Words) -> Points:
    """Where the pixels lie that are set, from the frame's corner."""
    points = np.empty((2, _count(surface)), np.int32)
    found = 0
    for y in range(surface.shape[0]):
        for k in range(surface.shape[1]):
            word = surface[y, k]
            while word != ZERO:
                lowest = word & (~word + ONE)
                points[0, found] = y
                points[1, found] = k * 64 + _count_bits(lowest - ONE)
                found += 1
                word ^= lowest
    return points


@jit
def _nearest(pred: Points, mask: Points) -> Squared:
    """Squared distances of P + M surface points to the nearest of the other mask, P first.

    All pairs are tried, each once for both directions: eight or more at a time, this beats trees
    and distance transforms for surfaces of up to some thousand points.
    """
    n_pred, n_mask = pred.shape[1], mask.shape[1]
    nearest = np.full(n_pred + n_mask, FARTHEST, np.int32)
    from_mask = nearest[n_pred:]
    mask_y, mask_x = mask[0], mask[1]
    for i in range(n_pred):
        y, x = pred[0, i], pred[1, i]
        closest = FARTHEST
        for j in range(n_mask):
            # numba widens int32 arithmetic to int64; narrowed at once, the loop is 10 x faster.
            dy, dx = np.int32(mask_y[j] - y), np.int32(mask_x[j] - x)
            squared = np.int32(np.int32(dy * dy) + np.int32(dx * dx))
            closest = min(closest, squared)
            from_mask[j] = min(from_mask[j], squared)
        nearest[i] = closest
    return nearest


@jit
def _order_statistic(values: Squared, rank: int) -> np.int32:
    """The value at `rank` (from 0) of the sorted values, without sorting.

    Halves the range of values, counting how many lie below: at most 31 passes without a jump that
    depends on the data. At 350 values this takes an eighth of the time of `numpy.partition`.
    """
    low, high = np.int32(0), values.max()
    while low < high:
        middle = np.int32(low + (high - low) // 2)
        at_most = np.int32(0)
        for j in range(values.size):  # numba takes eight at a time by index, one by value
            at_most = np.int32(at_most + np.int32(values[j] <= middle))
        if at_most > rank:
            high = middle
        else:
            low = np.int32(middle + 1)
    return low


@jit
def _quantile(squared: Squared, q: float) -> float:
    """Quantile of the distances as `numpy.quantile` takes it, down to its rounding."""
    position = (squared.size - 1) * q
    rank = int(position)
    t = position - rank
    below = math.sqrt(_order_statistic(squared, rank))
    if t == 0:
        return below
    above = math.sqrt(_order_statistic(squared, rank + 1))
    if t < 0.5:
        return below + (above - below) * t
    return above - (above - below) * (1 - t)


@jit
def _mean(squared: Squared) -> float:
    total = 0.0
    for value in squared:
        total += math.sqrt(value)
    return total / squared.size


@jit
def _measure_all(pred: Words, mask: Words, counts: Counts, distances: Distances) -> None:
    """Fill a row of `counts` and `distances` for each pair; masks (N, H, G), 8 pixels a word."""
    for i in range(len(pred)):
        p, m = _pack(pred[i]), _pack(mask[i])
        counts[i, 0] = _count(p & m)
        counts[i, 1] = _count(p) - counts[i, 0]
        counts[i, 2] = _count(m) - counts[i, 0]
        surface_p, surface_m = _points(_surface(p)), _points(_surface(m))
        n_pred, n_mask = surface_p.shape[1], surface_m.shape[1]
        counts[i, 3], counts[i, 4] = n_pred, n_mask
        if n_pred == 0 or n_mask == 0:
            distances[i] = np.nan
            continue
        both = _nearest(surface_p, surface_m)
        column = 0
        for directed in (both[:n_pred], both[n_pred:]):  # pred to mask, mask to pred
            for q in QUANTILES:
                distances[i, column] = _quantile(directed, q)
                column += 1
            distances[i, column] = _mean(directed)
            column += 1
        distances[i, column] = _quantile(both, POOLED_QUANTILE)


def _octets(masks: Masks) -> Words:
    """Rows padded with background to a multiple of 8 pixels, seen as words of 8 pixels."""
    padding = -masks.shape[2] % 8
    if padding:
        masks = np.pad(masks, ((0, 0), (0, 0), (0, padding)))
    return np.ascontiguousarray(masks).view(np.uint64)


def compiled(pred: Masks, mask: Masks) -> tuple[Counts, Distances]:
    """Counts and distances of N pairs of masks (N, H, W), by numba."""
    counts = np.empty((len(pred), N_COUNTS), np.int64)
    distances = np.empty((len(pred), N_DISTANCES), np.float64)
    _measure_all(_octets(pred), _octets(mask), counts, distances)
    return counts, distances


# ---- NumPy and SciPy: the same, as one would write it down ------------------------------------


def _surface_points(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Coordinates (P, 2) of the surface pixels of one mask (H, W), in raster order."""
    framed = np.pad(mask, 1)
    inner = framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    return np.argwhere(mask & ~inner)


def _distance_row(
    surface_p: npt.NDArray[np.intp], surface_m: npt.NDArray[np.intp]
) -> list[np.float64]:
    ways = ((surface_p, surface_m), (surface_m, surface_p))
    directed = [np.asarray(KDTree(goals).query(starts)[0]) for starts, goals in ways]
    row: list[np.float64] = []
    for distance in directed:
        row += list(np.quantile(distance, QUANTILES))
        # cumsum adds one by one as the compiled form does; mean adds in pairs, rounding otherwise.
        row.append(np.cumsum(distance)[-1] / len(distance))
    return [*row, np.quantile(np.concatenate(directed), POOLED_QUANTILE)]


def plain(pred: Masks, mask: Masks) -> tuple[Counts, Distances]:
    """Counts and distances of N pairs of masks (N, H, W), by NumPy and SciPy."""
    counts = np.empty((len(pred), N_COUNTS), np.int64)
    distances = np.full((len(pred), N_DISTANCES), np.nan)
    for i, (p, m) in enumerate(zip(pred, mask, strict=True)):
        surface_p, surface_m = _surface_points(p), _surface_points(m)
        overlap = (np.sum(p & m), np.sum(p & ~m), np.sum(m & ~p))
        counts[i] = (*overlap, len(surface_p), len(surface_m))
        if len(surface_p) and len(surface_m):
            distances[i] = _distance_row(surface_p, surface_m)
    return counts, distances


measure_pairs = compiled if COMPILED else plain
