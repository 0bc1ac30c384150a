"""What a search found: pairs, clusters, and what stands on both sides of the split."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dataset_builders.grouping import clusters
from dataset_builders.leakage.candidates import candidates
from dataset_builders.leakage.confirm import Confirmer
from dataset_builders.leakage.pictures import Picture, Place, Progress

Side = tuple[str, str]  # (id of a training row, id of a test row)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures that are one, or that are of one group on both sides of the split."""

    first: Picture
    second: Picture
    kind: str  # "exact", "near", "mirror", "part"; "chain" (through others); "group"
    correlation: float  # of 48x48 px
    agreement: float  # of detail, see `confirm`

    @property
    def across_groups(self) -> bool:
        return self.first.group != self.second.group


@dataclass(frozen=True)
class Findings:
    """Everything that was found in some pictures; see `search`."""

    pictures: Sequence[Picture]
    pairs: Sequence[Pair]  # without those of one film

    @cached_property
    def clusters(self) -> list[list[Picture]]:
        """Pictures that are one, two or more; the first stands first in the data set."""
        by_name = {_name(picture): picture for picture in self.pictures}
        links = ((_name(pair.first), _name(pair.second)) for pair in self.pairs)
        members: dict[str, list[Picture]] = defaultdict(list)
        for name, leader in clusters(links).items():
            members[leader].append(by_name[name])
        found = [sorted(cluster, key=_first_place) for cluster in members.values()]
        return sorted(found, key=lambda cluster: cluster[0].key)

    @cached_property
    def straddling(self) -> list[tuple[str, Side]]:
        """Kind, training and test row of all that stands on both sides: images, then groups.

        Each test row is told once, with the first training row that gives it away.
        """
        found: dict[str, tuple[str, Side]] = {}
        # of pixels, since one of each set of equal pictures was compared for all of them
        kinds = {frozenset((p.first.pixels, p.second.pixels)): p.kind for p in self.pairs}
        for cluster in self.clusters:
            for side, (one, other) in _both_sides(cluster):
                equal = one.pixels == other.pixels
                pair = frozenset((one.pixels, other.pixels))
                kind = "exact" if equal else kinds.get(pair, "chain")
                found.setdefault(side[1], (kind, side))
        groups: dict[str, list[Picture]] = defaultdict(list)
        for picture in self.pictures:
            groups[picture.group].append(picture)
        for group in groups.values():
            for side, _ in _both_sides(group):
                found.setdefault(side[1], ("group", side))
        return sorted(found.values(), key=lambda entry: (entry[0] == "group", entry[1]))

    @cached_property
    def duplicate_of(self) -> Mapping[str, str]:
        """Row -> the row that shows the same and stands first in the data set.

        Train stands before test, then the order of tasks, then rank. Where the first picture
        serves the row's own task on that side, it is named by its row there. Frames of the first
        picture's film, and the picture itself in its other tasks, repeat nothing, but on the test
        side they do if it is trained on.
        """
        marked = {}
        for cluster in self.clusters:
            leader = cluster[0]
            if not leader.places:
                continue
            first = leader.places[0]
            for picture in cluster:
                for place in picture.places:
                    if picture.film != leader.film or place.on_test != first.on_test:
                        marked[place.id] = _row_for(place, leader).id
        return marked


def search(
    pictures: Sequence[Picture], progress: Progress = lambda what, done, total: None
) -> Findings:
    """Find the pictures that are one.

    Args:
        pictures: of `pictures.of_data_set` or `of_sources`; the order does not matter.
        progress: told while it works.
    """
    ordered = sorted(pictures, key=lambda picture: picture.key)
    same: dict[str, list[Picture]] = defaultdict(list)
    for picture in ordered:
        same[picture.pixels].append(picture)
    # one of each set of equal pictures will do for the search, and many copies of one picture
    # would hide each other where a pair must stand out
    single = [copies[0] for copies in same.values()]
    pairs = [
        Pair(copies[0], copy, "exact", 1.0, 1.0)
        for copies in same.values()
        for copy in copies[1:]
        if copy.film != copies[0].film
    ]
    for match in Confirmer(single).confirmed(candidates(single, progress)):
        one, other = single[match.first], single[match.second]
        pairs.append(Pair(one, other, match.kind, match.correlation, match.agreement))
    pairs.sort(key=lambda pair: (pair.first.key, pair.second.key))
    return Findings(ordered, pairs)


def _name(picture: Picture) -> str:
    return "\0".join(picture.key)


def _first_place(picture: Picture) -> tuple[bool, tuple[Place, ...], tuple[str, str, str]]:
    return not picture.places, picture.places[:1], picture.key


def _both_sides(pictures: Iterable[Picture]) -> list[tuple[Side, tuple[Picture, Picture]]]:
    """Every test row beside the first training row, if the pictures have both."""
    rows = sorted(
        ((place, picture) for picture in pictures for place in picture.places),
        key=lambda row: row[0],
    )
    if not rows or rows[0][0].on_test:
        return []
    train, one = rows[0]
    return [((train.id, place.id), (one, other)) for place, other in rows if place.on_test]


def _row_for(place: Place, leader: Picture) -> Place:
    """The row of `leader` on its first side, in the place's task if it is there."""
    first = leader.places[0]
    for row in leader.places:
        if (row.task, row.on_test) == (place.task, first.on_test):
            return row
    return first
