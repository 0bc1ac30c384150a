"""The paper's claims, held against our records: who is ahead, by how much, and how sure it is.

A difference is of the means over all tasks, both methods scored on the same test images, and its
interval is that of `statistics`. "The best" of several methods is the best of each resample: a
claim to beat it is a claim to beat every one of them. A claim without a right side is of a score.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isnan, nan
from pathlib import Path

import numpy as np

from benchmark.audit.printed import BEST, Claim, opponents
from benchmark.audit.printed_csv import read_claims
from benchmark.evidence import columns_of
from benchmark.mixture import (
    MixtureError,
    data_and_protocol,
    method_settings,
    refuse_mixture,
    refuse_other_images,
)
from benchmark.paper import TABLES_CSV
from benchmark.profiles import PROFILES
from benchmark.protocol import PRESETS
from benchmark.record import RunRecord
from benchmark.report import read_records, score, tolerated
from benchmark.statistics import FEWEST_GROUPS, interval
from benchmark.tables import IN_TEXT, MEAN, METRICS, TABLES, Metric, Row, Run

STAND_INS = ("minilm", "random")  # text encoders that no method's paper has

CLAIMS_CSV = TABLES_CSV.with_name("claims.csv")
HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be said yet"


@dataclass(frozen=True, slots=True)
class Difference:
    """Left minus right in the metric's unit, with its 95 % interval; left alone without right."""

    value: float
    low: float  # NaN where the groups of test images are too few
    high: float
    right: str  # title of the best of the right side; empty if there is none


@dataclass(frozen=True, slots=True)
class Checked:
    """A claim and what our records say of it."""

    claim: Claim
    metric: Metric
    ours: Difference | None  # None where a side was not run, or the runs cannot be paired
    verdict: str  # HOLDS, FAILS or OPEN
    reasons: tuple[str, ...] = ()  # why it is OPEN
    few: Mapping[str, int] = field(default_factory=dict)  # tasks with few groups, and how many


def check_claims(
    results: Path, claims: Path = CLAIMS_CSV, left_out: list[str] | None = None
) -> list[Checked]:
    """Every claim, in the file's order.

    Args:
        results: folder that holds `runs/`.
        claims: in the form of `results/paper/claims.csv`.
        left_out: gets the reason of each run that is left out; None: raise it.

    Raises:
        TableError: no runs.
        RecordError: a run that cannot be read.
        PrintedError: claims that cannot be read.
    """
    wanted = read_claims(claims)
    runs = []
    for record in read_records(results, left_out):
        if any(row.owns(record) for row in _rows(record.split)):
            with tolerated(left_out):
                runs.append(score(record, results, PROFILES["paper"]))
    return [check(claim, runs) for claim in wanted]


def check(claim: Claim, runs: Iterable[Run]) -> Checked:
    """One claim; pure.

    Args:
        claim: of the paper.
        runs: any, scored under the profile `paper`.
    """
    metric = next(metric for metric in METRICS if metric.key == claim.metric)
    rows = {row.title: row for row in _rows(claim.partition)}
    left, right = rows.get(claim.left), opponents(claim, rows.values())
    if left is None or (claim.right and not right):
        unknown = claim.left if left is None else claim.right
        return Checked(claim, metric, None, OPEN, (f"no run of usbench is '{unknown}'",))
    whole = [
        run
        for run in runs
        if run.record.split == claim.partition and run.value(metric, MEAN) is not None
    ]
    sides = {
        row: own
        for row in (left, *right)
        if (own := [run for run in whole if row.owns(run.record)])
    }
    missing = _missing(claim, [left], sides) + _missing(claim, right, sides)
    if left not in sides or (right and len(sides) == 1):
        return Checked(claim, metric, None, OPEN, missing)
    try:
        _refuse_mixture(list(sides.values()))
    except MixtureError as error:
        return Checked(claim, metric, None, OPEN, (str(error),))
    ours = _difference(metric, sides)
    departures = _departures(sides[left][0].record)
    if right:
        verdict, reasons = _judge(ours, metric, departures, missing)
    else:
        verdict, reasons = _judge_score(ours, claim, departures)
    groups = {task: len(set(own.groups)) for task, own in sides[left][0].images.items()}
    few = {task: count for task, count in groups.items() if count < FEWEST_GROUPS}
    return Checked(claim, metric, ours, verdict, reasons, few)


def _rows(partition: str) -> list[Row]:
    """The rows of which the paper has numbers at a partition, in its tables or its text."""
    printed = [table.rows for table in TABLES.values() if table.partition == partition]
    return [row for rows in printed for row in rows] + [*IN_TEXT] * bool(printed)


