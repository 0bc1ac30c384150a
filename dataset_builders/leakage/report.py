"""What a search found, as lines to read and as a table of pairs."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from dataset_builders.leakage.candidates import ALIKE
from dataset_builders.leakage.confirm import MIN_INLIERS, SAME
from dataset_builders.leakage.findings import Findings, Pair
from dataset_builders.leakage.pictures import Picture

SHOWN = 20  # rows of a list on the terminal; the table of pairs holds all

COLUMNS = (
    *("kind", "correlation", "agreement", "straddles"),
    *("source_a", "name_a", "group_a", "tasks_a", "splits_a", "ids_a"),
    *("source_b", "name_b", "group_b", "tasks_b", "splits_b", "ids_b"),
)


def summary(findings: Findings) -> str:
    """Lines of text: by source, across sources, films, and what straddles the split."""
    rows = sum(len(picture.places) for picture in findings.pictures)
    lines = [
        f"{rows} images of the data set, {len(findings.pictures)} pictures compared. Two are one "
        "if their pixels are equal (exact),",
        f"or correlate by more than {ALIKE:.2f} at 48x48 px and {SAME:.2f} in their detail (near, "
        "mirror), or if",
        f"{MIN_INLIERS} key points align them to that detail (part: a crop, a zoom or a shift).",
        "",
        *_by_source(findings),
        "",
        *_across(findings),
        *_films(findings.pictures),
        "",
        *_straddling(findings),
    ]
    return "\n".join(lines)


def _by_source(findings: Findings) -> Iterator[str]:
    head = ("source", "pictures", "groups", "clusters", "of pictures", *_KINDS, "across groups")
    table: list[tuple[str, ...]] = [head]
    for source in dict.fromkeys(picture.source for picture in findings.pictures):
        own = [picture for picture in findings.pictures if picture.source == source]
        clusters = [c for c in findings.clusters if {p.source for p in c} == {source}]
        pairs = [p for p in findings.pairs if p.first.source == p.second.source == source]
        kinds = Counter(pair.kind for pair in pairs)
        numbers = (
            len(own),
            len({picture.group for picture in own}),
            len(clusters),
            sum(map(len, clusters)),
            *(kinds[kind] for kind in _KINDS),
            sum(pair.across_groups for pair in pairs),
        )
        table.append((source, *map(str, numbers)))
    for row in table:
        cells = (cell.rjust(len(name)) for cell, name in zip(row[1:], head[1:], strict=True))
        yield f"  {row[0]:<8}  {'  '.join(cells)}"
    yield "  (columns exact to part count pairs; a set of n equal pictures has n - 1)"


_KINDS = ("exact", "near", "mirror", "part")


def _across(findings: Findings) -> Iterator[str]:
    between = [pair for pair in findings.pairs if pair.first.source != pair.second.source]
    yield f"Between sources: {_count(between)}"
    yield from _few(f"{_told(pair)}" for pair in between)
    groups = [pair for pair in findings.pairs if pair.across_groups and pair not in between]
    yield f"Between groups of one source: {_count(groups)}"
    yield from _few(f"{_told(pair)}" for pair in groups)


def _films(pictures: Iterable[Picture]) -> Iterator[str]:
    frames: dict[str, Counter[str]] = defaultdict(Counter)
    for picture in pictures:
        frames[picture.source][picture.film[1]] += 1
    films = [
        f"{len(kept)} of {source} ({sum(kept.values())} frames)"
        for source, counts in frames.items()
        if (kept := {film: count for film, count in counts.items() if count > 1})
    ]
    yield f"Films: {', '.join(films) or 'none'}; frames of one film were not compared."


def _straddling(findings: Findings) -> Iterator[str]:
    found = findings.straddling
    if not found:
        yield "Nothing stands on both sides of the split: no image, no patient, exam or film."
        return
    kinds = Counter(kind for kind, _ in found)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    yield f"ON BOTH SIDES of the split: {len(found)} test images ({told})"
    yield from _few(f"{kind:<6}  test {test}  train {train}" for kind, (train, test) in found)


def _few(lines: Iterable[str]) -> Iterator[str]:
    every = list(lines)
    yield from (f"  {line}" for line in every[:SHOWN])
    if len(every) > SHOWN:
        yield f"  and {len(every) - SHOWN} more (--out FILE writes all)"


def _told(pair: Pair) -> str:
    one, other = pair.first, pair.second
    return (
        f"{pair.kind:<6}  {one.source} {one.name}  {other.source} {other.name}"
        f"  correlation {pair.correlation:.3f}, detail {pair.agreement:.2f}"
    )


def _count(pairs: Iterable[Pair]) -> str:
    kinds = Counter(pair.kind for pair in pairs)
    return ", ".join(f"{kinds[kind]} {kind}" for kind in _KINDS if kinds[kind]) or "none"


def table(findings: Findings) -> bytes:
    """CSV: a row a pair, and a row for each other pair of rows that straddles the split.

    The latter are pictures that are one only through a third, or of one group.
    """
    by_id = {place.id: picture for picture in findings.pictures for place in picture.places}
    told = {frozenset((pair.first.key, pair.second.key)) for pair in findings.pairs}
    rows = [_row(pair) for pair in findings.pairs]
    for kind, (train, test) in findings.straddling:
        one, other = by_id[train], by_id[test]
        if frozenset((one.key, other.key)) not in told:
            alike = 1.0 if kind == "exact" else float(one.print.grey @ other.print.grey)
            detail = 1.0 if kind == "exact" else float("nan")
            rows.append(_row(Pair(one, other, kind, alike, detail)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue().encode()


def _row(pair: Pair) -> tuple[str, ...]:
    sides = {place.on_test for picture in (pair.first, pair.second) for place in picture.places}
    agreement = "" if pair.agreement != pair.agreement else f"{pair.agreement:.3f}"
    straddles = "yes" if len(sides) == 2 else "no"
    row = [pair.kind, f"{pair.correlation:.4f}", agreement, straddles]
    for picture in (pair.first, pair.second):
        row += [
            picture.source,
            picture.name,
            picture.group,
            " ".join(place.task for place in picture.places),
            " ".join(place.split for place in picture.places),
            " ".join(place.id for place in picture.places),
        ]
    return tuple(row)
