"""Definitions of Dice, IoU and HD95, computed from what `metrics` stored of each image.

Published numbers differ in which percentile HD95 takes, in what an empty mask scores, in whether
images or pixels are averaged, and in the grid. A profile fixes all four.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from benchmark.metrics import NATIVE
from benchmark.record import RecordError

Statistic = Callable[[pd.DataFrame], "pd.Series[float]"]  # stored rows -> one value an image

PNGS = ("pred_png", "mask_png")
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
    hd95: float  # in the profile's unit, NaN if no image counts
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


def _in_mm(rows: pd.DataFrame) -> "pd.Series[float]":
    return _larger_direction_or_diagonal(rows) * rows.spacing_mm


def _weighted_directions(rows: pd.DataFrame) -> "pd.Series[float]":
    # Here, not above: it loads OpenCV and SciPy, which no other profile needs.
    from benchmark.deepmind import hd95_of_pngs

    pairs = zip(rows.pred_png, rows.mask_png, strict=True)
    return pd.Series([hd95_of_pngs(*pair) for pair in pairs], rows.index, dtype="float64")


def _where_mask(score: Statistic) -> Statistic:
    """NaN where the mask is empty."""
    return lambda rows: score(rows).mask(_no_mask(rows))


def _where_either(score: Statistic) -> Statistic:
    """NaN where both prediction and mask are empty."""
    return lambda rows: score(rows).mask(_no_prediction(rows) & _no_mask(rows))


@dataclass(frozen=True, slots=True)
class Profile:
    """A way to score. A NaN of its three functions leaves the image out of the mean."""

    name: str
    description: str  # a phrase that ends a caption's sentence
    dice: Statistic
    iou: Statistic
    hd95: Statistic
    pooled: bool = False  # Dice and IoU of all the task's pixels as if they were one image
    unit: str = "px"  # of HD95; px alone is of the protocol's size
    grid: str = ""  # before the names of the columns it reads: "" the protocol's size, "native_"
    extra: tuple[str, ...] = ()  # further columns it reads, under their own names

    def lacking(self, frame: pd.DataFrame) -> list[str]:
        """Columns that the profile reads and the rows lack, or hold for some images only."""
        always = {self.grid + name for name in COUNTS} | set(PNGS)
        return [
            name
            for name in (*(self.grid + name for name in NEEDED), *self.extra)
            if name not in frame or (name in always and frame[name].isna().any())
        ]

    def per_image(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Score every image.

        Args:
            frame: one row per image with the columns that `benchmark.evaluate` writes.

        Returns:
            Columns dice, iou (0 to 1) and hd95 (`unit`), on the frame's index; NaN where the
            profile gives the image no value. A pooled profile's images score as they would alone.

        Raises:
            RecordError: columns are missing.
        """
        return self._score(self._read(frame))

    def task_scores(self, frame: pd.DataFrame) -> Scores:
        """Score one task.

        Args:
            frame: the rows of one task, as for `per_image`.

        Raises:
            RecordError: no rows, or columns are missing.
        """
        rows = self._read(frame)
        if rows.empty:
            raise RecordError("a task without test images has no score; run it again with some")
        images = overlap = self._score(rows)
        if self.pooled:
            total = rows[COUNTS].sum().to_frame().T
            overlap = pd.DataFrame({"dice": self.dice(total), "iou": self.iou(total)})
        return Scores(
            dice=float(overlap.dice.mean()),
            iou=float(overlap.iou.mean()),
            hd95=float(images.hd95.mean()),
            images=len(images),
            empty_prediction=int(_no_prediction(rows).sum()),
            empty_mask=int(_no_mask(rows).sum()),
            hd95_dropped=int(images.hd95.isna().sum()),
        )

    def _read(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The columns the profile reads, those of its grid under their plain names."""
        if missing := self.lacking(frame):
            raise RecordError(
                f"per-image rows lack the columns {', '.join(missing)}, which the profile "
                f"'{self.name}' needs; run it again with --restart, or take another profile"
            )
        plain = {name: frame[self.grid + name] for name in NEEDED}
        return pd.DataFrame(plain | {name: frame[name] for name in self.extra})

    def _score(self, rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(
            {"dice": self.dice(rows), "iou": self.iou(rows), "hd95": self.hd95(rows)}
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
        Profile(
            "deepmind",
            "per image as google-deepmind/surface-distance: HD95 is the larger of the two "
            "directed 95th percentiles of an outline between the pixels, each piece weighted by "
            "its length; both empty leaves the image out of all three; HD95, infinite there, "
            "leaves out images with an empty prediction or mask",
            _where_either(_dice),
            _where_either(_iou),
            _weighted_directions,
            extra=PNGS,
        ),
        Profile(
            "native",
            "as the profile paper, but at each image's own size: the probability is resized "
            "bilinearly, then compared with 0.5",
            _dice,
            _iou,
            _larger_direction_or_diagonal,
            unit="px at native size",
            grid=NATIVE,
        ),
        Profile(
            "mm",
            "as the profile native, but HD95 in mm; it leaves out images whose pixels are of "
            "unknown size or not square",
            _dice,
            _iou,
            _in_mm,
            unit="mm",
            grid=NATIVE,
            extra=("spacing_mm",),
        ),
    )
}
