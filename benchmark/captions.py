"""A table ready to print: its cells, how its runs were made, and what its marks mean."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from benchmark.mixture import precision_of
from benchmark.paper import Place
from benchmark.profiles import Profile, Scores
from benchmark.protocol import PRESETS
from benchmark.record import RunRecord
from benchmark.scoring import TaskImages
from benchmark.statistics import ALPHA, FEWEST_GROUPS, LEVEL, RESAMPLES
from benchmark.tables import MEAN, Cell, Cells, Row, Run, Table, TableError, metrics_in
from dataset_builders.selection import labelled
from dataset_builders.tasks import TASKS, TEST_IMAGES, TRAIN_IMAGES

MISSING = "—"  # never 0, and never an older value
PARTIAL = "†"  # on a task's column
OTHER_WEIGHTS = "‡"  # on a row's encoder


@dataclass(frozen=True, slots=True)
class Filled:
    """All that a renderer needs."""

    table: Table
    cells: Cells
    records: Mapping[Row, RunRecord]  # one of each row that was run
    partial: Sequence[str]  # tasks that lack images
    caption: str  # what follows the table's title
    notes: Sequence[str]  # the first says which rows were not run, if there are such
    rows: Sequence[Row]  # those that are printed

    def setup(self, row: Row) -> str:
        """Encoder and weights, marked if not the paper's; empty for a row that was not run."""
        record = self.records.get(row)
        if record is None:
            return ""
        mark = "" if _as_in_paper(record) else f" {OTHER_WEIGHTS}"
        rounded = "" if precision_of(record) == "fp32" else f", {precision_of(record)}"
        return f"{record.encoder or 'own'}, {record.weights}{mark}{rounded}"

    def only_run(self) -> Self:
        """Without the rows that were not run, but their names; as it is if none was."""
        absent = [row.title for row in self.table.rows if row not in self.records]
        if not absent or not self.records:
            return self
        note = f"No run yet: {', '.join(absent)}."
        return replace(self, rows=tuple(self.records), notes=(note, *self.notes[1:]))


def fill(
    table: Table, runs: Sequence[Run], paper: Mapping[Place, float], profile: Profile
) -> Filled:
    """A table with its cells and words; pure.

    Args:
        table: what to print.
        runs: of `table.select`, scored under `profile`.
        paper: the paper's own numbers.
        profile: how the runs were scored.
    """
    by_row = {row: own for row, own in table.by_row(runs).items() if own}
    cells = table.cells(runs, paper, metrics_in(profile.unit))
    return Filled(
        table,
        cells,
        {row: own[0].record for row, own in by_row.items()},
        runs[0].record.dataset.partial if runs else (),
        _caption(runs, profile, cells),
        _notes(table, by_row, cells),
        table.rows,
    )


def protocol(record: RunRecord) -> str:
    """The settings that matter most, as a sentence."""
    size, batch, steps, epochs = (
        _setting(record, name) for name in ("size", "batch", "steps", "epochs")
    )
    other = "" if record.preset == "paper" else ", not the paper's protocol"
    length = f"{steps} steps a task" if steps else f"{epochs} epochs"
    kept = record.protocol.get("validation", 0.0)
    aside = f" {kept:.0%} of the labelled groups kept aside to watch the training." if kept else ""
    return f"Preset {record.preset}{other}: {size}×{size} px, {length}, batch {batch}.{aside}"


def few_groups(groups: Mapping[str, int], *, mean: bool) -> str:
    """Which tasks have too few groups of test images for an interval; empty if none has.

    Args:
        groups: by task.
        mean: whether there is an interval of the mean over tasks.
    """
    few = ", ".join(f"{task} {n}" for task, n in groups.items() if n < FEWEST_GROUPS)
    if not few:
        return ""
    included = "; the interval of the mean includes them and may be too narrow" * mean
    return f"No interval from fewer than {FEWEST_GROUPS} groups of test images: {few}{included}."


def _as_in_paper(record: RunRecord) -> bool:
    """Whether the method has its own encoder, with ImageNet weights."""
    exchanged = record.encoder == _setting(record, "encoder") != ""
    return record.weights == PRESETS["paper"].weights and not exchanged


