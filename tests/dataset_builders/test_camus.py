"""CAMUS: both layouts, the exam under two numbers, and everything a file can have wrong."""

import gzip
from pathlib import Path, PurePosixPath

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dataset_builders.camus import CAMUS
from dataset_builders.schema import Item, Sample, SourceError

LABELS = np.array([[0, 1, 2], [3, 1, 0]])  # (depth, width)
IMAGE = np.array([[0, 50, 100], [150, 200, 255]])

MHD = """ObjectType = Image
NDims = 3
CompressedData = {compressed}
ElementSpacing = 0.308 0.154 1.54
DimSize = {size}
ElementType = {element}
ElementDataFile = {data}
"""


def files_of(root: Path) -> dict[PurePosixPath, Path]:
    return {
        PurePosixPath(path.relative_to(root).as_posix()): path
        for path in root.rglob("*")
        if path.is_file()
    }


def items_of(root: Path) -> dict[str, Item]:
    return {item.id: item for item in CAMUS().index(files_of(root)).items}


def sample(root: Path, still: str, task: str = "LV") -> Sample:
    return CAMUS().read(items_of(root)[f"{task}/camus/{still}"])


def write_nifti(file, pixels, spacing=0.308, dtype=np.float32):
    """A picture (depth, width) as the publisher writes it: width first, as float."""
    file.parent.mkdir(parents=True, exist_ok=True)
    volume = nibabel.Nifti1Image(np.asarray(pixels).T.astype(dtype), np.diag([-1, -1, 1, 1]))
    volume.header.set_zooms((spacing,) * volume.ndim)
    nibabel.save(volume, file)


def write_still(root, still="patient0007_4CH_ED", image=IMAGE, labels=LABELS, suffix=".nii.gz"):
    folder = root / "database_nifti" / still[:11]
    write_nifti(folder / f"{still}{suffix}", image)
    write_nifti(folder / f"{still}_gt{suffix}", labels)


def write_old(root, still="patient0007_4CH_ED", part="training", **fields):
    folder = root / part / still[:11]
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in ((still, IMAGE), (f"{still}_gt", LABELS)):
        header = {"compressed": "False", "size": "3 2 1", "element": "MET_UCHAR"} | fields
        (folder / f"{name}.mhd").write_text(MHD.format(**{"data": f"{name}.raw"} | header))
        (folder / f"{name}.raw").write_bytes(pixels.astype(np.uint8).tobytes())


# the publisher's files


def test_official_release_has_6000_items_of_499_patients(sample_root):
    """All of the publisher's patients, by name: nothing is opened while listing."""
    split = sample_root / "camus" / "database_split"
    patients = [name for file in split.glob("subgroup_*.txt") for name in file.read_text().split()]
    names = [
        f"{patient}_{view}_{phase}{role}.nii.gz"
        for patient in patients
        for view in ("2CH", "4CH")
        for phase in ("ED", "ES", "half_sequence")
        for role in ("", "_gt")
    ]
    paths = [PurePosixPath(f"CAMUS_public/database_nifti/{name[:11]}/{name}") for name in names]
    listing = CAMUS().index({path: Path(path) for path in paths})
    for task, expected in CAMUS.expected.items():
        assert sum(item.task == task for item in listing.items) == expected == 2000
    assert len({item.id for item in listing.items}) == 6000
    assert len({item.group for item in listing.items}) == 499
    assert listing.skipped == {}


def test_sample_lists_each_still_once_for_three_tasks(sample_root):
    items = items_of(sample_root / "camus")
    assert len(items) == 30
    assert {item.group for item in items.values()} == {
        "patient0001",
        "patient0002",
        "patient0033",
    }
    four, two = items["MD/camus/patient0001_4CH_ED"], items["MD/camus/patient0001_2CH_ED"]
    assert [file.name for file in four.files] == [  # it is there in the old layout, too
        "patient0001_4CH_ED.nii.gz",
        "patient0001_4CH_ED_gt.nii.gz",
    ]
    assert [file.suffix for file in two.files] == [".mhd", ".mhd"]
    assert (four.view, two.view) == ("4CH", "2CH")


