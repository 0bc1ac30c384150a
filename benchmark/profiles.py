"""Definitions of Dice, IoU and HD95, computed from what `metrics` stored of each image.

Published numbers differ in which percentile HD95 takes, in what an empty mask scores, and in
whether images or pixels are averaged. A profile fixes all three.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from benchmark.record import RecordError

Statistic = Callable[[pd.DataFrame], "pd.Series[float]"]  # stored rows -> one value an image

COUNTS = ["tp", "fp", "fn"]
NEEDED = [
    *COUNTS,
    "height_px",
    "width_px",
    "hd95_pred_to_mask_px",
    "hd95_mask_to_pred_px",
    "hd95_pooled_px",
]


@dataclass(frozen=True, slots=True)
class Scores:
    """One task of one run under one profile."""

    dice: float  # 0 to 1, NaN if no image counts
    iou: float  # the same
    hd95: float  # px of the stored grid, NaN if no image counts
    images: int
    empty_prediction: int  # images without a foreground pixel in the prediction
    empty_mask: int  # in the mask
    hd95_dropped: int  # images that the mean HD95 leaves out


def _dice(rows: pd.DataFrame) -> "pd.Series[float]":
    return (2 * rows.tp / (2 * rows.tp + rows.fp + rows.fn)).fillna(1.0)  # 0/0: both empty


def _iou(rows: pd.DataFrame) -> "pd.Series[float]":
    return (rows.tp / (rows.tp + rows.fp + rows.fn)).fillna(1.0)


def _no_prediction(rows: pd.DataFrame) -> "pd.Series[bool]":
    return rows.tp + rows.fp == 0


def _no_mask(rows: pd.DataFrame) -> "pd.Series[bool]":
    return rows.tp + rows.fn == 0


def _larger_direction(rows: pd.DataFrame) -> "pd.Series[float]":
    return rows[["hd95_pred_to_mask_px", "hd95_mask_to_pred_px"]].max(axis=1)


def _larger_direction_or_diagonal(rows: pd.DataFrame) -> "pd.Series[float]":
    no_prediction, no_mask = _no_prediction(rows), _no_mask(rows)
    diagonal = (rows.height_px**2 + rows.width_px**2).pow(0.5)
    hd95 = _larger_direction(rows).mask(no_prediction | no_mask, diagonal)
    return hd95.mask(no_prediction & no_mask, 0.0)


def _pooled_directions(rows: pd.DataFrame) -> "pd.Series[float]":
    return rows.hd95_pooled_px


def _where_mask(score: Statistic) -> Statistic:
    """NaN where the mask is empty."""
    return lambda rows: score(rows).mask(_no_mask(rows))


@dataclass(frozen=True, slots=True)
class Profile:
    """A way to score. A NaN of its three functions leaves the image out of the mean."""

    name: str
    description: str  # a phrase that ends a caption's sentence
    dice: Statistic
    iou: Statistic
    hd95: Statistic
    pooled: bool = False  # Dice and IoU of all the task's pixels as if they were one image

    def per_image(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Score every image.

        Args:
            frame: one row per image with the columns of `benchmark.metrics.COLUMNS`.

        Returns:
            Columns dice, iou (0 to 1) and hd95 (px), on the frame's index; NaN where the profile
            gives the image no value. A pooled profile's images score as they would alone.

        Raises:
            RecordError: columns are missing.
        """
        if missing := [name for name in NEEDED if name not in frame]:
            raise RecordError(
                f"per-image rows lack the columns {', '.join(missing)}, which the profile "
                f"'{self.name}' needs; run again what wrote them"
            )
        return pd.DataFrame(
            {"dice": self.dice(frame), "iou": self.iou(frame), "hd95": self.hd95(frame)}
        )

    def task_scores(self, frame: pd.DataFrame) -> Scores:
        """Score one task.

        Args:
            frame: the rows of one task, as for `per_image`.

        Raises:
            RecordError: no rows, or columns are missing.
        """
        images = self.per_image(frame)
        if images.empty:
            raise RecordError("a task without test images has no score; run it again with some")
        overlap = images
        if self.pooled:
            total = frame[COUNTS].sum().to_frame().T
            overlap = pd.DataFrame({"dice": self.dice(total), "iou": self.iou(total)})
        return Scores(
            dice=float(overlap.dice.mean()),
            iou=float(overlap.iou.mean()),
            hd95=float(images.hd95.mean()),
            images=len(images),
            empty_prediction=int(_no_prediction(frame).sum()),
            empty_mask=int(_no_mask(frame).sum()),
            hd95_dropped=int(images.hd95.isna().sum()),
        )


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "paper",
            "per-image Dice and IoU, mean over images; HD95 is the larger of the two directed "
            "95th percentiles; both empty: Dice and IoU 1, HD95 0; one empty: Dice and IoU 0, "
            "HD95 the image diagonal",
            _dice,
            _iou,
            _larger_direction_or_diagonal,
        ),
        Profile(
            "pooled",
            "Dice and IoU over all pixels of a task together; HD95 per image as in the profile "
            "paper, mean over images",
            _dice,
            _iou,
            _larger_direction_or_diagonal,
            pooled=True,
        ),
        Profile(
            "medpy",
            "per image as MedPy's dc, jc and hd95: the 95th percentile of both directions' "
            "distances in one heap; both empty: Dice and IoU 1; HD95, where MedPy raises an "
            "error, leaves out images with an empty prediction or mask",
            _dice,
            _iou,
            _pooled_directions,
        ),
        Profile(
            "monai",
            "per image as MONAI's defaults: HD95 is the larger of the two directed 95th "
            "percentiles; an empty mask leaves the image out of all three, an empty prediction "
            "scores Dice and IoU 0 and is left out of HD95",
            _where_mask(_dice),
            _where_mask(_iou),
            _larger_direction,
        ),
    )
}
