"""Checked claims as text: terminal or Markdown."""

import io
import shutil
import sys
from collections.abc import Sequence
from math import isnan

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from benchmark.audit.findings import plain
from benchmark.captions import MISSING
from benchmark.claims import FAILS, HOLDS, OPEN, Checked
from benchmark.settings import choose
from benchmark.tables import DECIMALS

FORMATS = ("terminal", "md")
HEADINGS = ("", "claim", "paper", "ours", "95 % interval", "verdict")
TITLE = "The paper's claims against these runs"
CAPTION = (
    "Left minus right, of the mean over all tasks; Dice and IoU in %, HD95 in px, profile paper. "
    "The interval is over groups of test images, scored by both sides, each score the mean over "
    "seeds: it says what other images could change, not what another training could. A best is "
    "the best of each resample. A score without a right side holds if the paper's lies within the "
    "interval."
)
STYLES = {HOLDS: "green", FAILS: "red", OPEN: "dim"}


def as_text(claims: Sequence[Checked], format: str = "terminal") -> str:
    """Claims in one of FORMATS.

    Raises:
        UsageError: unknown format.
    """
    if choose("format", format, FORMATS) == "md":
        return markdown(claims)
    width = shutil.get_terminal_size(fallback=(120, 40)).columns
    return terminal(claims, width, colour=sys.stdout.isatty())


def terminal(claims: Sequence[Checked], width: int, colour: bool) -> str:
    """For a screen of `width` columns; `colour` allows bold, dim and coloured letters."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
    )
    grid = Grid(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in HEADINGS:
        words = heading in ("claim", "verdict")
        grid.add_column(
            heading,
            justify="left" if words or not heading else "right",
            no_wrap=not words,
            width=10 if heading == "verdict" else None,  # two short lines leave room for the claim
        )
    for checked in claims:
        claim = Text.assemble(checked.claim.statement, (f"\n{_sides(checked)}", "dim"))
        verdict = Text(checked.verdict, style=STYLES[checked.verdict])
        grid.add_row(checked.claim.id, claim, *_numbers(checked), verdict)
    console.print(Text(f"{TITLE}: {_summary(claims)}\n"))
    console.print(grid)
    console.print(Text(f"\n{_caption(claims)}", style="dim"))
    if reasons := _reasons(claims):
        console.print(Text("\nWhy it cannot be said yet", style="bold"))
        notes = Grid.grid(padding=(0, 1))
        for line in reasons:
            notes.add_row("-", Text(line))
        console.print(notes)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def markdown(claims: Sequence[Checked]) -> str:
    """For a repository's page."""
    lines = [f"### {TITLE}", "", _summary(claims), "", _caption(claims), ""]
    lines += [_line(HEADINGS), "| :-- | :-- | --: | --: | --: | :-- |"]
    for checked in claims:
        claim = f"{plain(checked.claim.statement)}<br>{plain(_sides(checked))}"
        lines.append(_line([checked.claim.id, claim, *_numbers(checked), checked.verdict]))
    if reasons := _reasons(claims):
        lines += ["", "Why it cannot be said yet:", "", *(f"- {plain(line)}" for line in reasons)]
    return "\n".join(lines) + "\n"


def _summary(claims: Sequence[Checked]) -> str:
    counts = {verdict: sum(c.verdict == verdict for c in claims) for verdict in STYLES}
    return (
        f"{counts[HOLDS]} of {len(claims)} hold, {counts[FAILS]} do not, "
        f"{counts[OPEN]} cannot be said yet."
    )


def _caption(claims: Sequence[Checked]) -> str:
    few = {task: count for checked in claims for task, count in checked.few.items()}
    counts = ", ".join(f"{task} {count}" for task, count in few.items())
    return CAPTION + f" It may be too narrow, for groups are few: {counts}." * bool(few)


def _sides(checked: Checked) -> str:
    claim, ours = checked.claim, checked.ours
    right = f" − {claim.right.replace(':', ' ')}" if claim.right else ""
    best = f" ({ours.right})" if ours and ours.right != claim.right else ""
    return f"{claim.left}{right}{best}, {checked.metric.title} at {claim.share}"


def _numbers(checked: Checked) -> list[str]:
    ours = checked.ours
    form = f"{{:{'+' if checked.claim.right else ''}.{DECIMALS}f}}".format
    paper = form(checked.claim.stated.middle)
    if ours is None:
        return [paper, MISSING, MISSING]
    if isnan(ours.low):
        return [paper, form(ours.value), MISSING]
    return [paper, form(ours.value), f"{form(ours.low)} to {form(ours.high)}"]


def _reasons(claims: Sequence[Checked]) -> list[str]:
    """Each reason once, after the claims that it is one of."""
    ids: dict[str, list[str]] = {}
    for checked in claims:
        for reason in checked.reasons:
            ids.setdefault(reason, []).append(checked.claim.id)
    return [f"{', '.join(own)}: {reason.rstrip('.')}." for reason, own in ids.items()]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
