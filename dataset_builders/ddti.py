"""DDTI: thyroid nodules (Pedraza et al., 2015, doi:10.1117/12.2073532), in either of two forms.

The 637-image form, made for the TN-SCUI 2020 challenge and shipped with TN3K:

    1_or_data/image/10092.PNG    grey; 1.. whole pictures, 10xxx left halves, 20xxx right halves
    1_or_data/mask/10092.PNG     0 and 255, same name and size
    1_or_data/category.csv       forged, as the readme.txt beside it says; never read

637 pairs: 295 whole pictures of 560x360, and both halves of 171 that show two views side by side.
They were renumbered; `ddti637_to_original.csv` says which case each is from, found by matching
pixels, so that a case is a group.

The original form, which serves only where no pair of the other is there (they are the same
pictures, and would be counted twice):

    165_1.jpg    picture 1 of case 165, a 560x360 screen shot in RGB
    165.xml      marks of all pictures of the case, see `ddti_xml`

480 pictures of 390 cases, of which 466 are used, two views side by side as one image. The mask is
the union of the freehand outlines, filled; it equals the other form's mask of the same picture.
Left out are 6 pictures with an empty mark (62_3, 120_1, 142_2, 213_2, 230_2, 389_1), and 8 whose
mark breaks off (54_1, 127_1, 165_1, 166_1, 176_1, 197_1, 203_1, 205_1): in five of these the lost
outline is the only one in the right view, and a nodule counted as background would spoil training
and test alike. (The other form dropped four of the eight and closed the broken outlines of the
others: 165, 166, 197 and 205.)

One picture stands under several cases: 150_1 = 233_2 = 323_1 = 326_1 = 349_1 and 353_2 = 396_1.
Those cases are one group, so that no copy is tested on after training on another; the copies
themselves stay, as publisher and later users count them.

Many pictures carry writing, some of it the diagnosis ("TIRADS 4C").
"""

import re
from pathlib import Path
from typing import ClassVar

from dataset_builders.ddti_xml import fill, outlines, read_case
from dataset_builders.grouping import clusters, table
from dataset_builders.images import decode, read_bytes
from dataset_builders.names import matched
from dataset_builders.pairs import pair, read_pair
from dataset_builders.schema import Card, Files, Item, Listing, Sample, Source

_PAIR = re.compile(r"(?:^|/)(1_or_data)/(image|mask)/([0-9]+)\.png$", re.IGNORECASE)
_PICTURE = re.compile(r"(?:^|/)([0-9]+)_([0-9]+)\.jpg$", re.IGNORECASE)
_CASE = re.compile(r"(?:^|/)([0-9]+)\.xml$", re.IGNORECASE)

_ONE_PATIENT = clusters([("150", "233", "323", "326", "349"), ("353", "396")])

ORIGINAL_IMAGES = 466  # of 480 that have a whole mark; the other form has 637


class DDTI(Source):
    """637 thyroid nodules, or 466 in the original form, grouped by case."""

    name = "ddti"
    card = Card(
        title="DDTI: digital database thyroid image",
        homepage="http://cimalab.unal.edu.co/applications/thyroid/",
        access="download 'Thyroid Dataset.zip', which holds TN3K and TG3K too, from "
        "https://drive.google.com/file/d/1reHyY5eTZ5uePXMVMzFOq5j3eFOSp50F/view, or DDTI.zip "
        "alone from https://drive.google.com/file/d/1wwlsEhwfSyvQsJBRjeDLhUjqZh8eaH2R/view",
        licence="none stated",
        citation="L. Pedraza, C. Vargas, F. Narváez, O. Durán, E. Muñoz, E. Romero. An open access "
        "thyroid ultrasound image database. Proc. SPIE 9287, 92870W, 2015. "
        "doi:10.1117/12.2073532",
        archives=("Thyroid Dataset.zip", "DDTI.zip", "thyroid.zip"),
        folders=("Thyroid Dataset", "tn3k", "DDTI dataset", "thyroid"),
    )
    expected: ClassVar[dict[str, int]] = {"TN": 637}

    def index(self, files: Files) -> Listing:
        pairs, skipped = pair(self, files, _PAIR)
        if not pairs:
            return self._index_original(files)
        case_of = {row["file_637"]: row["case"] for row in table("ddti637_to_original.csv")}
        items = []
        for (_, number), paths in pairs.items():
            if (case := case_of.get(f"{number}.PNG")) is None:
                raise self.error(
                    f"'{number}.PNG'", "not one of the 637 images", "remove what is not of DDTI"
                )
            items.append(Item("TN", self.name, number, _group(case), paths))
        return Listing(tuple(items), skipped)

    def _index_original(self, files: Files) -> Listing:
        pictures = matched(self, files, _PICTURE)
        xml = {case: path for (case,), path in matched(self, files, _CASE).items()}
        marks = {case: read_case(self.name, path) for case, path in xml.items()}
        items, skipped = [], {}
        for case, number in sorted(pictures, key=lambda key: (int(key[0]), int(key[1]))):
            name = f"{case}_{number}"
            if reason := _unfit(marks.get(case, {}).get(number)):
                skipped[name] = reason
            else:
                paths = pictures[case, number], xml[case]
                items.append(Item("TN", self.name, name, _group(case), paths))
        if not items:
            raise self.nothing(
                files, "1_or_data/image/1.PNG beside 1_or_data/mask/1.PNG, or 1_1.jpg beside 1.xml"
            )
        return Listing(tuple(items), skipped, expected=ORIGINAL_IMAGES)

    def read(self, item: Item) -> Sample:
        picture, mask = item.files
        if mask.suffix.lower() != ".xml":
            return read_pair(item)
        encoded = read_bytes(self.name, picture)
        image = decode(self.name, picture.name, encoded)
        shapes, _ = outlines(self._mark(mask, item))
        return Sample(item, image, fill(shapes, *image.shape), encoded)

    def _mark(self, xml: Path, item: Item) -> str:
        return read_case(self.name, xml)[item.source_id.partition("_")[2]]


def _group(case: str) -> str:
    return f"case{_ONE_PATIENT.get(case, case)}"


def _unfit(mark: str | None) -> str:
    """Why a picture with this mark cannot be used; "" if it can."""
    if mark is None:
        return "has no mark"
    shapes, whole = outlines(mark)
    if not whole:
        return f"its mark breaks off in outline {len(shapes) + 1}"
    return "" if shapes else "its mark is empty"
