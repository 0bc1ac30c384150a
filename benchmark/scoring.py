"""A run's per-image rows under one profile: its scores, and what statistics need of each image."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmark.profiles import COUNTS, NEEDED, Profile, Scores
from benchmark.record import RecordError
from benchmark.statistics import Floats, scores_of

ALWAYS = ("task", "id", "group")
DUPLICATE = "duplicate_of"  # newer rows have it


@dataclass(frozen=True, slots=True, eq=False)
class TaskImages:
    """The N test images of one task, in order of id; scores as sums over sums of `top`, `bottom`.

    See `benchmark.statistics.scores_of`; both are 0 where the profile gives an image no value.
    """

    ids: npt.NDArray[np.str_]  # (N,)
    groups: npt.NDArray[np.str_]  # (N,)
    duplicate: npt.NDArray[np.bool_] | None  # (N,); None: the rows do not say
    top: Mapping[str, Floats]  # by metric, (N,)
    bottom: Mapping[str, Floats]

    @property
    def duplicates(self) -> int:
        """Images known to have a duplicate in the data set."""
        return 0 if self.duplicate is None else int(self.duplicate.sum())

    def score(self, metric: str, *, clean: bool = False) -> float:
        """Of all images, or of those without a duplicate; NaN if no image has a value."""
        kept = ~self.duplicate if clean and self.duplicate is not None else slice(None)
        top, bottom = self.top[metric][kept], self.bottom[metric][kept]
        return float(scores_of(top[:, None], bottom[:, None])[0])


def columns_of(profile: Profile) -> list[str]:
    """Columns of the per-image rows that scoring reads; older rows may lack some."""
    grid = [profile.grid + name for name in NEEDED]
    return list(dict.fromkeys((*ALWAYS, DUPLICATE, *grid, *profile.extra)))


def score_rows(
    rows: pd.DataFrame, profile: Profile
) -> tuple[dict[str, Scores], dict[str, TaskImages]]:
    """Scores and images of every task among the rows, by task in alphabetical order.

    Equal to `profile.task_scores` of each task's rows, but the profile scores all rows at once:
    pandas takes milliseconds a call.

    Raises:
        RecordError: columns are missing, or the same image is there twice.
    """
    if missing := [name for name in ALWAYS if name not in rows]:
        raise RecordError(f"per-image rows lack the columns {', '.join(missing)}; run it again")
    images = profile.per_image(rows)
    names = {name: rows[name].to_numpy(dtype=str) for name in ALWAYS}
    columns = {name: images[name].to_numpy(dtype=float) for name in ("dice", "iou", "hd95")}
    columns |= {name: rows[profile.grid + name].to_numpy(dtype=float) for name in COUNTS}
    duplicate = rows[DUPLICATE].notna().to_numpy() if DUPLICATE in rows else None
    order = np.lexsort((names["id"], names["task"]))
    tasks, starts = np.unique(names["task"][order], return_index=True)
    scores, by_task = {}, {}
    for task, own in zip(map(str, tasks), np.split(order, starts[1:]), strict=True):
        ids = names["id"][own]
        if (twice := ids[1:] == ids[:-1]).any():
            raise RecordError(
                f"task {task} has the image '{ids[1:][twice][0]}' twice; run it again"
            )
        kept = {name: values[own] for name, values in columns.items()}
        top, bottom = _sums(kept, pooled=profile.pooled)
        known = None if duplicate is None else duplicate[own]
        by_task[task] = TaskImages(ids, names["group"][own], known, top, bottom)
        scores[task] = _scores(by_task[task], kept, profile)
    return scores, by_task


def _sums(
    kept: Mapping[str, Floats], *, pooled: bool
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    counted = {name: np.isfinite(kept[name]) for name in ("dice", "iou", "hd95")}
    top = {name: np.where(finite, kept[name], 0.0) for name, finite in counted.items()}
    bottom = {name: finite.astype(float) for name, finite in counted.items()}
    if pooled:
        tp, wrong = kept["tp"], kept["fp"] + kept["fn"]
        top |= {"dice": 2 * tp, "iou": tp}
        bottom |= {"dice": 2 * tp + wrong, "iou": tp + wrong}
    return top, bottom


def _scores(images: TaskImages, kept: Mapping[str, Floats], profile: Profile) -> Scores:
    dice, iou = (images.score(name) for name in ("dice", "iou"))
    if profile.pooled and np.isnan(dice):  # not a pixel in any prediction or mask
        dice = iou = 1.0
    return Scores(
        dice=dice,
        iou=iou,
        hd95=images.score("hd95"),
        images=len(images.ids),
        empty_prediction=int((kept["tp"] + kept["fp"] == 0).sum()),
        empty_mask=int((kept["tp"] + kept["fn"] == 0).sum()),
        hd95_dropped=int(np.isnan(kept["hd95"]).sum()),
    )
