"""Records -> tables -> terminal or files; opens no image and no checkpoint, imports no torch."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmark import render
from benchmark.captions import Filled, fill
from benchmark.listing import no_runs
from benchmark.paper import read_paper
from benchmark.profiles import PROFILES, Profile
from benchmark.record import RecordError, RunRecord, images_of, load_all
from benchmark.scoring import columns_of, score_rows
from benchmark.settings import choose
from benchmark.tables import TABLES, Run, Table, TableError
from dataset_builders.errors import UsageError

FILES = {"md": render.markdown, "csv": render.comma_separated, "tex": render.latex}
FORMATS = ("terminal", "md", "csv", "latex")
REMARK = "remark.txt"  # beside runs/: what no record can know, as how the images were reduced


def report(
    results: Path,
    tables: Sequence[int] | None = None,
    format: str = "terminal",
    out: Path | None = None,
    profile: str = "paper",
    *,
    only_run: bool | None = None,
    write: bool = False,
    keep_going: bool = False,
) -> str:
    """Tables as text, also written to `out` if given.

    Args:
        results: folder that holds `runs/`.
        tables: numbers of the paper's tables; None for all that have a run.
        format: one of FORMATS.
        out: a file to write.
        profile: how images are scored, one of `benchmark.profiles.PROFILES`.
        only_run: leave out methods that were not run; by default the terminal does.
        write: also write them, with all methods, as files below `results`, if the profile is
            `paper`.
        keep_going: leave out runs that cannot be read and tables that cannot be made, and say
            which, below the tables and on standard error.

    Raises:
        TableError: no runs.
        MixtureError: runs that cannot stand in one table.
        RecordError: a run that cannot be read.
        UsageError: unknown table, format or profile.
    """
    choose("format", format, FORMATS)
    left_out: list[str] | None = [] if keep_going else None
    filled = fill_tables(results, tables, profile, left_out)
    for message in left_out or ():
        print(f"Left out: {message}", file=sys.stderr)
    if write and profile == "paper":  # files are of the headline definition only
        write_tables(filled, results)
    if only_run or (only_run is None and format == "terminal"):
        filled = [table.only_run() for table in filled]
    if format == "terminal":
        width = shutil.get_terminal_size(fallback=(120, 40)).columns
        text = render.terminal(filled, width, colour=out is None and sys.stdout.isatty())
    else:
        text = FILES[{"latex": "tex"}.get(format, format)](filled)
    if out is not None:
        _write(out, text)
    return text


def write_all(results: Path) -> list[Path]:
    """Write `tables/table<N>.md`, `.csv` and `.tex` for every table that has a run.

    Raises:
        TableError, RecordError: as `report`.
    """
    return write_tables(fill_tables(results), results)


def write_tables(tables: Sequence[Filled], results: Path) -> list[Path]:
    """Write tables below `results`; the same records give the same bytes.

    Nothing is written unless all of them can be rendered.
    """
    texts = {
        results / "tables" / f"table{filled.table.number}.{ending}": render_as([filled])
        for filled in tables
        for ending, render_as in FILES.items()
    }
    for path, text in texts.items():
        _write(path, text)
    return list(texts)


def fill_tables(
    results: Path,
    numbers: Sequence[int] | None = None,
    profile: str = "paper",
    left_out: list[str] | None = None,
) -> list[Filled]:
    """Tables with their cells and words; arguments and errors as `report`.

    Args:
        results: folder that holds `runs/`, and perhaps a remark that ends every caption.
        numbers: of the paper's tables; None for all that have a run.
        profile: how images are scored.
        left_out: gets the reason of each run and table that is left out; None: raise it.
    """
    scored_by = PROFILES[choose("profile", profile, PROFILES)]
    records = read_records(results, left_out)
    # Mixtures are refused before any run is scored.
    chosen: dict[Table, list[RunRecord]] = {}
    for table in _wanted(numbers, records):
        with tolerated(left_out):
            chosen[table] = table.select(records)
    runs: dict[str, Run] = {}
    for name, record in {record.name: record for own in chosen.values() for record in own}.items():
        with tolerated(left_out):
            runs[name] = score(record, results, scored_by)
    paper = read_paper()
    filled = []
    for table, own in chosen.items():
        with tolerated(left_out):
            scored = [runs[record.name] for record in own if record.name in runs]
            filled.append(fill(table, scored, paper, scored_by))
    notes = tuple(f"Left out: {message}" for message in left_out or ())
    remark = _remark(results)
    return [
        replace(table, caption=f"{table.caption}{remark}", notes=(*table.notes, *notes))
        for table in filled
    ]


def _remark(results: Path) -> str:
    """The words of `REMARK` on one line after a space; empty if there are none."""
    path = results / REMARK
    try:
        return f" {words}" if (words := " ".join(path.read_text("utf-8").split())) else ""
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text ({error}); mend or remove it") from None


@contextmanager
def tolerated(left_out: list[str] | None) -> Iterator[None]:
    """Collect what the user can mend, where that is wanted."""
    try:
        yield
    except UsageError as error:
        if left_out is None:
            raise
        left_out.append(str(error))


def read_records(results: Path, left_out: list[str] | None = None) -> list[RunRecord]:
    """Every record below a folder; `left_out` as in `fill_tables`.

    Raises:
        TableError: there is none that can be read.
        RecordError: a record that cannot be read.
    """
    collect = None if left_out is None else lambda error: left_out.append(str(error))
    records = list(load_all(results, collect))
    if not records:
        raise TableError(no_runs(results, left_out or ()))
    return records


def score(record: RunRecord, results: Path, profile: Profile) -> Run:
    """A run's scores, from its per-image rows.

    Raises:
        RecordError: the rows are missing, damaged, or not those of the record.
    """
    rows = images_of(record, results, columns_of(profile))
    try:
        scores, images = score_rows(rows, profile)
    except RecordError as error:
        raise RecordError(f"{record.name}: {error}") from error
    counted = {task: score.images for task, score in scores.items()}
    recorded = {task: entry.test_images for task, entry in record.tasks.items()}
    if counted != recorded:
        raise RecordError(
            f"{record.name}: its Parquet file has the images {counted}, its record "
            f"{recorded}; run it again with --restart"
        )
    return Run(record, scores, images)


def _wanted(numbers: Sequence[int] | None, records: Sequence[RunRecord]) -> list[Table]:
    if numbers is not None:
        known = {str(number): table for number, table in TABLES.items()}
        return [known[choose("table", str(number), known)] for number in numbers]
    with_runs = [table for table in TABLES.values() if any(map(table.row_of, records))]
    if not with_runs:
        raise TableError(
            f"none of the {len(records)} runs stands in Tables 1-6, which show the splits "
            f"{', '.join(sorted({table.partition for table in TABLES.values()}))} of "
            "methods as published and ProPL's ablations"
        )
    return with_runs


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
