"""BUSI: breast tumours, benign and malignant (Al-Dhabyani et al., 2020).

    Dataset_BUSI_with_GT/benign/benign (4).png            image; counted from 1 without gaps
    Dataset_BUSI_with_GT/benign/benign (4)_mask.png       its lesion
    Dataset_BUSI_with_GT/benign/benign (4)_mask_1.png     a further lesion, in 17 images; also _2

780 images: 437 benign, 210 malignant, and 133 normal ones, which show no lesion and are left out.
639 sizes, 190-1048 x 310-719 px. Stored as RGB; all but 15 of the 647 are grey (Doppler, marks, or
a slight tint make the rest).

Masks: 0 is background, anything above is lesion; the lesions of one image are merged. Most files
have one bit a pixel, but benign (4)_mask_1 and (54)_mask_1 are RGBA, opaque everywhere, and the
black masks of the normal images are RGB.

No patient is named anywhere: about 600 women. Repeated scenes were found by measurement (151 scenes
with 342 images, some of them in two classes) and make groups; every other image is its own. Two of
them were later found to be one. Some masks contradict each other: benign (433) and malignant (145)
are one file with two outlines.
"""

import re
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from dataset_builders.grouping import clusters, same_scene, table
from dataset_builders.images import decode, decode_grey, read_bytes
from dataset_builders.names import gather, natural
from dataset_builders.schema import Card, Files, Item, Listing, Sample, Source

_LESION = re.compile(
    r"(?:^|/)(?P<name>(?:benign|malignant) \(\d+\))(?P<role>(?:_mask(?:_\d+)?)?\.png)$"
)
_NORMAL = re.compile(r"(?:^|/)normal \(\d+\)\.png$")


class BUSI(Source):
    """647 images of breast with lesions, 2018, LOGIQ E9, Baheya Hospital, Cairo."""

    name = "busi"
    expected: ClassVar[Mapping[str, int]] = {"BC": 647}
    card = Card(
        title="BUSI: Dataset of breast ultrasound images",
        homepage="https://scholar.cu.edu.eg/?q=afahmy/pages/dataset",
        access=(
            "download https://scholar.cu.edu.eg/Dataset_BUSI.zip, or the same folder from "
            "https://www.kaggle.com/datasets/aryashah2k/breast-ultrasound-images-dataset"
        ),
        licence="none stated",
        citation=(
            "Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Dataset of breast ultrasound images. "
            "Data in Brief 28:104863, 2020. doi:10.1016/j.dib.2019.104863"
        ),
        archives=("Dataset_BUSI.zip", "Dataset_BUSI_with_GT.zip"),
        folders=("Dataset_BUSI_with_GT",),
    )

    def index(self, files: Files) -> Listing:
        pictures = gather(
            self,
            files,
            _LESION,
            needed=(".png", "_mask.png"),
            layout="'benign/benign (1).png' beside 'benign/benign (1)_mask.png'",
        )
        scenes = _scenes()
        items = tuple(
            Item(
                task="BC",
                source=self.name,
                source_id=name,
                group=scenes.get(name, name),
                files=(roles.pop(".png"), *(roles[role] for role in sorted(roles, key=natural))),
            )
            for name, roles in pictures.items()
        )
        normal = sum(bool(_NORMAL.search(path.as_posix())) for path in files)
        skipped = {"normal": f"{normal} images without a lesion"} if normal else {}
        return Listing(items, skipped)

    def read(self, item: Item) -> Sample:
        image, encoded = decode_grey(
            self.name, item.files[0].name, read_bytes(self.name, item.files[0])
        )
        lesions = [
            decode(self.name, file.name, read_bytes(self.name, file)) > 0 for file in item.files[1:]
        ]
        if len({lesion.shape for lesion in lesions}) > 1:
            names = ", ".join(f"'{file.name}'" for file in item.files[1:])
            raise self.error(names, "the masks of one image differ in size")
        return Sample(item, image, np.logical_or.reduce(lesions), encoded)


def _scenes() -> dict[str, str]:
    """Image -> group, for those in the groups of repeated scenes."""
    scenes = {row["image"]: f"scene{row['group']}" for row in table("busi_duplicate_groups.csv")}
    leaders = clusters((scenes[one], scenes[other]) for one, other in same_scene("busi"))
    return {image: leaders.get(scene, scene) for image, scene in scenes.items()}
