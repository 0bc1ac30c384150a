"""What a prediction leaves: mask and overlay of every frame, a volume for NIfTI, one table.

    <name>_mask.png       0 and 255, of the input's size
    <name>_overlay.png    the input with the mask's contour
    <name>_mask.nii.gz    for NIfTI: 0 and 1, the input's shape and affine
    summary.csv           one row a frame

Frames of a file with several are numbered from 1: `<name>_001_mask.png`.
"""

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
from numpy.typing import NDArray

from benchmark.files import replacing
from benchmark.pictures.frames import Pixels, in_colour
from benchmark.pictures.inputs import Frame, Input, whole_path
from dataset_builders.errors import UsageError
from dataset_builders.images import encode_png

ORANGE = (230, 159, 0)  # RGB; predictions have this colour in the figures too

Mask = NDArray[np.bool_]  # (H, W)


class ExistsError(UsageError):
    """An output that is there already, and was not to be replaced."""


@dataclass(frozen=True, slots=True)
class Row:
    """A frame in the summary."""

    file: str
    frame: int  # from 1
    width: int  # px
    height: int  # px
    area_share: float  # of the frame that is foreground
    mean_probability_inside: float | None  # of the foreground; None without any
    mask: str  # its file, below the folder of outputs


class Outputs:
    """Writes what a prediction leaves in one folder, each file whole or not at all.

    Args:
        folder: made when the first file is written.
        inputs: all that will be asked for.
        overwrite: replace what an earlier prediction left, but never an input, nor what another
            input gets.

    Raises:
        ExistsError: an earlier prediction is there.
    """

    def __init__(self, folder: Path, inputs: Iterable[Input], *, overwrite: bool) -> None:
        self.folder = whole_path(folder)
        self._overwrite = overwrite
        self._claimed = {source.path for source in inputs}
        self._claim([self._summary])

    @property
    def _summary(self) -> Path:
        return self.folder / "summary.csv"

    def claim(self, frames: Sequence[Frame], *, volume: bool) -> None:
        """Refuse an input before work is done for it rather than after.

        Args:
            frames: of one input.
            volume: whether it is to have a NIfTI of its masks.

        Raises:
            ExistsError: one of its outputs is there already.
        """
        paths = [self._path(f.name, kind) for f in frames for kind in ("mask.png", "overlay.png")]
        if volume:
            paths.append(self._path(frames[0].source.name, "mask.nii.gz"))
        self._claim(paths)

    def write_frame(self, frame: Frame, probs: NDArray[np.float32], mask: Mask) -> Row:
        """Write mask and overlay; return the row of the summary.

        Args:
            frame: as read.
            probs: (H, W) foreground probability.
            mask: (H, W).
        """
        path = self._path(frame.name, "mask.png")
        _write(path, encode_png(mask.astype(np.uint8) * 255, mask=True))
        overlay = draw_contour(frame.pixels, mask)
        _write(self._path(frame.name, "overlay.png"), encode_png(overlay))
        height, width = mask.shape
        return Row(
            file=str(frame.source.path),
            frame=frame.number,
            width=width,
            height=height,
            area_share=round(float(mask.mean()), 6),
            mean_probability_inside=round(float(probs[mask].mean()), 6) if mask.any() else None,
            mask=path.relative_to(self.folder).as_posix(),
        )

    def write_volume(self, source: Input, masks: Sequence[Mask]) -> None:
        """Write the masks of all frames of a NIfTI input, on its axes."""
        like: Any = nibabel.load(source.path)
        values = np.stack([mask.T for mask in masks], axis=-1).astype(np.uint8)
        header = like.header.copy()  # affine, spacing and units are the input's
        header.set_data_dtype(np.uint8)
        header.set_slope_inter(1, 0)
        header["cal_min"], header["cal_max"] = 0, 1
        volume = type(like)(values.reshape(like.shape, order="F"), like.affine, header)
        data = gzip.compress(volume.to_bytes(), compresslevel=6, mtime=0)
        _write(self._path(source.name, "mask.nii.gz"), data)

    def write_summary(self, rows: Iterable[Row]) -> None:
        """Write the table."""
        text = io.StringIO()
        table = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)
        _write(self._summary, text.getvalue().encode())

    def _path(self, name: Path, ending: str) -> Path:
        return self.folder / name.with_name(f"{name.name}_{ending}")

    def _claim(self, paths: Sequence[Path]) -> None:
        for path in paths:
            if path in self._claimed:
                raise ExistsError(
                    f"{path} is an input, or of another input; name another folder with --out"
                )
            if path.exists() and not self._overwrite:
                raise ExistsError(
                    f"{path} is there already; name another folder with --out, or add --overwrite"
                )
        self._claimed |= set(paths)


def draw_contour(pixels: Pixels, mask: Mask) -> Pixels:
    """The picture in RGB with the border of the mask in orange, thicker on larger pictures."""
    drawn = in_colour(pixels, colour=True).copy()
    borders, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, borders, -1, ORANGE, thickness=max(1, round(max(mask.shape) / 300)))
    return drawn


def _write(path: Path, data: bytes) -> None:
    with replacing(path, len(data)) as file:
        file.write(data)
