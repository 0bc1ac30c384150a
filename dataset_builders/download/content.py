"""Whether what came is the release: nothing lacking, and known files equal to the originals.

An archive's checksum says little here: CAMUS is packed anew for every download, mirrors pack in
their own way, and what others report was measured on archives that nobody here had. What the
benchmark is made of are the members, so they are what is checked:

- each folder of a release must hold as many pictures as the publishers' copy (further files are no
  harm);
- files in `tables/members_sha256.csv` must have the bytes of the original. Those were known byte by
  byte from copies that agree, some for each source but Dataset B and TG3K.

Of CAMUS only the voxels can be compared, as its originals were at hand without the compression:
two gzip files of one picture differ by who packed them and when.
"""

import gzip
import hashlib
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import nibabel
import numpy as np

from dataset_builders.grouping import table
from dataset_builders.images import pixel_sha256

TABLE = "members_sha256.csv"

Member = tuple[PurePosixPath, str, Callable[[], bytes]]  # path, where that is, what it holds
Form = Mapping[str, tuple[str, int]]  # folder -> pattern of its pictures, how many a release has

# The forms each source comes in. A form is checked where any file of it is found.
FORMS: Mapping[str, tuple[Form, ...]] = {
    "busi": (
        {
            "benign": (r"benign/benign \(\d+\)(_mask(_\d)?)?\.png", 891),
            "malignant": (r"malignant/malignant \(\d+\)(_mask(_\d)?)?\.png", 421),
            "normal": (r"normal/normal \(\d+\)(_mask(_\d)?)?\.png", 266),
        },
    ),
    "hc18": (
        {"training_set": (r"training_set/\d{3}_\d?HC(_Annotation)?\.png", 1998)},
        {"test_set": (r"test_set/\d{3}_HC\.png", 335)},
    ),
    "camus": ({"database_nifti": (r"patient\d{4}_[24]CH_E[DS](_gt)?\.nii(\.gz)?", 4000)},),
    "hmc_qu": (
        {
            "LV Ground-truth Segmentation Masks": (r"Mask_ES[^/]+\.mat", 109),
            "HMC-QU/A4C": (r"(A4C|HMC-QU Echos)/ES[^/]+\.avi", 162),
        },
    ),
    "mmotu": (
        {
            "images": (r"OTU_2d/images/\d+\.JPG", 1469),
            "annotations": (r"OTU_2d/annotations/\d+\.PNG", 1469),
        },
    ),
    "tn3k": (
        {
            "trainval-image": (r"trainval-image/\d{4}\.jpg", 2879),
            "trainval-mask": (r"trainval-mask/\d{4}\.jpg", 2879),
            "test-image": (r"test-image/\d{4}\.jpg", 614),
            "test-mask": (r"test-mask/\d{4}\.jpg", 614),
        },
    ),
    "tg3k": (
        {
            "thyroid-image": (r"thyroid-image/\d{4}\.jpg", 3585),
            "thyroid-mask": (r"thyroid-mask/\d{4}\.jpg", 3585),
        },
    ),
    "ddti": (
        {
            "1_or_data/image": (r"1_or_data/image/\d+\.PNG", 637),
            "1_or_data/mask": (r"1_or_data/mask/\d+\.PNG", 637),
        },
        {"jpg": (r"\d+_\d+\.jpg", 480), "xml": (r"\d+\.xml", 390)},
    ),
}


@dataclass(slots=True)
class Findings:
    """What is not as in the release."""

    changed: list[str] = field(default_factory=list)  # where they are; bytes not the original's
    missing: list[str] = field(default_factory=list)  # those known byte by byte that are absent
    short: list[str] = field(default_factory=list)  # "benign holds 890 of 891 pictures"
    strange: bool = False  # no form of the source is there
    damaged: list[str] = field(default_factory=list)  # archives that cannot be read, and why
    compared: int = 0  # members that were compared with their originals

    @property
    def problem(self) -> str:
        """In one line; empty if all is well."""
        parts = []
        if self.damaged:
            parts.append(f"an archive is damaged: {'; '.join(self.damaged)}")
        elif self.strange:
            parts.append("none of the source's files is there")
        if self.changed:
            parts.append(f"not the original: {_few(self.changed)}")
        if self.short or self.missing:
            lacking = f", among them {_few(self.missing)}" if self.missing else ""
            parts.append(f"incomplete: {'; '.join(self.short) or 'files lack'}{lacking}")
        return "; ".join(parts)


