"""What an audit hands back, and how it is written: terminal, Markdown, JSON."""

import io
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from benchmark.settings import choose

FORMATS = ("terminal", "md", "json")
KINDS = {
    "identity": (
        "Pooled or derived",
        "IoU = Dice / (2 - Dice) holds for one pair of masks, and so for pixels pooled over all "
        "images or an IoU computed from the Dice. A mean over images lies above it: the two kinds "
        "of row cannot be compared.",
    ),
    "bound": (
        "Impossible as means over the same images",
        "A mean IoU lies between Dice / (2 - Dice) and Dice.",
    ),
    "mean": ("Means that are not", "A row's mean is the plain mean of its tasks."),
    "rows": (
        "Rows that repeat",
        "Other methods, or other labelled images, do not score alike to the last digit.",
    ),
    "cells": (
        "Cells that repeat",
        "The same Dice and IoU for one task, though another share of the images was labelled.",
    ),
    "difference": (
        "Differences other than claimed",
        "The difference that the text states is not that of the numbers in the tables.",
    ),
    "score": (
        "Scores other than claimed",
        "The score that the text states is not that of the tables.",
    ),
    "reversed": (
        "Claims that the other metric reverses",
        "The text says who is ahead by one metric; by the other one it is not so.",
    ),
}
REMARKS = {
    "equal": (
        "Worth a second look",
        "Mean Dice and mean IoU can only be equal if every image scored 0 or 100.",
    ),
    "echo": (
        "Numbers stated twice",
        "One number for two things is possible, but more often one of them was meant otherwise.",
    ),
    "unchecked": ("Claims that these tables cannot check", "They lack a number it would take."),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the printed numbers show; as a remark, something they leave open."""

    kind: str  # a key of KINDS, or of REMARKS
    tables: tuple[str, ...]
    method: str
    tasks: tuple[str, ...]  # empty if it is about whole rows
    numbers: Mapping[str, float]
    sentence: str  # all of it, in plain words
    claim: str = ""  # its id, if it is about one


@dataclass(frozen=True, slots=True)
class Audit:
    """All findings, in the order of KINDS, then of the tables; the same of remarks."""

    source: str  # the file that was audited
    rows: int
    cells: int
    claims: int
    findings: Sequence[Finding]
    remarks: Sequence[Finding]

    @property
    def summary(self) -> str:
        """One line."""
        claims = f", {_count(self.claims, 'claim')}" if self.claims else ""
        return (
            f"{self.source}: {_count(self.cells, 'cell')} in {_count(self.rows, 'row')}{claims}; "
            f"{_count(len(self.findings), 'finding')}, {_count(len(self.remarks), 'remark')}."
        )


def as_text(audit: Audit, format: str = "terminal") -> str:
    """An audit in one of FORMATS.

    Raises:
        UsageError: unknown format.
    """
    if choose("format", format, FORMATS) == "terminal":
        width = shutil.get_terminal_size(fallback=(100, 40)).columns
        return terminal(audit, width, colour=sys.stdout.isatty())
    return {"md": markdown, "json": as_json}[format](audit)


def terminal(audit: Audit, width: int, colour: bool) -> str:
    """For a screen of `width` columns; `colour` allows bold and dim letters."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
    )
    console.print(Text(audit.summary))
    for (heading, rule), findings in _sections(audit):
        console.print(Text(f"\n{heading} ({len(findings)})", style="bold"))
        console.print(Padding(Text(rule, style="dim"), (0, 0, 0, 2)))
        console.print(_bullets(findings))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def markdown(audit: Audit) -> str:
    """For a repository's page."""
    lines = [audit.summary]
    for (heading, rule), findings in _sections(audit):
        lines += ["", f"### {heading} ({len(findings)})", "", rule, ""]
        lines += [f"- {plain(finding.sentence)}" for finding in findings]
    return "\n".join(lines) + "\n"


def as_json(audit: Audit) -> str:
    """For programs: every field of `Audit`."""
    return json.dumps(asdict(audit), indent=1, ensure_ascii=False) + "\n"


def _bullets(findings: Sequence[Finding]) -> Grid:
    grid = Grid.grid(padding=(0, 1))
    for finding in findings:
        grid.add_row(" -", Text(finding.sentence))
    return grid


def plain(text: str) -> str:
    """Text that Markdown shows letter by letter."""
    return re.sub(r"([\\`*_|<])", r"\\\1", text)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _sections(audit: Audit) -> Iterator[tuple[tuple[str, str], list[Finding]]]:
    for kind, findings in groupby((*audit.findings, *audit.remarks), lambda found: found.kind):
        yield (KINDS | REMARKS)[kind], list(findings)
