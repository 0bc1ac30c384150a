"""HC18: fetal heads (van den Heuvel et al., 2018).

    training_set/010_HC.png                     image
    training_set/010_HC_Annotation.png          outline of the head
    training_set/010_2HC.png                    second image of the same exam; up to _4HC
    training_set_pixel_size_and_HC.csv          a separate download: "filename,pixel size(mm),
                                                head circumference (mm)", a line per image
    test_set/000_HC.png                         335 images whose outlines are held back; left out

999 training images of 806 exams, numbered by size of the head; test numbers begin at 000 again and
mean other exams. Grey; 975 have 800x540 px, the others nearly so. Square pixels of 0.05-0.39 mm.

Outlines: 0 or 255, one ellipse about 3 px wide, not filled. 186_HC, 346_HC, 628_2HC and 787_HC are
open where the head leaves the image, so a flood from inside leaks; their convex hull does not.

Groups: the exam, the leading three digits. It is not the woman: the 551 women of the study have
1141 exams, and nobody published who is who. All known repeats (392_HC and 392_2HC are the same
file) lie within one exam.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_builders.images import decode, decode_grey, read_bytes
from dataset_builders.names import gather
from dataset_builders.schema import Card, Files, Item, Listing, Sample, Source

TABLE = "training_set_pixel_size_and_HC.csv"
# Filled heads have at least 14 times the pixels of their outline, in all 999; a mask that is
# filled already, or a scrap of an outline, has about as many.
MIN_FILLED = 5

_FILE = re.compile(r"(?:^|/)training_set/(?P<name>\d{3}_\d?HC)(?P<role>(?:_Annotation)?\.png)$")
_TEST = re.compile(r"(?:^|/)test_set/\d{3}_HC\.png$")


class HC18(Source):
    """999 images of fetal heads, 2014-2015, Voluson E8 and 730, Radboudumc, Nijmegen."""

    name = "hc18"
    expected: ClassVar[Mapping[str, int]] = {"FH": 999}
    card = Card(
        title="HC18: Automated measurement of fetal head circumference",
        homepage="https://hc18.grand-challenge.org/",
        access=(
            f"download training_set.zip and {TABLE} from https://zenodo.org/records/1327317 and "
            "put both into one folder"
        ),
        licence="CC-BY-4.0",
        citation=(
            "van den Heuvel TLA, de Bruijn D, de Korte CL, van Ginneken B. Automated measurement "
            "of fetal head circumference using 2D ultrasound images. PLoS ONE 13(8):e0200412, "
            "2018. doi:10.1371/journal.pone.0200412; data doi:10.5281/zenodo.1327317"
        ),
    )

    def index(self, files: Files) -> Listing:
        pictures = gather(
            self,
            files,
            _FILE,
            needed=(".png", "_Annotation.png"),
            layout="'training_set/000_HC.png' beside 'training_set/000_HC_Annotation.png'",
        )
        # by content, as an archive may lie beside the folder it unpacked to
        tables = {
            read_bytes(self.name, files[path]): files[path]
            for path in sorted(files)
            if path.name == TABLE
        }
        if len(tables) != 1:
            raise self.error(f"'{TABLE}'", f"{len(tables)} different files, one is right")
        items = tuple(
            Item(
                task="FH",
                source=self.name,
                source_id=name,
                group=f"exam{name[:3]}",
                files=(roles[".png"], roles["_Annotation.png"], *tables.values()),
            )
            for name, roles in pictures.items()
        )
        for item in items:
            self._pixel_size(item)
        test = sum(bool(_TEST.search(path.as_posix())) for path in files)
        return Listing(items, {"test_set": f"{test} images without outline"} if test else {})

    def read(self, item: Item) -> Sample:
        image_file, outline_file, _ = item.files
        image, encoded = decode_grey(self.name, image_file.name, read_bytes(self.name, image_file))
        outline = decode(self.name, outline_file.name, read_bytes(self.name, outline_file)) > 127
        head = fill(outline)
        if head.sum() < MIN_FILLED * outline.sum():
            raise self.error(
                f"'{outline_file.name}'",
                f"not an outline: its {outline.sum()} pixels enclose {head.sum()}, and a head's "
                f"enclose at least {MIN_FILLED} times as many",
            )
        size = self._pixel_size(item)
        return Sample(item, image, head, encoded, (size, size))

    def _pixel_size(self, item: Item) -> float:
        """Side of a pixel in mm."""
        image_file, _, table = item.files
        written = _pixel_sizes(table).get(image_file.name)
        if written is None:
            raise self.error(f"'{table.name}'", f"no row for '{image_file.name}'")
        try:
            size = float(written)
        except ValueError:
            size = 0.0
        if not 0 < size < 10:
            raise self.error(
                f"'{table.name}'", f"'{written}' mm is no pixel size for '{image_file.name}'"
            )
        return size


def fill(outline: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The head within its outline, both (H, W): the convex hull, whether it is closed or not."""
    head = np.zeros(outline.shape, np.uint8)
    points = cv2.findNonZero(outline.astype(np.uint8))
    if points is not None:
        cv2.fillConvexPoly(head, cv2.convexHull(points), 1)
    return head.astype(bool)


@cache
def _pixel_sizes(table: Path) -> dict[str, str]:
    """Image file -> side of its pixels in mm, as written.

    By position, for the header's blanks differ from column to column; nothing in it is quoted.
    """
    lines = read_bytes(HC18.name, table).decode(errors="replace").splitlines()
    return {name: size for name, size, *_ in (line.split(",") for line in lines if "," in line)}
