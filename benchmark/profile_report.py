"""`usbench report --profiles`: how much the definition of a metric moves scores and ranks."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from benchmark import profile_table
from benchmark.profiles import PROFILES
from benchmark.record import RunRecord, images_of
from benchmark.report import read_records, tolerated
from benchmark.settings import choose
from benchmark.tables import TABLES, Table, TableError

FORMATS = ("terminal", "md")
MAIN = (1, 2, 3)  # the tables of methods, one a partition; 4 to 6 hold ablations


def report(results: Path, format: str = "terminal", left_out: list[str] | None = None) -> str:
    """Methods of each partition under every profile that their stored rows allow.

    Args:
        results: folder that holds `runs/`.
        format: one of FORMATS.
        left_out: gets the reason of each run and table that is left out; None: raise it.

    Raises:
        UsageError: unknown format, no runs, or runs that cannot stand in one table.
    """
    choose("format", format, FORMATS)
    records = read_records(results, left_out)
    parts: list[str] = []
    for number in MAIN:
        with tolerated(left_out):
            parts += _of_table(TABLES[number], records, results, format, left_out)
    if not parts:
        raise TableError(
            f"none of the {len(records)} runs in {results / 'runs'} stands in Tables 1-3, which "
            "show methods as published; make one with `usbench run --method propl --split 1_4`"
        )
    return "\n".join(parts)


def _of_table(
    table: Table,
    records: Sequence[RunRecord],
    results: Path,
    format: str,
    left_out: list[str] | None,
) -> Iterator[str]:
    rows: dict[str, list[pd.DataFrame]] = {}
    for record in table.select(records):
        with tolerated(left_out):
            images = images_of(record, results)
            if row := table.row_of(record):
                rows.setdefault(row.title, []).append(images)
    if not rows:
        return
    # several seeds of a method: its images count once for each, so their mean is that over seeds
    by_method = {title: pd.concat(frames, ignore_index=True) for title, frames in rows.items()}
    usable = [
        profile
        for profile in PROFILES.values()
        if not any(profile.lacking(frame) for frame in by_method.values())
    ]
    compared = profile_table.comparison(by_method, usable)
    yield f"{len(by_method)} of {table.title}.\n"
    if format == "md":
        yield profile_table.markdown(compared)
    else:
        yield profile_table.terminal(compared, shutil.get_terminal_size((120, 40)).columns)
    if absent := [name for name in PROFILES if PROFILES[name] not in usable]:
        yield (
            f"Left out, for the masks beside the records are not here: {', '.join(absent)}; "
            "run the methods again to have them.\n"
        )
