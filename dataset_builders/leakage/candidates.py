"""Which of all pairs are worth a closer look: matrix products of small greys.

Two searches. The whole pictures, all against all: 48x48 px that correlate by more than `ALIKE`, as
they are or one in a mirror. And parts of pictures, among those of one organ: a crop, a zoom or a
shift of the same scene. Hearts look so alike in 24x24 px that no threshold serves every organ, so
there a pair must stand out: much closer than either is to its tenth neighbour.

Pairs within a film are never candidates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset_builders.leakage.fingerprints import Floats, mirrored, part, parts
from dataset_builders.leakage.pictures import Picture, Progress

ALIKE = 0.9  # least correlation of 48x48 px
PART_ALIKE = 0.75  # the same of 24x24 px without slow changes
STANDS_OUT = 0.6  # the pair's distance is at most so much of that to the tenth neighbour
NEIGHBOUR = 10  # a picture may have so many copies less one
_BLOCK = 128  # pictures a matrix product takes at a time: 49 windows of each


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two pictures, by position, that may be one."""

    first: int
    second: int  # greater than `first`
    correlation: float  # of 48x48 px; of the mirrored second where `mirror`
    mirror: bool = False
    part: bool = False  # found by a part of one: to be aligned before it is compared


def candidates(pictures: Sequence[Picture], progress: Progress) -> Iterator[Candidate]:
    """Every candidate, in an order that depends on that of the pictures alone."""
    if len(pictures) < 2:
        return
    films = _codes([picture.film for picture in pictures])
    greys = np.stack([picture.print.grey for picture in pictures])
    yield from _wholes(greys, films)
    for organ in sorted({picture.organ for picture in pictures}):
        own = np.array([at for at, picture in enumerate(pictures) if picture.organ == organ])
        of_organ = [pictures[at] for at in own]
        for first, second in _parts(of_organ, films[own], progress):
            one, other = int(own[first]), int(own[second])
            yield Candidate(one, other, float(greys[one] @ greys[other]), part=True)


def _wholes(greys: Floats, films: NDArray[np.int64]) -> Iterator[Candidate]:
    for start in range(0, len(greys), 8 * _BLOCK):
        block = greys[start : start + 8 * _BLOCK]
        for mirror in (False, True):
            left = np.stack([mirrored(grey) for grey in block]) if mirror else block
            alike = left @ greys.T
            for row, second in np.argwhere(alike > ALIKE):
                first = start + int(row)
                if first < second and films[first] != films[second]:
                    value = min(float(alike[row, second]), 1.0)
                    yield Candidate(first, int(second), value, mirror)


def _parts(
    pictures: Sequence[Picture], films: NDArray[np.int64], progress: Progress
) -> Iterator[tuple[int, int]]:
    """Positions of two pictures one of which looks like a part of the other."""
    alike = np.zeros((len(pictures), len(pictures)), np.float32)
    wholes = np.stack([part(picture.print.small) for picture in pictures])
    for start in range(0, len(pictures), _BLOCK):
        block = np.concatenate([parts(p.print.small) for p in pictures[start : start + _BLOCK]])
        best = (block @ wholes.T).reshape(-1, 49, len(pictures)).max(axis=1)
        alike[start : start + len(best)] = best
        progress(f"parts compared, {pictures[0].organ}", start + len(best), len(pictures))
    alike = np.maximum(alike, alike.T)
    alike[films[:, None] == films] = 0  # also with itself
    tenth = np.zeros(len(pictures), np.float32)
    if len(pictures) > NEIGHBOUR:
        tenth = np.partition(alike, -NEIGHBOUR, axis=1)[:, -NEIGHBOUR]
    limit = 1 - STANDS_OUT * (1 - tenth)
    near = (alike > PART_ALIKE) & (alike > np.minimum(limit[:, None], limit))
    for first, second in np.argwhere(np.triu(near)):
        yield int(first), int(second)


def _codes(names: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
    """A number a name; equal names have equal numbers."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)
