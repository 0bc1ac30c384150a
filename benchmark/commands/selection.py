"""Which runs `usbench sweep` and `usbench plan` are about: the rows of some tables."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmark.resolve import Request

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Tables = Annotated[str, typer.Option(help="Of the paper: 1-6, or 1,2,3.")]
Methods = Annotated[str, typer.Option(help="Only these: unet,propl.")]
Splits = Annotated[str, typer.Option(help="Only these: 1_16,1_8,1_4.")]
Seeds = Annotated[str, typer.Option(help="Of every run: 0-2, or 0,5.")]
Order = Annotated[
    str, typer.Option(help="longest first, or tables: what completes a table soonest.")
]
Slots = Annotated[
    int | None,
    typer.Option(min=1, help="Runs at a time, tasks under SLURM; else one a GPU, or one a core."),
]


def common_request(
    data: Path,
    results: Path,
    preset: str,
    device: str,
    settings: list[str] | None,
    precision: str | None,
    *,
    compile_: bool | None,
    keep_weights: bool,
) -> "Request":
    """What all runs of a selection have in common."""
    from benchmark.resolve import Request
    from benchmark.settings import parse_overrides

    return Request(
        method="", split="", preset=preset, overrides=parse_overrides(settings or ()), data=data,
        results=results, device=device, precision=precision, compile=compile_, resume=True,
        keep_weights=keep_weights,
    )  # fmt: skip


def selected(
    tables: str, methods: str, splits: str, seeds: str, common: "Request"
) -> "list[Request]":
    """The runs that some tables need.

    Args:
        tables: numbers, as `numbers` reads them.
        methods: names with commas between; empty for all.
        splits: likewise.
        seeds: numbers.
        common: what all have in common.

    Raises:
        UsageError: a name or number that is not known, no run is left, or a setting is lost.
    """
    from benchmark.methods import METHODS
    from benchmark.settings import choose
    from benchmark.sweep.jobs import requests_of
    from benchmark.tables import TABLES
    from dataset_builders.errors import UsageError
    from dataset_builders.tasks import PARTITIONS

    requests = requests_of(
        [int(choose("table", str(number), map(str, TABLES))) for number in numbers(tables)],
        common,
        methods=[choose("method", name, METHODS) for name in names(methods)],
        splits=[choose("split", name, PARTITIONS) for name in names(splits)],
        seeds=numbers(seeds),
    )
    if not requests:
        raise UsageError(
            f"no run of tables {tables} is of methods {methods or 'any'} and splits "
            f"{splits or 'any'}; Tables 1 and 4 are of 1_16, 2 and 5 of 1_8, 3 and 6 of 1_4"
        )
    _refuse_lost(common.overrides, requests)
    return requests


def _refuse_lost(overrides: "Mapping[str, Any]", requests: "Sequence[Request]") -> None:
    """No setting that the user gave may be without effect.

    Raises:
        UsageError: it is of a method that has no run here, or a row sets it itself.
    """
    from benchmark.methods import METHODS
    from dataset_builders.errors import UsageError

    for given, value in overrides.items():
        method, _, name = given.rpartition(".")
        concerned = [each for each in requests if method not in METHODS or each.method == method]
        if not concerned:
            raise UsageError(
                f"--set {given}={value}: no run of {method} is asked for; leave it out, or name "
                "it in --methods"
            )
        for each in concerned:
            if given not in each.overrides or each.overrides[given] != value:
                raise UsageError(
                    f"--set {given}={value}: a row of the tables has "
                    f"{name}={str(each.overrides[name]).lower()} itself; choose --tables without "
                    "it, or train this one with `usbench run`"
                )


def names(text: str) -> list[str]:
    """`"a,b"` as ["a", "b"]; of nothing, nothing.

    Raises:
        UsageError: there is text, but no name in it.
    """
    from dataset_builders.errors import UsageError

    found = [part for part in text.split(",") if part]
    if text and not found:
        raise UsageError(f"'{text}' is no list of names; write it as one,two")
    return found


def numbers(text: str) -> list[int]:
    """`"1-3,6"` as [1, 2, 3, 6].

    Raises:
        UsageError: not of that form, or the larger one first.
    """
    from dataset_builders.errors import UsageError

    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            raise UsageError(f"'{text}' is no list of numbers; write it as 1-3 or 0,2,5")
        if last and int(last) < int(first):
            raise UsageError(f"'{part}' runs backwards; write it as {last}-{first}")
        found += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(found))


def seconds_in(text: str) -> float:
    """`"1.5h"` as 5400.

    Raises:
        UsageError: not of that form, or no time at all.
    """
    from dataset_builders.errors import UsageError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not found or not float(found[1]):
        raise UsageError(f"--budget {text}: write a time as 90s, 25m, 1.5h or 2d")
    return float(found[1]) * UNITS[found[2]]
