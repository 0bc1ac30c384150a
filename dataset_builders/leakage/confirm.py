"""Whether two pictures that look alike are the same frame.

Their detail (see `fingerprints`) is correlated, as a whole and tile by tile, shifted by up to 6 of
128 px. Among 8,982 pictures of eight sources, pairs of different patients that look alike stay
below 0.59; frames that were stored twice, re-encoded, or saved with and without calipers lie above
0.62, nine in ten of them above 0.75.

A part of a picture is first laid over the other by an affine map of SIFT key points. Key points
alone would not do: the writing and the scales around the picture, which all pictures of one machine
share, agree in as many as 100 of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_builders.leakage.candidates import Candidate
from dataset_builders.leakage.fingerprints import Floats, detail
from dataset_builders.leakage.pictures import Picture

SAME = 0.62  # least agreement of detail
MIN_INLIERS = 20  # key points that agree on one map
MIN_OVERLAP = 0.2  # of the first picture

_SHIFT = 6  # px of DETAIL
_TILE = 16  # px of DETAIL
_TEXTURE = 0.3  # least standard deviation of detail; 1 is the most common, 0 is black
_KEY_POINTS = 300
_RATIO = 0.8  # nearest to second-nearest descriptor (Lowe, IJCV 2004)
_TOLERANCE = 2.5  # px

KeyPoints = tuple[Floats, Floats | None]  # (N, 2) places, (N, 128) descriptors


@dataclass(frozen=True, slots=True)
class Match:
    """Two pictures, by position, that are the same frame."""

    first: int
    second: int
    correlation: float  # of 48x48 px
    agreement: float  # of detail, after alignment where `kind` is "part"
    kind: str  # "near"; "mirror"; "part" for a crop, a zoom or a shift


class Confirmer:
    """Looks closely at candidates; detail and key points of a picture are computed once."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures
        self._sift = cv2.SIFT_create(_KEY_POINTS)  # type: ignore[attr-defined]
        self._matcher = cv2.BFMatcher(cv2.NORM_L2)
        self._details: dict[int, Floats] = {}
        self._points: dict[int, KeyPoints] = {}

    def confirmed(self, candidates: Iterable[Candidate]) -> Iterator[Match]:
        """The candidates that are the same frame, each pair once, whole before part."""
        known: set[tuple[int, int]] = set()
        for candidate in candidates:
            pair = candidate.first, candidate.second
            if pair in known:
                continue
            value = self._aligned(*pair) if candidate.part else self._whole(candidate)
            if value > SAME:
                known.add(pair)
                kind = "part" if candidate.part else "mirror" if candidate.mirror else "near"
                yield Match(*pair, candidate.correlation, min(value, 1.0), kind)

    def _whole(self, candidate: Candidate) -> float:
        first, second = self._detail(candidate.first), self._detail(candidate.second)
        if candidate.mirror:
            second = np.ascontiguousarray(second[:, ::-1])
        return agreement(first, second)

    def _detail(self, at: int) -> Floats:
        if at not in self._details:
            self._details[at] = detail(self.pictures[at].print.small)
        return self._details[at]

    def _aligned(self, first: int, second: int) -> float:
        """Agreement of detail where the pictures overlap; 0 where no map is found."""
        base, other = self.pictures[first].print.small, self.pictures[second].print.small
        moving = self._map(second, first)
        if moving is None:
            return 0.0
        size = base.shape[1], base.shape[0]
        laid = np.asarray(cv2.warpAffine(other, moving, size), np.uint8)
        covered = cv2.warpAffine(np.full_like(other, 255), moving, size) > 0
        if covered.mean() < MIN_OVERLAP:
            return 0.0
        rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return agreement(detail(base[box]), detail(laid[box]))

    def _map(self, start: int, end: int) -> NDArray[np.float64] | None:
        """(2, 3): the affine map of one picture's key points to another's."""
        (points, descriptors), (targets, others) = self._key_points(start), self._key_points(end)
        if descriptors is None or others is None or min(len(points), len(targets)) < MIN_INLIERS:
            return None
        pairs = self._matcher.knnMatch(descriptors, others, 2)
        good = [best for best, next_ in pairs if best.distance < _RATIO * next_.distance]
        if len(good) < MIN_INLIERS:
            return None
        moving, agree = cv2.estimateAffine2D(
            points[[match.queryIdx for match in good]],
            targets[[match.trainIdx for match in good]],
            ransacReprojThreshold=_TOLERANCE,
        )
        if moving is None or agree.sum() < MIN_INLIERS:
            return None
        return np.asarray(moving, np.float64)

    def _key_points(self, at: int) -> KeyPoints:
        if at not in self._points:
            found, descriptors = self._sift.detectAndCompute(self.pictures[at].print.small, None)
            self._points[at] = np.array([point.pt for point in found], np.float32), descriptors
        return self._points[at]


def agreement(first: Floats, second: Floats) -> float:
    """Of two details, at the best shift of up to `_SHIFT` px: of the whole, or of most tiles.

    The lesser of the correlation and the median over tiles that show some texture in both. Frames
    of a screen and the edge of a sector, which many pictures share, may raise the first, but stand
    in few tiles.
    """
    inner = second[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT]
    if inner.std() < 1e-3:
        return 0.0
    scores = cv2.matchTemplate(first, inner, cv2.TM_CCOEFF_NORMED)
    y, x = np.unravel_index(int(scores.argmax()), scores.shape)
    whole = float(scores[y, x])
    if whole <= SAME:
        return whole
    under = first[y : y + len(inner), x : x + len(inner)]
    return min(whole, _median_of_tiles(under, inner))


def _median_of_tiles(first: Floats, second: Floats) -> float:
    one, other = _tiles(first), _tiles(second)
    spread = one.std(axis=1), other.std(axis=1)
    textured = np.minimum(*spread) > _TEXTURE
    if not textured.any():
        return 0.0
    shared = (one * other).mean(axis=1)[textured] / (spread[0] * spread[1])[textured]
    return float(np.median(shared))


def _tiles(detail: Floats) -> Floats:
    """(tiles, _TILE * _TILE), each of mean 0; what is left over at the far edges is dropped."""
    count = len(detail) // _TILE
    cut = detail[: count * _TILE, : count * _TILE].reshape(count, _TILE, count, _TILE)
    tiles = cut.swapaxes(1, 2).reshape(count * count, _TILE * _TILE)
    return np.asarray(tiles - tiles.mean(axis=1, keepdims=True), np.float32)