def _missing(
    claim: Claim, side: Sequence[Row], done: Mapping[Row, Sequence[Run]]
) -> tuple[str, ...]:
    """What keeps a side from being complete; nothing if it is."""
    ran = [row.title for row in side if row in done]
    lacking = [row.title for row in side if row not in done]
    whole = f"a run of all tasks at {claim.share}"
    pool = f"of the {len(side)} {claim.right.removeprefix(BEST)} methods"
    if not lacking:
        return ()
    if len(side) == 1:
        return (f"{lacking[0]} lacks {whole}",)
    if not ran:
        return (f"{pool} none has {whole}",)
    if len(ran) < len(lacking):
        return (f"{pool} only {_and(ran)} {'has' if len(ran) == 1 else 'have'} {whole}",)
    return (f"{pool} {_and(lacking)} {'lacks' if len(lacking) == 1 else 'lack'} {whole}",)


def _refuse_mixture(sides: Sequence[Sequence[Run]]) -> None:
    """Raise MixtureError unless the runs can be paired, image by image."""
    what = "A comparison"
    records = [[run.record for run in runs] for runs in sides]
    refuse_mixture(what, [record for own in records for record in own], data_and_protocol)
    for own in records:
        refuse_mixture(what, own, method_settings)
    refuse_other_images(what, ((run.record, run.images) for runs in sides for run in runs))


def _difference(metric: Metric, sides: Mapping[Row, Sequence[Run]]) -> Difference:
    """Of the first side to the best of the others; the first side's own score without others."""
    images = [[run.images for run in runs] for runs in sides.values()]
    column = columns_of(images, metric.key)[MEAN]
    value, drawn, title = column.scores[0], column.resampled[:, 0], ""
    if len(sides) > 1:
        best = np.max if metric.higher_is_better else np.min
        others = column.scores[1:]
        value = value - best(others)
        drawn = drawn - best(column.resampled[:, 1:], axis=1)
        title = list(sides)[1 + int(np.flatnonzero(others == best(others))[0])].title
    enough = len(column.groups) >= FEWEST_GROUPS
    low, high = map(float, interval(drawn)) if enough else (nan, nan)
    scale = metric.scale
    return Difference(scale * float(value), scale * low, scale * high, title)


def _departures(record: RunRecord) -> tuple[str, ...]:
    """How data and protocol differ from the paper's."""
    usual = asdict(PRESETS["paper"])
    changed = [name for name, value in usual.items() if record.protocol.get(name, value) != value]
    # the batch of the evaluation changes no score, and every method has a text encoder of its own
    changed = [name for name in changed if name not in ("evaluation_batch", "text")]
    if record.protocol.get("text") in STAND_INS:
        changed.append("text")
    found = []
    if record.preset != "paper":
        found.append(f"preset {record.preset}, not the paper's protocol")
    elif changed:
        found.append(f"not the paper's {_and(changed)}")
    if record.dataset.partial:
        found.append(f"data partial in {_and(record.dataset.partial)}")
    return tuple(found)


def _judge(
    ours: Difference, metric: Metric, departures: tuple[str, ...], missing: tuple[str, ...]
) -> tuple[str, tuple[str, ...]]:
    """Verdict, and the reasons if it is open."""
    above, below = ours.low > 0, ours.high < 0  # both false for NaN
    ahead, behind = (above, below) if metric.higher_is_better else (below, above)
    unsure: tuple[str, ...] = ()
    if isnan(ours.low):
        unsure = (f"fewer than {FEWEST_GROUPS} independent groups of test images",)
    elif not (ahead or behind):
        unsure = ("the interval covers 0",)
    if departures:
        return OPEN, (*departures, *unsure, *missing)
    if behind:
        return FAILS, ()  # whatever else is run, one of them is ahead
    if unsure or missing:
        return OPEN, (*unsure, *missing)
    return HOLDS, ()


def _judge_score(
    ours: Difference, claim: Claim, departures: tuple[str, ...]
) -> tuple[str, tuple[str, ...]]:
    """As `_judge`: a score holds if what rounds to it meets our interval."""
    if isnan(ours.low):
        departures += (f"fewer than {FEWEST_GROUPS} independent groups of test images",)
    if departures:
        return OPEN, departures
    covered = ours.low <= claim.stated.high and claim.stated.low <= ours.high
    return (HOLDS if covered else FAILS), ()


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
