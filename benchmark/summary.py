"""What a finished run scored, in a few lines; imports no torch."""

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from benchmark.profiles import PROFILES
from benchmark.record import RunRecord, images_of
from benchmark.scoring import columns_of, score_rows


def score_lines(record: RunRecord, results: Path) -> Iterator[str]:
    """A line a task and one for their mean, under the profile of the paper.

    Args:
        record: of a finished run.
        results: folder that holds `runs/`.

    Raises:
        RecordError: the per-image rows are missing or damaged.
    """
    profile = PROFILES["paper"]
    scores, _ = score_rows(images_of(record, results, columns_of(profile)), profile)
    lines = {
        task + ("†" if task in record.dataset.partial else ""): (
            100 * scores[task].dice,
            100 * scores[task].iou,
            scores[task].hd95,
        )
        for task in record.tasks
    }
    lines["mean"] = tuple(map(fmean, zip(*lines.values(), strict=True)))  # type: ignore[assignment]
    size = record.protocol["size"]
    yield f"{'':6}{'Dice':>7}{'IoU':>7}{'HD95':>7}   in %, in %, in px at {size}x{size}"
    for name, values in lines.items():
        yield f"{name:6}" + "".join(f"{value:7.2f}" for value in values)
    if any("†" in name for name in lines):
        yield "† partial data"
