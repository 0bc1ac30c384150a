"""CAMUS: hearts from the apex, in two and four chamber view (Leclerc et al., 2019).

    database_nifti/patient0001/patient0001_4CH_ED.nii.gz        image
    database_nifti/patient0001/patient0001_4CH_ED_gt.nii.gz     labels
or, as published in 2019, MetaImage headers with a .raw file beside each:
    training/patient0001/patient0001_4CH_ED.mhd                 image
    training/patient0001/patient0001_4CH_ED_gt.mhd              labels
    testing/patient0001/...                                     50 patients, their masks kept back
Left out: films (*_sequence, *_half_sequence), Info_*.cfg, database_split/.

2000 stills: 500 patients x {2CH, 4CH} x {ED, ES}. The first 450 have one number in both layouts;
the numbers of testing/ begin at 0001 again and mean other patients. Grey; the 4CH images have
323-1181 x 292-973 px. NIfTI holds whole numbers 0-255 as float32, axis 0 across and axis 1 down, so
the transpose has the apex on top and the left ventricle on the right; some images are deeper than
wide, so their sizes do not tell. Its pixels are squares of 0.308 mm; MetaImage has twice the rows
of the same picture, 0.154 mm apart.

Labels: 0 background, 1 left ventricle (its cavity), 2 myocardium, 3 left atrium; one picture serves
three tasks. In 4 of 5 pictures they reach beyond the ultrasound sector, mostly the myocardium.

Groups: the patient. patient0033 and patient0068 are one exam under two numbers: their 4CH ED images
are equal in every pixel, the other three are neighbouring frames.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import nibabel
import numpy as np
from numpy.typing import NDArray

from dataset_builders.images import MAX_PIXELS, read_bytes
from dataset_builders.names import gather
from dataset_builders.schema import Card, Files, Item, Listing, Sample, Source

LABELS = {"LA": 3, "LV": 1, "MD": 2}
SAME_EXAM = {"patient0068": "patient0033"}

_FILE = re.compile(
    r"(?:^|/)(?P<name>patient\d{4}_[24]CH_E[DS])(?P<role>(?:_gt)?\.(?:nii(?=$|\.gz$)|mhd$))"
)
_TEST = re.compile(r"(?:^|/)testing/patient\d{4}/patient\d{4}_[24]CH_E[DS](?:_gt)?\.mhd$")

Picture = tuple[NDArray[np.uint8], tuple[float, float] | None]  # (H, W), spacing as in Sample


class CAMUS(Source):
    """2000 stills of 500 patients, each for three tasks."""

    name = "camus"
    expected: ClassVar[Mapping[str, int]] = {"LA": 2000, "LV": 2000, "MD": 2000}
    card = Card(
        title="CAMUS: Cardiac Acquisitions for Multi-structure Ultrasound Segmentation",
        homepage="https://www.creatis.insa-lyon.fr/Challenge/camus/",
        access=(
            "download the collection CAMUS_public of https://humanheart-project.creatis.insa-lyon"
            ".fr/database/#collection/6373703d73e9f0047faa1bc8"
        ),
        licence="CC-BY-NC-SA-4.0, non-commercial scientific research only",
        citation=(
            "Leclerc S, Smistad E, Pedrosa J, Østvik A, et al. Deep Learning for Segmentation "
            "using an Open Large-Scale Dataset in 2D Echocardiography. IEEE Transactions on "
            "Medical Imaging 38(9):2198-2210, 2019. doi:10.1109/TMI.2019.2900516"
        ),
        archives=("CAMUS_public.zip", "CAMUS.zip", "database_nifti.zip"),
        folders=("CAMUS_public", "database_nifti"),
    )

    def index(self, files: Files) -> Listing:
        test = {path for path in files if _TEST.search(path.as_posix())}
        stills = gather(
            self,
            {path: file for path, file in files.items() if path not in test},
            _FILE,
            needed=(),  # a still may come in either layout
            layout="'patient0001/patient0001_4CH_ED.nii.gz' beside '..._4CH_ED_gt.nii.gz'",
        )
        items = tuple(
            Item(
                task=task,
                source=self.name,
                source_id=name,
                group=group_of(name),
                files=self._pair(roles),
                view=name.split("_")[1],
            )
            for name, roles in stills.items()
            for task in LABELS
        )
        skipped = {"testing": f"{len(test)} files of other patients under numbers of training/"}
        return Listing(items, skipped if test else {})

    def read(self, item: Item) -> Sample:
        image_file, mask_file = item.files
        image, spacing = self._picture(image_file)
        labels, _ = self._picture(mask_file)
        if labels.max() > max(LABELS.values()):
            raise self.error(f"'{mask_file.name}'", f"label {labels.max()}, 0 to 3 are right")
        return Sample(item, image, labels == LABELS[item.task], spacing_mm=spacing)

    def _pair(self, roles: Mapping[str, Path]) -> tuple[Path, Path]:
        """Image and labels; of a still in both layouts, the NIfTI with its square pixels."""
        layout = ".nii" if {".nii", "_gt.nii"} & roles.keys() else ".mhd"
        for role in (layout, f"_gt{layout}"):
            if role not in roles:
                present = ", ".join(f"'{file.name}'" for file in roles.values())
                raise self.error(present, f"its '{role}' is missing")
        return roles[layout], roles[f"_gt{layout}"]

    def _picture(self, file: Path) -> Picture:
        return self._metaimage(file) if file.suffix == ".mhd" else self._nifti(file)

    def _nifti(self, file: Path) -> Picture:
        try:
            volume = nibabel.load(file)
            if len(volume.shape) != 2 or np.prod(volume.shape) > MAX_PIXELS:
                raise ValueError(f"its shape is {volume.shape}")
            values = np.asarray(volume.dataobj, np.float32)
            width_mm, height_mm = (round(float(zoom), 6) for zoom in volume.header.get_zooms())
        except Exception as error:  # a damaged file may raise nibabel's, gzip's or zlib's own
            reason = " ".join(str(error).split())
            raise self.error(f"'{file.name}'", f"not a picture in NIfTI ({reason})") from error
        if not np.all((values >= 0) & (values <= 255) & (values == np.rint(values))):
            raise self.error(f"'{file.name}'", "values other than whole numbers from 0 to 255")
        # 1 x 1 is what NIfTI says where nobody set a spacing
        spacing = None if (height_mm, width_mm) == (1, 1) else (height_mm, width_mm)
        return values.T.astype(np.uint8, order="C"), spacing

    def _metaimage(self, file: Path) -> Picture:
        lines = read_bytes(self.name, file).decode("ascii", "replace").splitlines()
        parts = (line.partition("=") for line in lines)
        fields = {key.strip(): value.strip() for key, _, value in parts}
        compressed = fields.get("CompressedData", "False")
        try:
            width, height, slices = (int(size) for size in fields["DimSize"].split())
            width_mm, height_mm, _ = (float(size) for size in fields["ElementSpacing"].split())
            element, raw = fields["ElementType"], fields["ElementDataFile"]
        except (KeyError, ValueError) as error:
            raise self.error(f"'{file.name}'", f"not a MetaImage header ({error})") from error
        if (compressed, element, slices) != ("False", "MET_UCHAR", 1) or Path(raw).name != raw:
            raise self.error(
                f"'{file.name}'",
                f"CompressedData {compressed}, ElementType {element}, {slices} slices in '{raw}'; "
                "False, MET_UCHAR and 1 slice in a file beside it are right",
            )
        data = read_bytes(self.name, file.with_name(raw))
        if width < 1 or len(data) != width * height:
            raise self.error(f"'{raw}'", f"{len(data)} bytes for {width}x{height} pixels")
        return np.frombuffer(data, np.uint8).reshape(height, width), (height_mm, width_mm)


def group_of(name: str) -> str:
    """The patient of a still such as "patient0001_4CH_ED"."""
    patient = name.partition("_")[0]
    return SAME_EXAM.get(patient, patient)
