"""MMOTU, part OTU_2d: ovarian tumours (Zhao et al., 2022).

    OTU_2d/images/7.JPG                         image; 1 to 1469 without gaps
    OTU_2d/annotations/7.PNG                    mask in the colour of the tumour's class
    OTU_2d/annotations/7_binary.PNG             the same mask as 0 and 1, so it looks black
    OTU_2d/annotations/7_binary_binary.PNG      the same again
    OTU_3d/                                     170 contrast images (OTU_CEUS); left out

1469 images in RGB, 302-1135 x 266-794 px, kept in colour: a fifth of them show Doppler or tissue
colour. All show a mask: of one of seven kinds of tumour, or, in 267, of the normal ovary.

Masks: 0 is background, any other value of any channel is tumour. One copy in circulation holds a
mask of 598 with 256x256 px, which is refused.

No patient is named, but neighbouring numbers are often one exam: 66 of the 72 near-identical pairs
that were measured are at most 3 apart, and 43 of 51 more that `usbench leakage` found, most of them
one frozen frame with and without calipers. Such a pair takes the numbers between it into its group.
The official split is not used: it puts 34 of the 72 pairs on both sides.

The figshare copy (doi:10.6084/m9.figshare.25058690) is another release: 1202 images without the
normal ovaries, in folders of its own.
"""

import re
from collections.abc import Mapping
from typing import ClassVar

from dataset_builders.grouping import clusters, same_scene, table
from dataset_builders.images import decode, read_bytes
from dataset_builders.names import gather
from dataset_builders.schema import Card, Files, Item, Listing, Sample, Source

SAME_EXAM = 3  # a near-identical pair at most so many numbers apart is of one exam

_FILE = re.compile(
    r"(?:^|/)(?:images|annotations)/(?P<name>\d+)(?P<role>(?:_binary){0,2}\.(?:JPG|PNG))$"
)
_MASKS = ("_binary.PNG", "_binary_binary.PNG", ".PNG")  # the first that is there counts
_CONTRAST = {"OTU_3d", "OTU_CEUS"}  # pictures of the same names


class MMOTU(Source):
    """1469 images of ovaries, Beijing Shijitan Hospital."""

    name = "mmotu"
    expected: ClassVar[Mapping[str, int]] = {"OT": 1469}
    card = Card(
        title="MMOTU: Multi-modality ovarian tumor ultrasound, OTU_2d",
        homepage="https://github.com/cv516Buaa/MMOTU_DS2Net",
        access=(
            "download the folder OTU_2d from "
            "https://drive.google.com/drive/folders/1c5n0fVKrM9-SZE1kacTXPt1pt844iAs1 "
            "(not the figshare copy, which lacks the normal ovaries)"
        ),
        licence="CC-BY-4.0 (figshare copy)",
        citation=(
            "Zhao Q, Lyu S, Bai W, et al. A Multi-Modality Ovarian Tumor Ultrasound Image Dataset "
            "for Unsupervised Cross-Domain Semantic Segmentation. arXiv:2207.06799, 2022"
        ),
        archives=("OTU_2d.zip",),
        folders=("OTU_2d",),
    )

    def index(self, files: Files) -> Listing:
        flat = {path: file for path, file in files.items() if _CONTRAST.isdisjoint(path.parts)}
        pictures = gather(
            self,
            flat,
            _FILE,
            needed=(".JPG",),
            layout="'OTU_2d/images/1.JPG' and 'OTU_2d/annotations/1_binary.PNG'",
        )
        scenes = _scenes()
        items = []
        for name, roles in pictures.items():
            masks = [roles[end] for end in _MASKS if end in roles]
            if not masks:
                raise self.error(f"'{name}.JPG'", f"no mask '{name}.PNG' in annotations/")
            group = scenes.get(name, name)
            items.append(Item("OT", self.name, name, group, (roles[".JPG"], masks[0])))
        skipped = {"OTU_3d": "contrast-enhanced images"} if len(flat) < len(files) else {}
        return Listing(tuple(items), skipped)

    def read(self, item: Item) -> Sample:
        image_file, mask_file = item.files
        data = read_bytes(self.name, image_file)
        image = decode(self.name, image_file.name, data, colour=True)
        # as grey, the darkest colour of a class, (0, 0, 64), is still 7
        mask = decode(self.name, mask_file.name, read_bytes(self.name, mask_file)) > 0
        return Sample(item, image, mask, data)


def _scenes() -> dict[str, str]:
    """Image -> group, for those in the groups of near-identical pairs."""
    pairs = [(row["id_a"], row["id_b"]) for row in table("mmotu_near_duplicates.csv")]
    links = []
    for pair in pairs + same_scene("mmotu"):
        first, last = sorted(map(int, pair))
        run = range(first, last + 1) if last - first <= SAME_EXAM else (first, last)
        links.append([f"{number:04}" for number in run])
    return {str(int(number)): f"scene{leader}" for number, leader in clusters(links).items()}