def _setting(record: RunRecord, name: str) -> object:
    if name not in record.protocol:
        raise TableError(f"{record.name}: its protocol lacks '{name}'; run it again")
    return record.protocol[name]


def _caption(runs: Sequence[Run], profile: Profile, cells: Cells) -> str:
    if not runs:
        return "No run has been made yet; these are the paper's values."
    records = [run.record for run in runs]
    data = records[0].dataset
    readers = [str(text) for record in records if (text := record.protocol.get("text"))]
    prompts = f"; text encoder of methods with prompts {_list(readers)}" if readers else ""
    partial = f", partial: {', '.join(data.partial)}" if data.partial else ""
    cited = {str(own) for record in records if (own := record.dataset.published)}
    origin = f", from {_list(cited)}" if cited else ""
    unit = "px at that size" if profile.unit == "px" else profile.unit
    found = (
        protocol(records[0]),
        f"Dice and IoU in %, HD95 in {unit}, per task and as their mean; "
        "with each of our values the paper's, which prints no HD95.",
        f"Scores: profile {profile.name}, {profile.description}.",
        _seeds(records),
        _intervals(cells),
        _tests(cells),
        f"Pretraining: encoder weights {_list(record.weights for record in records)}{prompts}.",
        _precision(records),
        f"Dataset {data.content_sha256[:12]}{partial}{origin}.",
        f"Device: {_list(record.machine.get('device', 'unknown') for record in records)}.",
    )
    return " ".join(text for text in found if text)


def _notes(table: Table, by_row: Mapping[Row, Sequence[Run]], cells: Cells) -> tuple[str, ...]:
    """The marks that occur, and what the numbers alone do not show."""
    runs = [run for own in by_row.values() for run in own]
    if not runs:
        return (f"{MISSING}: not run.",)
    images = _images(runs)
    missing = len(table.rows) - len(by_row)
    marked = not all(_as_in_paper(run.record) for run in runs)
    found = (
        f"{MISSING}: not run ({missing} of {len(table.rows)} rows)." if missing else "",
        _bold(cells),
        *_ranks(cells),
        _few_groups(images, cells),
        *_clean(by_row, images),
        _incomplete(by_row),
        _partial(table, [run.record for run in runs]),
        f"{OTHER_WEIGHTS} not the method's own encoder with ImageNet weights." if marked else "",
        _fewer_seeds(by_row),
        _count("Empty predictions", by_row, lambda scores: scores.empty_prediction),
        _empty_masks(runs),
        _count("Images that HD95 leaves out", by_row, lambda scores: scores.hd95_dropped),
    )
    return tuple(note for note in found if note)


def _precision(records: Iterable[RunRecord]) -> str:
    found = {precision_of(record) for record in records}
    return "" if found == {"fp32"} else f"Precision: {_list(found)}."


def _seeds(records: Iterable[RunRecord]) -> str:
    seeds = {record.seed for record in records}
    if len(seeds) == 1:
        return f"Seed {_list(seeds)}."
    return f"Seeds {_list(seeds)}: means over seeds; sd: their sample standard deviation."


def _every(cells: Cells) -> Iterator[Cell]:
    return (cell for block in cells.values() for row in block.values() for cell in row.values())


def _intervals(cells: Cells) -> str:
    if all(cell.low is None for cell in _every(cells)):
        return ""
    return (
        f"With a value the bounds of its {LEVEL:.0%} interval over test images: percentiles of "
        f"{RESAMPLES} Bayesian bootstrap resamples of their groups (patients, exams, videos), the "
        "same for all methods and tasks."
    )


def _tests(cells: Cells) -> str:
    if not any(cell.top_group for cell in _every(cells)):
        return ""
    return (
        "Tests of each method against the best of a column: Wilcoxon signed-rank of the means of "
        "groups, in the column of means the same resamples; two-sided, Holm over methods."
    )


def _bold(cells: Cells) -> str:
    if not any(cell.top_group for cell in _every(cells)):
        return ""
    return (
        "Bold: the best of a column and all that the test does not separate from it "
        f"(p ≥ {ALPHA}); none where it separates none."
    )


