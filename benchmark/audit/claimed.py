"""What a paper's text claims, held against the numbers of its own tables."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations

from benchmark.audit.findings import Finding
from benchmark.audit.printed import CLAIMED, MEAN, PRINTED, Claim, Interval, PrintedRow, opponents

ZERO = Interval(Fraction(0), Fraction(0), 0)
FEWEST_DIGITS = 4  # of a number that is not stated twice by chance


def check_claim(
    claim: Claim, rows: Sequence[PrintedRow], claims: Sequence[Claim]
) -> Iterator[Finding]:
    """Whether its number is that of the tables, and whether the other metric agrees.

    Args:
        claim: to check.
        rows: of all tables.
        claims: all; what has a claim of its own is left to that.
    """
    here = [row for row in rows if row.partition == claim.partition and MEAN in row.cells]
    left = next((row for row in here if row.title == claim.left), None)
    right = opponents(claim, here)
    if left is None or (claim.right and not right) or claim.metric not in PRINTED:
        yield _unchecked(claim, left, right)
        return
    if not claim.right:
        yield from _check_score(claim, left)
        return
    claimed = {(c.partition, c.left, c.right, c.metric) for c in claims}
    for metric in PRINTED:
        best = max(right, key=lambda row: _mean(row, metric).low)
        difference = _mean(left, metric) - _mean(best, metric)
        if metric == claim.metric:
            if not difference.meets(claim.stated):
                yield _other_difference(claim, left, best, right)
        elif (
            (claim.partition, claim.left, claim.right, metric) not in claimed
            and ZERO.below(claim.stated)
            and difference.below(ZERO)
        ):
            yield _reversed(claim, metric, left, best)


def repeated_numbers(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Numbers that the text states of two metrics."""
    for one, other in combinations(claims, 2):
        digits = len(str(one.stated).lstrip("-").replace(".", ""))
        if one.stated == other.stated and one.metric != other.metric and digits >= FEWEST_DIGITS:
            text = f"{one.stated} is stated of {_meant(one)} and of {_meant(other)}."
            yield Finding(
                "echo", (), one.left, (MEAN,), {"stated": one.stated.middle}, text, one.id
            )


def _meant(claim: Claim) -> str:
    what = "a difference in " * bool(claim.right) + CLAIMED[claim.metric]
    return f"{what} at {claim.share} ({claim.id}, “{claim.statement}”)"


def _check_score(claim: Claim, row: PrintedRow) -> Iterator[Finding]:
    printed = _mean(row, claim.metric)
    if not printed.meets(claim.stated):
        text = f"{PRINTED[claim.metric]} {claim.stated} is stated, {row.place} prints {printed}."
        numbers = {"stated": claim.stated, "printed": printed}
        yield _finding("score", claim, (row,), numbers, text)


def _mean(row: PrintedRow, metric: str) -> Interval:
    return row.cells[MEAN][metric]


def _finding(
    kind: str,
    claim: Claim,
    rows: Sequence[PrintedRow],
    numbers: Mapping[str, Interval],
    text: str,
) -> Finding:
    where = f" (at {claim.share})" if claim.share else ""
    return Finding(
        kind,
        tuple(dict.fromkeys(row.table for row in rows)),
        claim.left,
        (MEAN,),
        {name: number.middle for name, number in numbers.items()},
        f"{claim.id}{where}, “{claim.statement}”: {text}",
        claim.id,
    )


def _other_difference(
    claim: Claim, left: PrintedRow, best: PrintedRow, right: Sequence[PrintedRow]
) -> Finding:
    metric = claim.metric
    ours, theirs = _mean(left, metric), _mean(best, metric)
    meant = [
        f"{row.title} ({_mean(row, metric)})"
        for row in right
        if (ours - _mean(row, metric)).meets(claim.stated)
    ]
    text = (
        f"{PRINTED[metric]} {ours} against {theirs} of {best.title} is a difference of "
        f"{ours - theirs}, not {claim.stated}"
    )
    text += f", which is that to {', '.join(meant)}." if meant else "."
    numbers = {"left": ours, "right": theirs, "difference": ours - theirs}
    return _finding("difference", claim, (left, best), {**numbers, "claimed": claim.stated}, text)


def _reversed(claim: Claim, metric: str, left: PrintedRow, best: PrintedRow) -> Finding:
    ours, theirs = _mean(left, metric), _mean(best, metric)
    text = (
        f"the text goes by {PRINTED[claim.metric]}; by {PRINTED[metric]} {best.title} is ahead, "
        f"{theirs} against {ours}."
    )
    numbers = {"left": ours, "right": theirs, "difference": ours - theirs}
    return _finding("reversed", claim, (left, best), numbers, text)


def _unchecked(claim: Claim, left: PrintedRow | None, right: Sequence[PrintedRow]) -> Finding:
    if claim.metric not in PRINTED:
        text = f"the tables print no {CLAIMED[claim.metric]}."
    else:
        lacking = claim.left if left is None else claim.right
        text = f"no row of this partition is '{lacking}' and has a mean."
    return _finding("unchecked", claim, [left] if left else right, {}, text)