@pytest.mark.parametrize(
    ("task", "area", "centre"),  # centre: down and across, as a share of the image
    [("LA", 11410, (0.863, 0.570)), ("LV", 33394, (0.444, 0.550)), ("MD", 16164, (0.412, 0.547))],
)
def test_nifti_orientation_labels_and_spacing(sample_root, task, area, centre):
    got = sample(sample_root / "camus", "patient0001_4CH_ED", task)
    assert got.image.shape == (389, 549)
    assert got.spacing_mm == (0.308, 0.308)
    assert got.encoded is None
    assert got.mask.sum() == area
    found = [axis.mean() / size for axis, size in zip(got.mask.nonzero(), (389, 549), strict=True)]
    assert found == pytest.approx(centre, abs=0.001)
    lit = np.count_nonzero(got.image, axis=1)
    assert lit[5] < lit[50] < lit[150] < lit[300]  # the sector opens downwards


def test_one_exam_under_two_numbers_is_one_group(sample_root):
    items = items_of(sample_root / "camus")
    first, second = (items[f"LV/camus/patient00{n}_4CH_ED"] for n in (33, 68))
    assert first.group == second.group == "patient0033"
    first, second = CAMUS().read(first), CAMUS().read(second)
    assert np.array_equal(first.image, second.image)
    assert not np.array_equal(first.mask, second.mask)


def test_old_layout_is_the_same_picture_with_twice_the_rows(sample_root):
    new = sample(sample_root / "camus", "patient0001_4CH_ED")
    old = sample(sample_root / "camus" / "old_mhd_layout", "patient0001_4CH_ED")
    assert old.image.shape == (778, 549)
    assert old.spacing_mm == (0.154, 0.308)
    assert np.corrcoef(old.image[::2].ravel(), new.image.ravel())[0, 1] > 0.9999
    both = np.logical_and(old.mask[::2], new.mask).sum()
    assert 2 * both / (old.mask[::2].sum() + new.mask.sum()) == pytest.approx(0.997, abs=0.001)


# small files


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), suffix=st.sampled_from([".nii", ".nii.gz"]))
def test_nifti_pixels_come_back(tmp_path, data, suffix):
    shape = data.draw(st.tuples(st.integers(2, 7), st.integers(2, 7)))
    image = data.draw(arrays(np.uint8, shape))
    labels = data.draw(arrays(np.uint8, shape, elements=st.integers(0, 3)))
    labels[0, 0], labels[0, 1], labels[1, 0] = 1, 2, 3
    still = f"patient{data.draw(st.integers(0, 9999)):04d}_2CH_ES"
    root = tmp_path / suffix / still
    write_still(root, still, image, labels, suffix)
    for task, label in {"LA": 3, "LV": 1, "MD": 2}.items():
        got = sample(root, still, task)
        assert np.array_equal(got.image, image)
        assert np.array_equal(got.mask, labels == label)


def test_spacing_is_height_then_width_and_unset_is_unknown(tmp_path):
    write_still(tmp_path)
    file = tmp_path / "database_nifti" / "patient0007" / "patient0007_4CH_ED.nii.gz"
    write_nifti(file, IMAGE, spacing=1.0)
    assert sample(tmp_path, "patient0007_4CH_ED").spacing_mm is None
    volume = nibabel.load(file)
    volume.header.set_zooms((0.5, 0.25))
    nibabel.save(volume, file)
    assert sample(tmp_path, "patient0007_4CH_ED").spacing_mm == (0.25, 0.5)


def test_old_layout_pixels_and_patients_without_masks(tmp_path):
    write_old(tmp_path)
    write_old(tmp_path, part="testing")  # another patient under a number of training/
    (tmp_path / "testing" / "patient0007" / "patient0007_4CH_ED_gt.mhd").unlink()
    (tmp_path / "training" / "patient0007" / "patient0007_4CH_sequence.mhd").write_text("")
    listing = CAMUS().index(files_of(tmp_path))
    assert [item.source_id for item in listing.items] == ["patient0007_4CH_ED"] * 3
    assert all("training" in item.files[0].parts for item in listing.items)
    assert listing.skipped == {"testing": "1 files of other patients under numbers of training/"}
    got = CAMUS().read(listing.items[0])
    assert got.item.task == "LA"
    assert np.array_equal(got.image, IMAGE)
    assert np.array_equal(got.mask, LABELS == 3)


def test_items_come_in_order_of_names_whatever_the_order_of_files(tmp_path):
    for still in ("patient0010_2CH_ES", "patient0009_4CH_ED", "patient0009_2CH_ED"):
        write_still(tmp_path, still)
    files = files_of(tmp_path)
    listing = CAMUS().index(files)
    assert [item.source_id for item in listing.items[::3]] == [
        "patient0009_2CH_ED",
        "patient0009_4CH_ED",
        "patient0010_2CH_ES",
    ]
    assert CAMUS().index(dict(reversed(files.items()))) == listing


# what can be wrong


