"""`usbench report --profiles`: how much the definition of a metric moves scores and ranks."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmark import profile_table
from benchmark.profiles import PROFILES
from benchmark.record import images_of, load_all
from benchmark.settings import choose
from benchmark.tables import TABLES, Table, TableError

FORMATS = ("terminal", "md")
MAIN = (1, 2, 3)  # the tables of methods, one a partition; 4 to 6 hold ablations


def report(results: Path, format: str = "terminal") -> str:
    """Methods of each partition under every profile that their stored rows allow.

    Args:
        results: folder that holds `runs/`.
        format: one of FORMATS.

    Raises:
        UsageError: unknown format, no runs, or runs that cannot stand in one table.
    """
    choose("format", format, FORMATS)
    parts = [text for number in MAIN for text in _of_table(TABLES[number], results, format)]
    if not parts:
        raise TableError(
            f"no runs of Tables 1-3 in {results / 'runs'}; make one with "
            "`usbench run --method propl --split 1_4`, or name another folder with --results"
        )
    return "\n".join(parts)


def _of_table(table: Table, results: Path, format: str) -> Iterator[str]:
    rows: dict[str, list[pd.DataFrame]] = {}
    for record in table.select(load_all(results)):
        row = table.row_of(record)
        if row is not None:
            rows.setdefault(row.title, []).append(images_of(record, results))
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
    yield f"{table.title}.\n"
    if format == "md":
        yield profile_table.markdown(compared)
    else:
        yield profile_table.terminal(compared, shutil.get_terminal_size((120, 40)).columns)
    if absent := [name for name in PROFILES if PROFILES[name] not in usable]:
        yield (
            f"Left out, for the masks beside the records are not here: {', '.join(absent)}; "
            "run the methods again to have them.\n"
        )
