"""Where each source can be had: the one table of mirrors, the better one first.

All addresses, sizes and checksums were read in other projects' files or on publishers' pages, some
of them in one place only, and none was compared with a download. So no checksum of an archive
refuses a file here: one that fits says that it is the archive others had, and one that does not is
told. What decides is the content: every member must unpack, no picture of the release may be
missing, and those whose originals are known must equal them (`dataset_builders.download.content`).
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from dataset_builders.download.checks import is_whole, replaced
from dataset_builders.download.content import as_reported
from dataset_builders.download.drive import DriveFile, DriveFolder
from dataset_builders.download.expected import Kind
from dataset_builders.download.girder import GirderCollection
from dataset_builders.download.kaggle import KaggleSet
from dataset_builders.download.transfer import Expected, Patience, Report, fetch


class Way(Protocol):
    """One way to a source."""

    @property
    def host(self) -> str:
        """Who is asked."""

    def get(self, into: Path, have: Path, report: Report) -> list[str]:
        """Fetch the source's files, going on with what an earlier try left.

        Args:
            into: where they go, under the names they keep.
            have: the source's folder, which may be absent; whole files there are not fetched
                again, and damaged ones are, to be replaced.
            report: told of bytes.

        Returns:
            What there is to say of them.

        Raises:
            MirrorError, DownloadError: this way does not lead there, now or ever.
        """


@dataclass(frozen=True, slots=True)
class Link:
    """A plain file, and what somebody else measured of it."""

    url: str
    name: str  # what it is called here
    kind: Kind = "zip"
    size: int | None = None  # bytes
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Links:
    """Plain files of one host that make the source together."""

    links: tuple[Link, ...]
    patience: Patience = field(default_factory=Patience)

    @property
    def host(self) -> str:
        return urlsplit(self.links[0].url).netloc

    def get(self, into: Path, have: Path, report: Report) -> list[str]:
        """As `Way.get`.

        Raises:
            DownloadError: the file cannot be had.
        """
        notes: list[str] = []
        before = 0

        def add(done: int, total: int | None) -> None:
            report(before + done, total and before + total)

        for link in self.links:
            file, expected = into / link.name, Expected(kind=link.kind)
            if is_whole(have / link.name, expected):
                continue
            fetch([link.url], file, expected, report=add, patience=self.patience)
            before += file.stat().st_size
            notes += replaced(have / link.name) + as_reported(file, link.size, link.sha256)
        return notes


@dataclass(frozen=True, slots=True)
class Mirrors:
    """All that is known of getting one source.

    Args:
        ways: in the order they are tried; none if it cannot be fetched by a program.
        by_hand: what a person can do beside, or in place of, all of them.
        folder: of the raw data, where it goes; sources that share an archive share a folder.
    """

    ways: tuple[Way, ...]
    by_hand: tuple[str, ...] = ()
    folder: str = ""


def _link(url: str, name: str, sha256: str | None = None) -> Links:
    return Links((Link(url, name, sha256=sha256),))


def _drive(id_: str, name: str, sha256: str | None = None) -> tuple[Way, ...]:
    """A file of Google Drive: through gdown, then by the address that asks no questions."""
    direct = f"https://drive.usercontent.google.com/download?id={id_}&export=download&confirm=t"
    return DriveFile(id_, name, sha256), _link(direct, name, sha256)


_ZENODO = "https://zenodo.org/records/1327317/files"
_THYROID = _drive(
    "1reHyY5eTZ5uePXMVMzFOq5j3eFOSp50F",
    "Thyroid Dataset.zip",
    "0ba1770076dab01b1f8fd661a227d80982168bc433de61c80fd266427b20cf60",
)
_STILL = r"patient\d{4}_[24]CH_E[DS](_gt)?\.nii\.gz"

MIRRORS = {
    "busi": Mirrors(
        (
            _link(  # others often found this host's certificate invalid
                "https://scholar.cu.edu.eg/Dataset_BUSI.zip",
                "Dataset_BUSI.zip",
                "b2ce09f6063a31a73f628b6a6ee1245187cbaec225e93e563735691d68654de7",
            ),
            KaggleSet("aryashah2k/breast-ultrasound-images-dataset"),
        )
    ),
    "udiat": Mirrors(
        (),
        (
            "print http://www2.docm.mmu.ac.uk/STAFF/m.yap/files/BUS_ReleaseAgreement.pdf",
            "fill it in, sign it, and e-mail it to the author named at its end",
            "wait for the folder with 'original', 'GT' and 'DatasetB.xlsx'",
            "put that folder, or its archive, into the folder udiat of the raw data",
        ),
    ),
    "hc18": Mirrors(
        (
            Links(
                (
                    Link(
                        f"{_ZENODO}/training_set.zip",
                        "training_set.zip",
                        size=132_926_838,
                        sha256="fd20d7909df892cfbdc0850de18072dbdad4dc3bc0a57202d4cc818d4715de36",
                    ),
                    # copies with either end of line are about, so nothing fixes its bytes
                    Link(
                        f"{_ZENODO}/training_set_pixel_size_and_HC.csv",
                        "training_set_pixel_size_and_HC.csv",
                        "csv",
                    ),
                )
            ),
        )
    ),
    "camus": Mirrors(
        (
            GirderCollection(
                "https://humanheart-project.creatis.insa-lyon.fr/database/api/v1",
                "6373703d73e9f0047faa1bc8",
                {
                    "database_nifti": re.compile(r"patient\d{4}"),
                    "database_split": re.compile(r"(?!)"),  # its own files, no folder in it
                },
                # the terms come along with the pictures they are of
                re.compile(rf"{_STILL}|subgroup_\w+\.txt|information\.txt|LICENSE_TERMS\.md"),
            ),
        ),
        ("if the site asks for it, register there (free), download in a browser, and unpack",),
    ),
    "hmc_qu": Mirrors((KaggleSet("aysendegerli/hmcqu-dataset"),)),
    "mmotu": Mirrors(
        (DriveFolder("1c5n0fVKrM9-SZE1kacTXPt1pt844iAs1", "OTU_2d"),),
        (
            "figshare's copy (article 25058690, CC BY 4.0) does not do: it lacks the 267 normal "
            "ovaries and has folders of its own",
        ),
    ),
    "tn3k": Mirrors(
        _THYROID,
        (
            "or unpack TN3K.rar of the Hugging Face data set haifan-gong/TN3K with "
            "`unar TN3K.rar` or `7z x TN3K.rar` and put the folder, not the RAR, into tn3k; it "
            "holds neither TG3K nor DDTI",
        ),
    ),
    "tg3k": Mirrors(_THYROID, folder="tn3k"),
    "ddti": Mirrors(
        (
            *_drive("1wwlsEhwfSyvQsJBRjeDLhUjqZh8eaH2R", "DDTI.zip"),
            # the original form, 466 pictures in place of 637
            KaggleSet("dasmehdixtr/ddti-thyroid-ultrasound-images"),
            _link("http://cimalab.unal.edu.co/applications/thyroid/thyroid.zip", "thyroid.zip"),
            _link("http://cimalab.intec.co/applications/thyroid/thyroid.zip", "thyroid.zip"),
        ),
        ("it is also in TN3K's archive: `usbench download tn3k`",),
    ),
}
