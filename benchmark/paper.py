"""The numbers the ProPL paper prints, from `results/paper/tables.csv`."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dataset_builders.errors import UsageError

TABLES_CSV = Path(__file__).parents[1] / "results" / "paper" / "tables.csv"


class PaperError(UsageError):
    """The paper's numbers are absent or cannot be read."""


class Place(NamedTuple):
    """Where in the paper a number stands."""

    table: int
    method: str  # as printed: "U-Net"
    pud: bool  # False only in the ablations of Tables 4-6
    uplc: bool
    task: str  # a task's code, or "mean"
    metric: str  # "dice" or "iou"; HD95 is not in the paper's tables


def read_paper(path: Path = TABLES_CSV) -> Mapping[Place, float]:
    """Every printed cell, in per cent.

    Raises:
        PaperError: no such file, or not of this form.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {
                Place(
                    int(row["table"]),
                    row["method"],
                    row["pud"] != "no",  # empty in Tables 1-3, where nothing is left out
                    row["uplc"] != "no",
                    row["task"],
                    metric,
                ): float(row[metric])
                for row in csv.DictReader(file)
                for metric in ("dice", "iou")
            }
    except FileNotFoundError:
        raise PaperError(
            f"{path} is missing; it holds the paper's numbers: restore it from the repository"
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise PaperError(
            f"{path}: not the paper's numbers ({error!r}); restore it from the repository"
        ) from error
