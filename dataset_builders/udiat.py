"""UDIAT, also called Dataset B: breast lesions (Yap et al., 2018).

    original/000001.png     image
    GT/000001.png           mask of the same name
    DatasetB.xlsx           diagnoses; not read, the outline is all a segmentation needs

163 images with one lesion each. The names are no count: 163 numbers between 1 and 310. Users call
the outer folder BUS, Dataset_B, BUS_Dataset_B or Yap2018.

Masks: above 127 is lesion, the rest background. Users report files of several depths and modes, so
images stored in colour are read too. No patient is named: every image is its own group.

The images come on a signed agreement only, so this layout follows published descriptions.
"""

import re
from collections.abc import Mapping
from typing import ClassVar

from dataset_builders.images import decode, decode_grey, read_bytes
from dataset_builders.names import gather
from dataset_builders.schema import Card, Files, Item, Listing, Sample, Source

_FILE = re.compile(r"(?:^|/)(?P<role>original|GT)/(?P<name>\d{6})\.png$")


class UDIAT(Source):
    """163 images of breast with one lesion each."""

    name = "udiat"
    expected: ClassVar[Mapping[str, int]] = {"BC": 163}
    card = Card(
        title="Breast ultrasound lesions, Dataset B (UDIAT)",
        homepage="http://www2.docm.mmu.ac.uk/STAFF/M.Yap/dataset.php",
        access=(
            "print and sign the release agreement "
            "http://www2.docm.mmu.ac.uk/STAFF/m.yap/files/BUS_ReleaseAgreement.pdf, e-mail it to "
            "the author named at its end, and wait for the folder with 'original' and 'GT'"
        ),
        licence="research use, on a signed agreement",
        citation=(
            "Yap MH, Pons G, Marti J, et al. Automated Breast Ultrasound Lesions Detection Using "
            "Convolutional Neural Networks. IEEE Journal of Biomedical and Health Informatics "
            "22(4):1218-1226, 2018. doi:10.1109/JBHI.2017.2731873"
        ),
        archives=("Dataset_B.zip", "BUS_Dataset_B.zip", "Yap2018.zip"),
        folders=("Dataset_B", "BUS_Dataset_B", "Yap2018"),
    )

    def index(self, files: Files) -> Listing:
        pictures = gather(
            self,
            files,
            _FILE,
            needed=("original", "GT"),
            layout="'original/000001.png' and 'GT/000001.png'",
        )
        items = tuple(
            Item("BC", self.name, name, name, (roles["original"], roles["GT"]))
            for name, roles in pictures.items()
        )
        return Listing(items, {})

    def read(self, item: Item) -> Sample:
        image_file, mask_file = item.files
        image, encoded = decode_grey(self.name, image_file.name, read_bytes(self.name, image_file))
        mask = decode(self.name, mask_file.name, read_bytes(self.name, mask_file)) > 127
        return Sample(item, image, mask, encoded)