@pytest.mark.parametrize("write", [write_still, write_old])
@pytest.mark.parametrize(("lost", "left"), [("", "_gt"), ("_gt", "")])
def test_half_a_pair_is_named(tmp_path, write, lost, left):
    write(tmp_path)
    (gone,) = tmp_path.rglob(f"patient0007_4CH_ED{lost}.[nm]*")
    gone.unlink()
    with pytest.raises(SourceError, match=f"'patient0007_4CH_ED{left}\\.[nm].*'{lost}\\..*missing"):
        CAMUS().index(files_of(tmp_path))


def test_nothing_recognised_states_the_layout(tmp_path):
    (tmp_path / "patient0007_4CH_half_sequence.nii.gz").write_bytes(b"x")
    (tmp_path / "._patient0007_4CH_ED.nii.gz").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"patient0001_4CH_ED\.nii\.gz.*download the collection"):
        CAMUS().index(files_of(tmp_path))


def test_two_files_of_one_name(tmp_path):
    write_still(tmp_path)
    write_still(tmp_path, suffix=".nii")
    with pytest.raises(SourceError, match=r"two different files of one name; keep one"):
        CAMUS().index(files_of(tmp_path))


@pytest.mark.parametrize(
    ("image", "labels", "problem"),
    [
        (IMAGE, LABELS.T, r"image is 3x2 but its mask is 2x3"),
        (IMAGE, LABELS + 1, r"_gt\.nii\.gz': label 4, 0 to 3 are right"),
        (IMAGE, LABELS * 0.5, r"_gt\.nii\.gz': values other than whole numbers"),
        (IMAGE, LABELS * 0, r"mask is empty"),
        (IMAGE + 1, LABELS, r"ED\.nii\.gz': values other than .* from 0 to 255"),
        (IMAGE - 1, LABELS, r"ED\.nii\.gz': values other than .* from 0 to 255"),
        (IMAGE * np.nan, LABELS, r"ED\.nii\.gz': values other than .* from 0 to 255"),
        (IMAGE[None], LABELS, r"ED\.nii\.gz': not a picture .*\(3, 2, 1\)"),
    ],
)
def test_wrong_nifti_is_refused(tmp_path, image, labels, problem):
    write_still(tmp_path, image=image, labels=labels)
    with pytest.raises(SourceError, match=problem):
        sample(tmp_path, "patient0007_4CH_ED")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:40],
        lambda data: data[: len(data) // 2],
        lambda data: data[:30] + b"\xff\xff\xff" + data[33:],
        lambda data: gzip.compress(gzip.decompress(data)[:-4]),
        lambda data: b"\x89PNG\r\n\x1a\n",
    ],
)
def test_damaged_nifti_is_refused(tmp_path, damage):
    labels = np.random.default_rng(0).integers(0, 4, (60, 50))
    write_still(tmp_path, image=np.zeros((60, 50)), labels=labels)
    (file,) = tmp_path.rglob("*ED_gt.nii.gz")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(SourceError, match=r"ED_gt\.nii\.gz': not a picture in NIfTI.*get it again"):
        sample(tmp_path, "patient0007_4CH_ED")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"compressed": "True"}, "CompressedData True"),
        ({"element": "MET_SHORT"}, "ElementType MET_SHORT"),
        ({"size": "3 2 20"}, "20 slices"),
        ({"size": "3 2"}, "not a MetaImage header"),
        ({"size": "3 x 1"}, "not a MetaImage header"),
        ({"size": "3 3 1"}, r"'patient0007_4CH_ED\.raw': 6 bytes for 3x3 pixels"),
        ({"size": "-3 -2 1"}, "6 bytes for -3x-2 pixels"),
        ({"data": "LOCAL"}, "'LOCAL'"),
        ({"data": "../patient0008.raw"}, "in a file beside it"),
    ],
)
def test_wrong_metaimage_is_refused(tmp_path, fields, problem):
    write_old(tmp_path, **fields)
    with pytest.raises(SourceError, match=problem):
        sample(tmp_path, "patient0007_4CH_ED")


def test_short_or_missing_raw_file(tmp_path):
    write_old(tmp_path)
    (raw,) = tmp_path.rglob("*ED_gt.raw")
    raw.write_bytes(raw.read_bytes()[:-1])
    with pytest.raises(SourceError, match=r"ED_gt\.raw': 5 bytes for 3x2 pixels; get it again"):
        sample(tmp_path, "patient0007_4CH_ED")
    raw.unlink()
    with pytest.raises(SourceError, match=r"ED_gt\.raw'"):
        sample(tmp_path, "patient0007_4CH_ED")
