"""HMC-QU, apical four chamber view: the wall of the left ventricle (Degerli et al., 2021).

    A4C.xlsx                                                    one row a clip
    HMC-QU/A4C/ES0001 _4CH_1.avi                                clip
    LV Ground-truth Segmentation Masks/Mask_ES0001 _4CH_1.mat   masks of one heart beat
The first release calls the sheet HMC_QU.xlsx and the folder of clips HMC-QU Echos/HMC-QU Echos/;
it is read too if the sheet has the same headings. A CSV of it is not. Left out: the two chamber
view (A2C.xlsx, HMC-QU/A2C/), which has no masks.

162 clips of 162 patients at 25 frames a second, 109 of them with masks: 2349 frames, 13-32 a clip.
Screen captures, mostly 636x422 or 636x434 px, up to 1024x768, with ruler, ECG and text burnt in,
and in some clips a blue-green tint, so colour means nothing. No pixel size is given.

The sheet has two rows of headings; column ECHO is the clip's name to the letter, with its odd
blanks ("ES0001 _4CH_1", "ES000155 n_4CH_1"), and a last column of "ü" marks the clips with masks.
Frames count from 1: mask i belongs to frame "Reference Frame" + i, and the last one to "End of
Cycle". The reference is not the first frame in 9 of the 109 clips.

Masks: `predicted` (frames, 224, 224), 0 or 1; 1 is the wall, a horseshoe without the cavity. They
cover the whole frame squeezed to a square, and are stretched back to it here.

Groups: the patient, the number after ES.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import ClassVar

import cv2
import numpy as np
import openpyxl
from numpy.typing import NDArray
from scipy.io import loadmat

from dataset_builders.names import gather, natural
from dataset_builders.schema import Card, Files, Item, Listing, Sample, Source

MASK_SIDE = 224  # px

HEADINGS = ("ECHO", "Reference Frame", "End of Cycle", "LV Wall Ground-truth Segmentation Masks")

_SHEETS = ("A4C.xlsx", "HMC_QU.xlsx")  # the better one first
_FILE = re.compile(r"(?:^|/)(?:Mask_)?(?P<name>ES\d[^/]*)(?P<role>\.avi|\.mat)$")
_PATIENT = re.compile(r"ES(\d+)")


@dataclass(frozen=True, slots=True)
class Beat:
    """The frames of a clip that have masks."""

    first: int  # 0-based
    count: int


class HMCQU(Source):
    """2349 frames of 109 patients, Hamad Medical Corporation and Qatar University."""

    name = "hmc_qu"
    expected: ClassVar[Mapping[str, int]] = {"MD": 2349}
    card = Card(
        title="HMC-QU: echocardiograms for early detection of myocardial infarction",
        homepage="https://www.kaggle.com/datasets/aysendegerli/hmcqu-dataset",
        access=(
            "download https://www.kaggle.com/datasets/aysendegerli/hmcqu-dataset as "
            "hmcqu-dataset.zip (it needs a Kaggle account)"
        ),
        licence="see the Kaggle page",
        citation=(
            "Degerli A, Zabihi M, Kiranyaz S, Hamid T, Mazhar R, Hamila R, Gabbouj M. Early "
            "Detection of Myocardial Infarction in Low-Quality Echocardiography. IEEE Access "
            "9:34442-34453, 2021. doi:10.1109/ACCESS.2021.3059595"
        ),
        archives=("hmcqu-dataset.zip", "hmc-qu-dataset.zip"),
        folders=("hmcqu-dataset",),
    )

    def __init__(self) -> None:
        # Frames of one clip are read one after the other. Without the lock, each thread that
        # waits for a clip would decode it anew.
        self._lock = Lock()
        self._beats = lru_cache(maxsize=1)(self._read_sheet)
        self._frames = lru_cache(maxsize=2)(self._decode)
        self._masks = lru_cache(maxsize=2)(self._load)

    def index(self, files: Files) -> Listing:
        clips = gather(
            self,
            files,
            _FILE,
            needed=(),  # clips and masks are two downloads for some, and most clips have no masks
            layout="'HMC-QU/A4C/ES0001 _4CH_1.avi' and "
            "'LV Ground-truth Segmentation Masks/Mask_ES0001 _4CH_1.mat'",
        )
        sheets = {path.name: file for path, file in files.items() if path.name in _SHEETS}
        if not sheets:
            raise self.error(f"'{_SHEETS[0]}'", "is missing; it says which frames the masks show")
        sheet = sheets[min(sheets, key=_SHEETS.index)]
        beats = self._read_sheet(sheet)
        for name, roles in clips.items():
            if ".mat" in roles and name not in beats:
                raise self.error(
                    f"'{roles['.mat'].name}'",
                    f"'{sheet.name}' marks no clip '{name}' as one with masks",
                    "keep names as they are in the archive, blanks too: unpack it again",
                )
        lacking = {echo: {".avi", ".mat"} - clips.get(echo, {}).keys() for echo in beats}
        skipped = {
            echo: f"no {' and no '.join(sorted(roles))} file"
            for echo, roles in lacking.items()
            if roles
        }
        items = tuple(
            Item(
                task="MD",
                source=self.name,
                source_id=f"{echo}#{number:02d}",
                group=group_of(echo),
                files=(clips[echo][".avi"], clips[echo][".mat"], sheet),
                frame=beats[echo].first + number,
                view="A4C",
            )
            for echo in sorted(beats.keys() - skipped.keys(), key=natural)
            for number in range(beats[echo].count)
        )
        if not items:
            raise self.error(f"'{sheet.name}'", "not one of its clips is here with its masks")
        return Listing(items, skipped)

    def read(self, item: Item) -> Sample:
        clip, masks, sheet = item.files
        with self._lock:
            beat = self._beats(sheet)[item.source_id.rpartition("#")[0]]
            number = item.frame - beat.first
            image = self._frames(clip, beat)[number]
            mask = self._masks(masks, beat.count)[number]
        height, width = image.shape
        mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return Sample(item, image.copy(), mask.astype(bool))

    def _read_sheet(self, sheet: Path) -> dict[str, Beat]:
        """Name of each clip with masks -> its frames."""
        rows = self._rows(sheet)
        columns = {str(text): column for row in rows[:2] for column, text in enumerate(row)}
        if lacking := [heading for heading in HEADINGS if heading not in columns]:
            raise self.error(f"'{sheet.name}'", f"lacks the columns {', '.join(lacking)}")
        beats = {}
        for row in rows:
            echo, first, last, mark = (row[columns[heading]] for heading in HEADINGS)
            if mark != "ü":
                continue
            if not _PATIENT.match(str(echo)):
                raise self.error(f"'{sheet.name}'", f"'{echo}' is no name of a clip")
            if not (isinstance(first, int) and isinstance(last, int) and 1 <= first <= last):
                raise self.error(f"'{sheet.name}'", f"'{echo}' has frames '{first}' to '{last}'")
            beats[str(echo)] = Beat(first - 1, last - first + 1)
        return beats

    def _rows(self, sheet: Path) -> Sequence[Sequence[object]]:
        try:
            with closing(openpyxl.load_workbook(sheet, read_only=True, data_only=True)) as book:
                rows = list(book.worksheets[0].iter_rows(values_only=True))
        except Exception as error:  # from KeyError to BadZipFile, for a damaged file
            raise self.error(f"'{sheet.name}'", f"not a spreadsheet ({error})") from error
        width = max(map(len, rows), default=0)
        return [(*row, *[None] * (width - len(row))) for row in rows]

    def _decode(self, clip: Path, beat: Beat) -> list[NDArray[np.uint8]]:
        """The frames of the beat, each (H, W) grey.

        They are reached by decoding all before them: a seek goes by time stamps and key frames,
        and lands beside the frame in some codecs.
        """
        # one decoder by name, so that pixels do not depend on those a machine happens to have
        video = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
        frames: list[NDArray[np.uint8]] = []
        needed = beat.first + beat.count
        while len(frames) < needed and (decoded := video.read())[0]:
            frames.append(cv2.cvtColor(decoded[1], cv2.COLOR_BGR2GRAY))
        video.release()
        if len(frames) < needed:
            raise self.error(
                f"'{clip.name}'", f"{len(frames)} frames can be decoded, {needed} are needed"
            )
        return frames[beat.first :]

    def _load(self, file: Path, count: int) -> NDArray[np.uint8]:
        """All masks of a clip, (count, 224, 224), 0 or 1."""
        try:
            masks = loadmat(file, variable_names=["predicted"]).get("predicted")
        except Exception as error:  # from zlib.error to UnboundLocalError, for a damaged file
            raise self.error(f"'{file.name}'", f"not a MATLAB file ({error})") from error
        right = (count, MASK_SIDE, MASK_SIDE)
        if masks is None or masks.shape != right:
            found = "nothing" if masks is None else f"{masks.shape}"
            raise self.error(
                f"'{file.name}'", f"holds {found} as 'predicted', the sheet asks for {right}"
            )
        if not np.isin(masks, (0, 1)).all():
            raise self.error(f"'{file.name}'", "holds values other than 0 and 1")
        return np.asarray(masks, np.uint8)


def group_of(echo: str) -> str:
    """The patient of a clip: "patient001" for "ES0001 _4CH_1"."""
    return f"patient{int(_PATIENT.findall(echo)[0]):03d}"
