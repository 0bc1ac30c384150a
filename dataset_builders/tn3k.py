"""TN3K: thyroid nodules (Gong et al., 2021, doi:10.1109/ISBI48211.2021.9434087).

    trainval-image/0000.jpg .. 2878.jpg    grey JPEG, about 220x220 to 1460x770
    trainval-mask/0000.jpg ..              its nodules, same name and size
    test-image/0000.jpg .. 0613.jpg        the numbers start again, so an id names its series
    test-mask/0000.jpg ..

2,879 + 614 = 3,493 images of 2,421 patients. No file says which patient, so each image is its own
group, and only a search for duplicates can tell whether two of them belong together.

Masks are JPEG too: 18 to 29 grey levels near 0 and near 255, none between 30 and 225, so any
threshold there gives the drawn mask. (The publisher's loader keeps 255 alone, which loses a median
of 9 % of the nodule.) A mask holds one nodule or several (71 of the 614 in test), never none.

The folders are also distributed as separate RAR archives, so copies with images or masks missing
are common; such files are left out. The fold lists (tn3k-trainval-fold0..4.json) are every fifth
number and say nothing of patients; they are not read.
"""

import re
from typing import ClassVar

from dataset_builders.pairs import pair, read_pair
from dataset_builders.schema import Card, Files, Item, Listing, Sample, Source

_FILE = re.compile(r"(?:^|/)(trainval|test)-(image|mask)/([0-9]{4})\.jpg$", re.IGNORECASE)


class TN3K(Source):
    """3,493 thyroid nodules, native size, one group each."""

    name = "tn3k"
    card = Card(
        title="TN3K: thyroid nodule region segmentation dataset",
        homepage="https://github.com/haifangong/TRFE-Net-for-thyroid-nodule-segmentation",
        access="download 'Thyroid Dataset.zip' from "
        "https://drive.google.com/file/d/1reHyY5eTZ5uePXMVMzFOq5j3eFOSp50F/view, or unpack "
        "the RAR archives in the homepage's folder picture/ side by side",
        licence="MIT (stated for the code and on the Hugging Face copy, not for the data)",
        citation="H. Gong, G. Chen, R. Wang, X. Xie, M. Mao, Y. Yu, F. Chen, G. Li. Multi-task "
        "learning for thyroid nodule segmentation with thyroid region prior. ISBI 2021. "
        "doi:10.1109/ISBI48211.2021.9434087. "
        "H. Gong, J. Chen, G. Chen, H. Li, G. Li, F. Chen. Thyroid region prior guided attention "
        "for ultrasound segmentation of thyroid nodules. Computers in Biology and Medicine 155, "
        "106389, 2023. doi:10.1016/j.compbiomed.2022.106389",
        archives=("Thyroid Dataset.zip", "TN3K.rar"),
        folders=("Thyroid Dataset",),
    )
    expected: ClassVar[dict[str, int]] = {"TN": 3493}

    def index(self, files: Files) -> Listing:
        pairs, skipped = pair(self, files, _FILE)
        if not pairs:
            raise self.nothing(
                files, "trainval-image/0000.jpg beside trainval-mask/0000.jpg, or the same of test"
            )
        items = tuple(
            Item("TN", self.name, f"{part}/{number}", f"{part}/{number}", paths)
            for (part, number), paths in pairs.items()
        )
        return Listing(items, skipped)

    def read(self, item: Item) -> Sample:
        return read_pair(item)