def _ranks(cells: Cells) -> Iterator[str]:
    """One line a metric; the order of a table's rows is the paper's."""
    for metric, block in cells.items():
        ranks = {row: found for row, line in block.items() if (found := line[MEAN].rank)}
        listed = ", ".join(
            f"{row.title} {own.rank} ({own.low}–{own.high})"
            for row, own in sorted(ranks.items(), key=lambda item: item[1].rank)
        )
        if len(ranks) > 2:
            yield f"Ranks by m{metric.title} ({LEVEL:.0%} interval): {listed}."


def _few_groups(images: Mapping[str, TaskImages], cells: Cells) -> str:
    groups = {task: len(set(own.groups)) for task, own in images.items()}
    mean = any(line[MEAN].low is not None for block in cells.values() for line in block.values())
    return few_groups(groups, mean=mean)


def _clean(by_row: Mapping[Row, Sequence[Run]], images: Mapping[str, TaskImages]) -> Iterator[str]:
    left_out = {task: own.duplicates for task, own in images.items() if own.duplicates}
    if not left_out:
        return
    counts = ", ".join(f"{task} {n} of {len(images[task].ids)}" for task, n in left_out.items())
    yield f"clean: without test images that have a duplicate in the data set ({counts})."
    unknown = ", ".join(
        row.title
        for row, own in by_row.items()
        if any(task.duplicate is None for run in own for task in run.images.values())
    )
    if unknown:
        yield f"Rows that do not tell duplicates, and so have no clean score: {unknown}; run again."


def _images(runs: Iterable[Run]) -> dict[str, TaskImages]:
    """The test images of every task; of runs that tell duplicates where there are some."""
    every = [(task, own) for run in runs for task, own in run.images.items()]
    every.sort(key=lambda item: (list(TASKS).index(item[0]), item[1].duplicates))
    return dict(every)


def _incomplete(by_row: Mapping[Row, Sequence[Run]]) -> str:
    lacking = {
        row.title: [task for task in TASKS if any(task not in run.scores for run in own)]
        for row, own in by_row.items()
    }
    named = "; ".join(f"{title}: {', '.join(tasks)}" for title, tasks in lacking.items() if tasks)
    return f"Tasks not run ({named}): such a run has no mean." if named else ""


def _partial(table: Table, records: Sequence[RunRecord]) -> str:
    data = records[0].dataset
    labels = {task: own.train_labelled for record in records for task, own in record.tasks.items()}
    whole = labelled(TRAIN_IMAGES, table.partition)

    def counts(task: str) -> str:
        images = "{} {} + {}".format(task, *data.images.get(task, (0, 0)))
        own = labels.get(task, whole)
        return f"{images} ({own} of {whole} labelled)" if own < whole else images

    full = f"{TRAIN_IMAGES + TEST_IMAGES} images a task ({TRAIN_IMAGES} train + {TEST_IMAGES} test)"
    few = f"{PARTIAL} fewer than {full}, or chosen from incomplete sources"
    return f"{few}: {', '.join(map(counts, data.partial))}." if data.partial else ""


def _fewer_seeds(by_row: Mapping[Row, Sequence[Run]]) -> str:
    seeds = {row.title: {run.record.seed for run in own} for row, own in by_row.items()}
    every = set().union(*seeds.values())
    fewer = "; ".join(f"{title}: {_list(own)}" for title, own in seeds.items() if own < every)
    return f"Fewer seeds than the caption names ({fewer})." if fewer else ""


def _count(what: str, by_row: Mapping[Row, Sequence[Run]], count: Callable[[Scores], int]) -> str:
    parts = []
    for row, own in by_row.items():
        scores = [score for run in own for score in run.scores.values()]
        if found := sum(count(score) for score in scores):
            parts.append(f"{row.title} {found} of {sum(score.images for score in scores)}")
    return f"{what}: {'; '.join(parts) or 'none'}."


def _empty_masks(runs: Iterable[Run]) -> str:
    scores = {task: score for run in runs for task, score in run.scores.items()}
    if not (empty := sum(score.empty_mask for score in scores.values())):
        return ""
    return f"Empty masks: {empty} of {sum(score.images for score in scores.values())}."


def _list(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in sorted(set(values)))
