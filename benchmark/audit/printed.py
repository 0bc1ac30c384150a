"""Numbers as a paper prints them: what stands in its tables and what its text claims.

A printed number stands for all values that round to it, and so is an interval. Ends are exact
fractions: whether two numbers agree to rounding never depends on floating point.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, Self, TypeVar

MEAN = "mean"  # in the column of tasks: the row's mean
PRINTED = {"dice": "Dice", "iou": "IoU"}  # metrics that tables print, and their names
CLAIMED = PRINTED | {"hd95": "HD95"}  # metrics that claims are about
BEST = "best:"  # a claim's right side: the best of a category, or "best:other"
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Interval:
    """The values that one number may stand for, both ends included."""

    low: Fraction
    high: Fraction
    decimals: int  # that it is printed with

    @classmethod
    def around(cls, text: str, decimals: int) -> Self:
        """What `text` may have been before it was rounded to `decimals`."""
        value, half = Fraction(text), Fraction(1, 2 * 10**decimals)
        return cls(value - half, value + half, decimals)

    @classmethod
    def mean(cls, terms: Sequence[Self]) -> Self:
        """Of what the terms may have been."""
        low, high = sum(term.low for term in terms), sum(term.high for term in terms)
        return cls(Fraction(low, len(terms)), Fraction(high, len(terms)), terms[0].decimals)

    @property
    def middle(self) -> float:
        """The number as printed."""
        return float((self.low + self.high) / 2)

    def meets(self, other: Self) -> bool:
        """Whether both may stand for the same value."""
        return self.low <= other.high and other.low <= self.high

    def below(self, other: Self) -> bool:
        """Whether every value here is smaller than every value there."""
        return self.high < other.low

    def __sub__(self, other: Self) -> Self:
        return type(self)(
            self.low - other.high, self.high - other.low, max(self.decimals, other.decimals)
        )

    def __str__(self) -> str:
        return f"{self.middle:.{self.decimals}f}"


@dataclass(frozen=True, slots=True)
class Cell:
    """What a table prints of one method on one task, in per cent."""

    dice: Interval
    iou: Interval

    @property
    def least_iou(self) -> Interval:
        """Dice / (2 - Dice): the IoU of one pair of masks, and the least of a mean over images."""
        low, high = (100 * end / (200 - end) for end in (self.dice.low, self.dice.high))
        return Interval(low, high, self.dice.decimals)

    def __getitem__(self, metric: str) -> Interval:
        return {"dice": self.dice, "iou": self.iou}[metric]

    def __str__(self) -> str:
        return f"{self.dice}/{self.iou}"


@dataclass(frozen=True, slots=True)
class PrintedRow:
    """One method in one table."""

    table: str
    partition: str
    method: str
    category: str
    without: str  # what an ablation leaves out: " -PuD"
    cells: Mapping[str, Cell]  # by task, and MEAN

    @property
    def title(self) -> str:
        """Name of the method or the ablation."""
        return self.method + self.without

    @property
    def tasks(self) -> Mapping[str, Cell]:
        """The cells but for the mean."""
        return {task: cell for task, cell in self.cells.items() if task != MEAN}

    @property
    def place(self) -> str:
        """`Table 1 (1/16)`."""
        share = f" ({self.partition.replace('_', '/')})" if self.partition else ""
        return f"Table {self.table}{share}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of the text: one method is ahead of another by so much, or scores so much."""

    id: str
    partition: str
    statement: str
    left: str  # a row's title
    right: str  # a row's title, "best:<category>", "best:other" for all but `left`, or nothing
    metric: str  # one of CLAIMED, of the mean over tasks
    stated: Interval  # left - right in the metric's unit; the score of `left` if there is no right

    @property
    def share(self) -> str:
        """The partition as text: `1/16`."""
        return self.partition.replace("_", "/")


class Named(Protocol):
    """A row of a table, printed or ours."""

    @property
    def title(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def without(self) -> str: ...


AnyRow = TypeVar("AnyRow", bound=Named)


def opponents(claim: Claim, rows: Iterable[AnyRow]) -> list[AnyRow]:
    """The rows that a claim's right side means; ablations only if it names them."""
    if not claim.right.startswith(BEST):
        return [row for row in rows if row.title == claim.right]
    pool = claim.right.removeprefix(BEST)
    return [
        row
        for row in rows
        if pool in (OTHER, row.category) and row.title != claim.left and not row.without
    ]
