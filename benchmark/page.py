"""`usbench report --html`: tables, figures, predictions and records as one page that needs no net.

The page is a template and what it shows; both are filled in here, the pictures in `gallery`.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmark.captions import MISSING, PARTIAL, Filled
from benchmark.dataset import open_dataset
from benchmark.gallery import EACH, PLACES, gallery, shown
from benchmark.mixture import precision_of
from benchmark.profiles import PROFILES, Profile
from benchmark.record import RunRecord, load_all
from benchmark.report import fill_tables
from benchmark.settings import choose
from benchmark.tables import COLUMNS, DECIMALS, MEAN, Cell, TableError
from dataset_builders.errors import UsageError
from dataset_builders.schema import Source
from dataset_builders.sources import SOURCES
from dataset_builders.tasks import TASKS

TEMPLATES = Path(__file__).with_name("templates")
IMAGES = ("thumbnails", "none")


def write(
    results: Path,
    out: Path,
    data: Path | None = None,
    profile: str = "paper",
    images: str | None = None,
    *,
    keep_going: bool = False,
) -> Path:
    """Write the page of all records; the same records, data and figures give the same bytes.

    Args:
        results: folder that holds `runs/` and perhaps `figures/`.
        out: the page, one HTML file.
        data: the data set of the runs; without it the gallery shows masks alone.
        profile: how images are scored, one of `benchmark.profiles.PROFILES`.
        images: "thumbnails" or "none"; None is thumbnails where `data` is given.
        keep_going: leave out runs that cannot be read and tables that cannot be made, and say
            which in the page.

    Raises:
        UsageError: no runs, runs that cannot stand in one table, a data set that is not theirs,
            thumbnails without data, or `out` cannot be written.
    """
    kind = choose("images", images or ("thumbnails" if data else "none"), IMAGES)
    if kind == "thumbnails" and data is None:
        raise UsageError("images 'thumbnails' come from the data set; name it with --data")
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name a file in it, such as {out / 'report.html'}")
    left_out: list[str] | None = [] if keep_going else None
    filled = fill_tables(results, profile=profile, left_out=left_out)
    if not filled:
        raise TableError(f"no table can be made: {' '.join(left_out or ())}")
    dataset = open_dataset(data) if data and kind == "thumbnails" else None
    records = list(load_all(results, None if left_out is None else lambda _: None))
    text = _render(
        records=records,
        filled=filled,
        facts=facts(records, PROFILES[profile]),
        figures=_figures(results),
        gallery=gallery(shown(filled), results, PROFILES[profile], dataset),
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(f"{out.name}.tmp")
        partial.write_text(text, encoding="utf-8")
        return partial.replace(out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror}); name another file") from None


def _render(records: Sequence[RunRecord], filled: Sequence[Filled], **content: object) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "sort_keys": True}
    environment.filters |= {
        "number": number,
        "hint": hint,
        "duration": duration,
        "details": details,
    }
    return environment.get_template("page.html.j2").render(
        **content,
        records=records,
        tables=filled,
        sources=_sources(records),
        TASKS=TASKS,
        PLACES=PLACES,
        EACH=EACH,
        COLUMNS=COLUMNS,
        MEAN=MEAN,
        PARTIAL=PARTIAL,
        version=version("usbench"),
    )


def facts(records: Sequence[RunRecord], profile: Profile) -> dict[str, str]:
    """What was run, in short; where records differ, all that occurs."""
    return {
        "Protocol": _each(_protocol(record) for record in records),
        "Data set": _each(_data(record) for record in records),
        "Scores": f"profile {profile.name}: {profile.description}",
        "Seeds": _each(str(record.seed) for record in records),
        "Weights": _each(
            f"{record.encoder or 'own encoder'} {record.weights}" for record in records
        ),
        "Precision": _each(precision_of(record) for record in records),
        "Device": _each(record.machine.get("device", "unknown") for record in records),
    }


def _each(texts: Iterable[str]) -> str:
    return "; ".join(sorted(set(texts)))


def _protocol(record: RunRecord) -> str:
    size = record.protocol.get("size", "?")
    other = "" if record.preset == "paper" else ", not the paper's"
    return f"preset {record.preset}{other}, {size}×{size} px"


def _data(record: RunRecord) -> str:
    data = record.dataset
    partial = f", partial in {', '.join(data.partial)}" if data.partial else ""
    return f"{data.content_sha256[:12]}{partial}"


def number(value: float | None) -> str:
    """As the tables print it."""
    return MISSING if value is None else f"{value:.{DECIMALS}f}"


def hint(cell: Cell) -> str:
    """What a cell says on hover: `paper 64.15; 95 % interval 61.20 to 66.05`."""
    known = []
    if cell.paper is not None:
        known.append(f"paper {number(cell.paper)}")
    if cell.low is not None:
        known.append(f"95 % interval {number(cell.low)} to {number(cell.high)}")
    if cell.spread is not None:
        seeds = ", ".join(map(str, cell.values))
        known.append(f"seeds {seeds}, standard deviation {number(cell.spread)}")
    if cell.clean is not None:
        known.append(f"without duplicates {number(cell.clean)}")
    return "; ".join(known)


def duration(record: RunRecord) -> str:
    """Time of training: `12 min`, `3.5 h`."""
    minutes = record.seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def details(record: RunRecord) -> dict[str, Mapping[str, object]]:
    """All of a record that is not per task, under headings."""
    method: dict[str, object] = {
        "variant": record.variant,
        "encoder": record.encoder or "the method's own",
        "weights": record.weights,
        "trainable parameters": record.parameters,
    }
    kept = {
        "data set": record.dataset.content_sha256,
        "commit": record.commit,
        "finished": record.finished,
    }
    found = {
        # both are under "Method", as resolved
        "Protocol": {k: v for k, v in record.protocol.items() if k not in method},
        "Method": {**method, **record.config},
        "Execution": record.execution,
        "Machine": record.machine,
        "Record": kept,
    }
    return {name: settings for name, settings in found.items() if settings}


def _figures(results: Path) -> list[tuple[str, str]]:
    """Name and data URI of each drawing: an image can neither run scripts nor clash in ids.

    Figures with pixels in them show images of the data set, which only the gallery may do.
    """
    paths = sorted((results / "figures").glob("*.svg"))
    drawings = {path.stem: drawn for path in paths if b"<image" not in (drawn := path.read_bytes())}
    return [
        (stem.replace("_", " "), f"data:image/svg+xml;base64,{base64.b64encode(drawn).decode()}")
        for stem, drawn in drawings.items()
    ]


def _sources(records: Sequence[RunRecord]) -> list[Source]:
    """Those whose images the runs may have seen."""
    tasks = {task for record in records for task in record.dataset.images}
    names = {name for task in tasks & set(TASKS) for name in TASKS[task].sources}
    return [source for name, source in SOURCES.items() if name in names]
