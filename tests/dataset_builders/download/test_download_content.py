"""What came is the release, or it is said what is changed, missing or short."""

import gzip
import hashlib
import shutil
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builders.download import content
from dataset_builders.download.content import FORMS, TABLE, as_reported, check, fingerprint
from dataset_builders.grouping import table
from dataset_builders.sources import SOURCES

FILES = {f"Dataset/benign/benign ({n}).png": f"picture {n}".encode() * 9 for n in (1, 2, 3)}
KNOWN = {"benign/benign (1).png": 1, "benign/benign (3).png": 3}


@pytest.fixture
def release(monkeypatch):
    """BUSI as if it had three pictures, of which the originals of two are known."""
    form = {"benign": (r"benign/benign \(\d+\)\.png", 3)}
    rows = tuple(
        {"source": "busi", "member": name, "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in ((name, FILES[f"Dataset/{name}"]) for name in KNOWN)
    )
    monkeypatch.setattr(content, "FORMS", {"busi": (form,)})
    monkeypatch.setattr(content, "table", lambda _: rows)


def laid_out(folder: Path, files: dict[str, bytes], zipped: bool) -> Path:
    folder.mkdir()
    if zipped:
        with zipfile.ZipFile(folder / "Dataset_BUSI.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    return folder


@pytest.fixture(params=[True, False], ids=["in a zip", "unpacked"])
def lay(request, release, tmp_path):
    return lambda files, name="busi": laid_out(tmp_path / name, files, request.param)


def test_the_release_has_no_problem(lay):
    findings = check("busi", [lay(FILES)])
    assert findings.problem == ""
    assert findings.compared == 2


def test_further_files_and_copies_are_no_harm(lay, tmp_path):
    lay(FILES | {"Dataset/benign/benign (4).png": b"more", "readme.txt": b"read"})
    laid_out(tmp_path / "copy", FILES, zipped=True)
    assert check("busi", [tmp_path / "busi", tmp_path / "copy"]).problem == ""


@given(data=st.data())
def test_any_flipped_bit_of_a_known_member_is_found_and_named(data):
    name = data.draw(st.sampled_from(sorted(KNOWN)))
    original = FILES[f"Dataset/{name}"]
    bit = data.draw(st.integers(0, 8 * len(original) - 1))
    flipped = bytearray(original)
    flipped[bit // 8] ^= 1 << bit % 8
    assert fingerprint(name, bytes(flipped)) != hashlib.sha256(original).hexdigest()


@pytest.mark.parametrize("known", sorted(KNOWN))
def test_a_changed_member_is_named_with_its_place(lay, known):
    name = f"Dataset/{known}"
    folder = lay(FILES | {name: FILES[name][:-1] + b"\0"})
    findings = check("busi", [folder])
    assert len(findings.changed) == 1
    assert name in findings.changed[0]
    assert f"not the original: '{findings.changed[0]}'" in findings.problem


def test_a_missing_member_is_told_as_incomplete(lay):
    gone = {name: data for name, data in FILES.items() if "(3)" not in name}
    problem = check("busi", [lay(gone)]).problem
    assert problem == ("incomplete: benign holds 2 of 3 files, among them 'benign/benign (3).png'")


def test_a_missing_member_that_is_not_known_byte_by_byte_is_counted(lay):
    gone = {name: data for name, data in FILES.items() if "(2)" not in name}
    assert check("busi", [lay(gone)]).problem == "incomplete: benign holds 2 of 3 files"


def test_a_copy_does_not_stand_in_for_a_missing_picture(lay, tmp_path):
    gone = {name: data for name, data in FILES.items() if "(2)" not in name}
    lay(gone)
    laid_out(tmp_path / "copy", gone, zipped=True)
    problem = check("busi", [tmp_path / "busi", tmp_path / "copy"]).problem
    assert problem == "incomplete: benign holds 2 of 3 files"


def test_a_file_of_that_name_in_another_folder_is_another_file(lay):
    findings = check("busi", [lay(FILES | {"Dataset/thumbnails/benign (1).png": b"small"})])
    assert (findings.problem, findings.compared) == ("", 2)


def test_the_rest_may_lie_in_another_folder(lay, tmp_path):
    first, *others = FILES.items()
    lay(dict([first]), "one")
    lay(dict(others), "two")
    assert check("busi", [tmp_path / "one"]).problem
    assert check("busi", [tmp_path / "one", tmp_path / "two"]).problem == ""


def test_something_else_altogether_is_told(lay):
    problem = check("busi", [lay({"paper.pdf": b"%PDF", "x/benign.png": b"1"})]).problem
    assert problem == "none of the source's files is there"


def test_a_source_without_a_release_on_record_is_not_compared(release, tmp_path):
    assert check("udiat", [tmp_path]).problem == ""


def nifti(values: np.ndarray, seconds: int) -> bytes:
    raw = nibabel.Nifti1Image(values, np.diag([-0.3, -0.3, 1, 1])).to_bytes()
    return gzip.compress(raw, mtime=seconds)


def test_of_nifti_the_voxels_count_and_not_the_packing():
    values = np.arange(48, dtype=np.float32).reshape(6, 8)
    name = "patient0001_4CH_ED.nii.gz"
    packed = fingerprint(name, nifti(values, 1))
    assert len(packed) == 64
    assert fingerprint(name, nifti(values, 2)) == packed
    assert fingerprint(name[:-3], gzip.decompress(nifti(values, 1))) == packed
    values[3, 4] += 1
    assert fingerprint(name, nifti(values, 1)) != packed
    assert fingerprint(name, nifti(values, 1)[:-20]) == ""
    assert fingerprint(name, nifti(values + 0.5, 1)) == ""


def test_what_others_report_is_told_and_refuses_nothing(tmp_path):
    file = tmp_path / "x.zip"
    file.write_bytes(b"12345")
    right = hashlib.sha256(b"12345").hexdigest()
    assert as_reported(file, None, None) == []
    assert as_reported(file, 5, right) == ["x.zip is the archive that others report"]
    for size, sha256 in ((4, right), (5, right[::-1]), (None, right[::-1])):
        assert "only its content was checked" in as_reported(file, size, sha256)[0]


def test_the_table_names_members_of_known_forms_once():
    rows = table(TABLE)
    assert Counter(row["source"] for row in rows) == {
        **{"busi": 30, "hc18": 27, "camus": 16, "hmc_qu": 4, "mmotu": 48, "tn3k": 8, "ddti": 48}
    }
    assert len({(row["source"], row["member"]) for row in rows}) == len(rows)
    assert {row["source"] for row in rows} <= FORMS.keys() <= SOURCES.keys()
    assert all(len(row["sha256"]) == 64 and int(row["sha256"], 16) for row in rows)
    assert not any(PurePosixPath(row["member"]).is_absolute() for row in rows)


def test_the_counts_are_those_of_the_builders():
    counts = {s: [sum(n for _, n in form.values()) for form in FORMS[s]] for s in FORMS}
    expected = {name: max(SOURCES[name].expected.values()) for name in FORMS}
    assert counts["busi"] == [1578]
    assert counts["hc18"][0] == 2 * expected["hc18"]
    assert counts["camus"] == [2 * expected["camus"]]
    for name in ("mmotu", "tn3k", "tg3k", "ddti"):
        assert counts[name][0] == 2 * expected[name]


@pytest.mark.parametrize("source", sorted(FORMS))
def test_originals_are_recognised_and_a_changed_one_is_not(source, sample_root, tmp_path):
    folder = shutil.copytree(sample_root / source, tmp_path / source)
    known = sum(row["source"] == source for row in table(TABLE))
    findings = check(source, [folder])
    assert (findings.compared, findings.changed, findings.missing) == (known, [], [])
    assert findings.short  # a few files of a release
    if known:
        victim = next(
            path
            for row in table(TABLE)
            if row["source"] == source
            for path in folder.rglob(row["member"])
        )
        victim.write_bytes(victim.read_bytes()[:-1])
        assert any(victim.name in place for place in check(source, [folder]).changed)