def check(source: str, folders: Iterable[Path]) -> Findings:
    """Compare what lies in some folders, zip archives included, with the source's release.

    Args:
        source: its name; one without a release on record is not compared.
        folders: together they hold the source.
    """
    originals = _originals(source)
    forms = [
        {folder: (re.compile(rf"(?:^|/){text}$"), count) for folder, (text, count) in form.items()}
        for form in FORMS.get(source, ())
    ]
    patterns = [(folder, pattern) for form in forms for folder, (pattern, _) in form.items()]
    seen: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    absent = {member for members in originals.values() for member in members}
    findings = Findings()
    for path, place, read in _members(folders, findings.damaged):
        for folder, pattern in patterns:
            if pattern.search(path.as_posix()):
                seen[folder].add(path.parts[-2:])  # a copy beside its archive counts once
        for member, sha256 in originals.get(path.name, {}).items():
            if path.parts[-len(member.parts) :] == member.parts:
                absent.discard(member)
                findings.compared += 1
                if _fingerprint_of(path.name, read) != sha256:
                    findings.changed.append(place)
    findings.strange = bool(forms) and not any(seen.values())
    for form in forms:
        if any(seen[folder] for folder in form):
            _find_lacking(form, seen, sorted(map(str, absent)), findings)
    return findings


def _find_lacking(
    form: Mapping[str, tuple[re.Pattern[str], int]],
    seen: Mapping[str, Collection[object]],
    absent: Iterable[str],
    findings: Findings,
) -> None:
    """Note what a form lacks, of which some files are here."""
    for folder, (pattern, count) in form.items():
        if len(seen[folder]) < count:
            findings.short.append(f"{folder} holds {len(seen[folder])} of {count} files")
        findings.missing += [name for name in absent if pattern.search(name)]


def as_reported(file: Path, size: int | None, sha256: str | None) -> list[str]:
    """Whether a file is the one that others had, in a sentence; none if nothing is known of theirs.

    Args:
        file: to look at.
        size: bytes they report.
        sha256: of its bytes, as they report.
    """
    if size is None and sha256 is None:
        return []
    same = size in (None, file.stat().st_size)
    if same and sha256 is not None:
        with file.open("rb") as opened:
            same = hashlib.file_digest(opened, "sha256").hexdigest() == sha256
    if same:
        return [f"{file.name} is the archive that others report"]
    return [f"{file.name} is not the archive that others report, so only its content was checked"]


def _fingerprint_of(name: str, read: Callable[[], bytes]) -> str:
    """As `fingerprint`; empty too of a member that does not unpack."""
    try:
        return fingerprint(name, read())
    except Exception:  # zipfile has a dozen kinds of them for damaged input
        return ""


def fingerprint(name: str, data: bytes) -> str:
    """SHA-256 of a file's bytes, or of the picture in a NIfTI file; empty if there is none.

    Args:
        name: of the file; its ending tells.
        data: its bytes.
    """
    if not name.endswith((".nii", ".nii.gz")):
        return hashlib.sha256(data).hexdigest()
    try:
        raw = gzip.decompress(data) if name.endswith(".gz") else data
        values = np.asarray(nibabel.Nifti1Image.from_bytes(raw).dataobj)
    except Exception:  # a damaged file may raise nibabel's, gzip's or zlib's own
        return ""
    whole = np.clip(np.rint(values), 0, 255)
    if not np.array_equal(whole, values):
        return ""
    return pixel_sha256(whole.T.astype(np.uint8, order="C"))


def _originals(source: str) -> dict[str, dict[PurePosixPath, str]]:
    """Name without folders -> the members so called, each with its fingerprint."""
    known: dict[str, dict[PurePosixPath, str]] = defaultdict(dict)
    for row in table(TABLE):
        if row["source"] == source:
            member = PurePosixPath(row["member"])
            known[member.name][member] = row["sha256"]
    return known


def _members(folders: Iterable[Path], damaged: list[str]) -> Iterator[Member]:
    """All files and members of zip archives; of archives that cannot be opened `damaged` tells."""
    for folder in folders:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            inside = PurePosixPath(file.relative_to(folder).as_posix())
            place = f"{folder.name}/{inside}"
            if file.suffix.lower() != ".zip":
                yield inside, place, file.read_bytes
                continue
            try:
                archive = zipfile.ZipFile(file)
            except Exception as error:  # of a dozen kinds too
                damaged.append(f"'{file}' ({error})")
                continue
            with archive:
                for info in archive.infolist():
                    if not info.is_dir():
                        member = PurePosixPath(info.filename)
                        yield member, f"{member} in {place}", partial(archive.read, info)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name}'" for name in names[:3]) + more
