"""TG3K: thyroid gland in frames of 16 videos (Gong et al., 2023; released with TN3K).

    tg3k/thyroid-image/0000.jpg .. 3584.jpg    JPEG, grey or grey stored as RGB, about 258x194
    tg3k/thyroid-mask/0000.jpg ..              the gland, same name and size

3,585 frames. Which video a frame is from is written nowhere, but numbers run through one video
after the other, and its size tells where the next begins: 15 runs, of which the last may be two
videos. Neighbouring frames are nearly the same picture (correlation 0.98), so a run is a group.
The publisher's tg3k-trainval.json splits single frames and leaks; it is not read.

Masks are JPEG: grey levels up to 9 and from 246, so any threshold between gives the drawn mask.
In nine masks of ten it also holds specks of the text burnt into the top left corner. They are
removed by size, see `without_specks`.
"""

import re
from dataclasses import replace
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_builders.grouping import table
from dataset_builders.pairs import pair, read_pair
from dataset_builders.schema import Card, Files, Item, Listing, Sample, Source

_FILE = re.compile(r"(?:^|/)(thyroid)-(image|mask)/([0-9]{4})\.jpg$", re.IGNORECASE)

# Where a frame's long side is 256, specks of text have at most 39 pixels, and what is left of a
# gland that leaves the view soon has more: of 1,332 masks 15 lose such a rest, of 1 to 40 pixels.
_SPECK = 50


class TG3K(Source):
    """3,585 frames with the thyroid gland, grouped by video."""

    name = "tg3k"
    card = Card(
        title="TG3K: thyroid gland segmentation dataset",
        homepage="https://github.com/haifangong/TRFE-Net-for-thyroid-nodule-segmentation",
        access="download 'Thyroid Dataset.zip', which holds TN3K and DDTI too, from "
        "https://drive.google.com/file/d/1reHyY5eTZ5uePXMVMzFOq5j3eFOSp50F/view",
        licence="none stated (MIT for the code it is released with)",
        citation="H. Gong, J. Chen, G. Chen, H. Li, G. Li, F. Chen. Thyroid region prior guided "
        "attention for ultrasound segmentation of thyroid nodules. Computers in Biology and "
        "Medicine 155, 106389, 2023. doi:10.1016/j.compbiomed.2022.106389",
        archives=("Thyroid Dataset.zip",),
        folders=("Thyroid Dataset", "tn3k"),
    )
    expected: ClassVar[dict[str, int]] = {"TG": 3585}

    def index(self, files: Files) -> Listing:
        pairs, skipped = pair(self, files, _FILE)
        if not pairs:
            raise self.nothing(files, "thyroid-image/0000.jpg beside thyroid-mask/0000.jpg")
        items = tuple(
            Item("TG", self.name, number, self._video(number), paths)
            for (_, number), paths in pairs.items()
        )
        return Listing(items, skipped)

    def read(self, item: Item) -> Sample:
        sample = read_pair(item)
        return replace(sample, mask=without_specks(sample.mask))

    def _video(self, number: str) -> str:
        for run in table("tg3k_video_runs.csv"):
            if int(run["first_index"]) <= int(number) <= int(run["last_index"]):
                return f"video{int(run['run']):02}"
        raise self.error(f"'{number}.jpg'", "the frames end at 3584", "remove what is not of TG3K")


def without_specks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without components under 50 pixels, but always with its largest.

    50 holds where the long side is 256, the size the specks were measured at; an area scales with
    the square of a side, so elsewhere the limit is 50 (long side / 256)². Pixels that touch at a
    corner are connected.

    Args:
        mask: (H, W).
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]  # without the background
    limit = min(_SPECK * (max(mask.shape) / 256) ** 2, areas.max(initial=0))
    kept = mask.copy()
    for speck in 1 + np.flatnonzero(areas < limit):
        x, y, width, height, _ = stats[speck]
        kept[y : y + height, x : x + width] &= labels[y : y + height, x : x + width] != speck
    return kept
