"""A finished run on disk: what was run, on what, and what came out.

    results/runs/<method>/<split>/seed<k>.json       the record, written last
    results/runs/<method>/<split>/seed<k>.parquet    one row per test image, beside it
    results/runs/<method>/<split>/seed<k>.masks.parquet    truth and prediction of each
    results/runs/<method>/<split>/seed<k>+<tag>.json  the same of an ablation or a variant

The masks are in a file of their own, which git ignores: the truth is the sources' work, and most of
their licences do not let it be published. Statistics are enough for all but a few reports.

Tables read nothing else.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.files import replace_together
from benchmark.methods import METHODS, UNIVERSAL_SEMI, UNIVERSAL_SUPERVISED
from benchmark.published import Published
from benchmark.settings import today
from dataset_builders.errors import UsageError

UNIVERSAL = (UNIVERSAL_SUPERVISED, UNIVERSAL_SEMI)
MASKS = ("mask_png", "pred_png")  # columns that are kept apart
SCHEMA = 1  # raise it when a field changes its meaning; `load` refuses others


class RecordError(UsageError):
    """A record that cannot be read, or that does not fit the others."""


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """One task of a run: how it was trained and how many images were scored."""

    train_labelled: int
    train_unlabelled: int
    test_images: int
    steps: int
    seconds: float  # training alone; a universal run's own time, repeated in each of its tasks
    peak_memory_mb: float


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """The data a run saw."""

    content_sha256: str
    partial: tuple[str, ...]  # tasks that lack images; empty for the whole data set
    images: Mapping[str, tuple[int, int]]  # task -> (train, test)
    published: Published | None = None  # where it was had from, if it was not built here


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Enough to print the run in any table, and to repeat it."""

    method: str
    split: str  # labelled share: "1_16", "1_8", "1_4", "full"
    seed: int
    preset: str  # "paper", "fast", "mini", "smoke"
    tag: str  # "" for the method as its paper has it, else what differs: "prompting=false"
    variant: str  # "paper", "released"
    encoder: str  # timm's name
    weights: str  # "imagenet", "packaged", "none"
    parameters: int  # trainable
    protocol: Mapping[str, object]  # every setting of the protocol in force
    config: Mapping[str, object]  # every setting of the method in force
    dataset: DatasetEntry
    tasks: Mapping[str, TaskEntry]
    machine: Mapping[str, str]  # device, torch, python, ...
    commit: str  # of usbench: "<sha>", "<sha>-dirty", or "unknown"
    finished: str  # ISO 8601, UTC
    # fields of `benchmark.execution.Execution`; records before it have none: theirs was fp32, plain
    execution: Mapping[str, object] = field(default_factory=dict)
    # task -> steps done and mean Dice of the images kept aside, where there were any
    validation: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`propl/1_4/seed0`: the record's place under `runs/`."""
        return run_name(self.method, self.split, self.seed, self.tag)

    @property
    def seconds(self) -> float:
        """Of all its trainings; a universal method has one, whose time each task repeats."""
        times = [entry.seconds for entry in self.tasks.values()]
        entry = METHODS.get(self.method)  # None of a method that is no more
        return max(times) if entry and entry.category in UNIVERSAL else sum(times)


def run_name(method: str, split: str, seed: int, tag: str = "") -> str:
    """Name of a run; also its path under `runs/`, without ending."""
    return f"{method}/{split}/seed{seed}" + (f"+{tag}" if tag else "")


def path_of(results: Path, name: str) -> Path:
    """Where the record of a run lies or will lie."""
    return results / "runs" / f"{name}.json"


def save(record: RunRecord, images: pd.DataFrame, results: Path) -> Path:
    """Write per-image rows and the record: a record that exists is a run that finished.

    Args:
        record: what was run.
        images: one row per test image; columns `task`, `id`, `group`, then
            `benchmark.metrics.COLUMNS`.
        results: folder that holds `runs/`.

    Raises:
        WriteError: the disk is full; an earlier record is still there, and whole.
    """
    path = path_of(results, record.name)
    stored = [name for name in MASKS if name in images]
    contents = {path.with_suffix(".parquet"): images.drop(columns=stored)}
    if stored:
        contents[path.with_suffix(".masks.parquet")] = images[["id", *stored]]
    text = json.dumps({"schema": SCHEMA, **asdict(record)}, indent=1) + "\n"
    files = {place: rows.to_parquet(index=False) for place, rows in contents.items()}
    replace_together({**files, path: text.encode()})
    return path


def load(path: Path) -> RunRecord:
    """One record.

    Raises:
        RecordError: not a record, or one of another schema.
    """
    try:
        fields = json.loads(path.read_text())
        if (found := fields.pop("schema")) != SCHEMA:
            raise RecordError(
                f"{path}: record schema {found}, this usbench reads {SCHEMA}; run it again"
            )
        data = fields.pop("dataset")
        fields["dataset"] = DatasetEntry(
            data["content_sha256"],
            tuple(data["partial"]),
            {task: (train, test) for task, (train, test) in data["images"].items()},
            Published(**origin) if (origin := data.get("published")) else None,
        )
        fields["config"] = today(fields["config"])
        fields["tasks"] = {code: TaskEntry(**entry) for code, entry in fields["tasks"].items()}
        return RunRecord(**fields)
    except RecordError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"{path}: not a run record ({error}); move it away or run it again"
        ) from error


def load_all(
    results: Path, left_out: Callable[[RecordError], None] | None = None
) -> Iterator[RunRecord]:
    """Every record under `results/runs`, in path order.

    Args:
        results: folder that holds `runs/`.
        left_out: told of each record that cannot be read; without it the first one is raised.

    Raises:
        RecordError: a file is no record, or not that of its place, such as a copy.
    """
    for path in sorted((results / "runs").glob("*/*/seed*.json")):
        try:
            record = load(path)
            if path != (place := path_of(results, record.name)):
                raise RecordError(
                    f"{path}: holds the run {record.name}, whose place is {place}; "
                    "move it there or out of runs/"
                )
        except RecordError as error:
            if left_out is None:
                raise
            left_out(error)
        else:
            yield record


def images_of(
    record: RunRecord, results: Path, columns: Collection[str] | None = None
) -> pd.DataFrame:
    """The per-image rows written beside a record; of `columns` those that they have, or all.

    The columns of `MASKS` are among them where their file is.

    Raises:
        RecordError: they are missing or damaged.
    """
    path = path_of(results, record.name).with_suffix(".parquet")
    if not path.is_file():
        raise RecordError(f"{path} is missing beside its record; run {record.name} again")
    rows = _read(path, record, columns)
    masks = path.with_suffix(".masks.parquet")
    wanted = set(MASKS) if columns is None else set(MASKS) & set(columns)
    if not wanted or not masks.is_file():
        return rows
    stored = _read(masks, record, {"id", *wanted})
    ids = rows["id"] if "id" in rows else _read(path, record, {"id"})["id"]
    if not stored.pop("id").equals(ids):
        raise RecordError(
            f"{masks} holds other images than its record; remove it, or run {record.name} again"
        )
    return pd.concat((rows, stored), axis=1)


def _read(path: Path, record: RunRecord, columns: Collection[str] | None) -> pd.DataFrame:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            kept = [name for name in names if columns is None or name in columns]
            rows: pd.DataFrame = file.read(columns=kept).to_pandas()
            return rows
    except (pa.ArrowException, OSError) as error:
        raise RecordError(
            f"{path} is damaged ({error}); run {record.name} again with --restart"
        ) from None
