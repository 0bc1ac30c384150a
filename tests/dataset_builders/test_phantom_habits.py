"""The publishers' odd habits, kept in the synthetic archives."""

import cv2
import nibabel
import numpy as np
import openpyxl
import pytest
from phantom_archives import IMAGES, SIZE, Archives, picture
from scipy import ndimage
from scipy.io import loadmat

from dataset_builders import phantom
from dataset_builders.acquire import Finder


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Archives:
    return Archives.drawn(tmp_path_factory.mktemp("phantom"))


def test_busi_stores_masks_three_ways_and_several_an_image(archives):
    def kind(name: str) -> tuple[int, int]:  # bits a channel, colour type of PNG
        header = archives.file("busi", f"Dataset_BUSI_with_GT/{name}.png").read_bytes()
        return header[24], header[25]

    assert kind("benign/benign (1)") == (8, 2)
    assert kind("benign/benign (1)_mask") == (1, 0)
    assert kind("benign/benign (4)_mask_1") == (8, 6)
    assert kind("normal/normal (1)_mask") == (8, 2)
    lesions = {item.source_id: sample for item, sample in archives.read("busi")}
    for name, count in {"benign (1)": 1, "benign (4)": 2, "benign (5)": 3}.items():
        assert ndimage.label(lesions[name].mask)[1] == count
    assert [name for name, sample in lesions.items() if not sample.encoded] == ["benign (2)"]


def test_udiat_has_gaps_in_its_numbers_and_a_table(archives):
    numbers = [int(item.source_id) for item in archives.index("udiat").items]
    assert max(numbers) > len(numbers)
    sheet = openpyxl.load_workbook(archives.files("udiat")["DatasetB.xlsx"]).worksheets[0]
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[0] == ("Image", "Type", "Diagnosis")
    assert [row[0] for row in rows[1:]] == numbers


def test_hc18_outlines_are_thin_and_one_is_open_at_the_edge(archives):
    files = archives.files("hc18")
    ends = {}
    for name, file in files.items():
        if name.endswith("_Annotation.png"):
            outline = picture(file)
            assert set(np.unique(outline)) == {0, 255}
            ends[name] = ndimage.binary_fill_holes(outline).sum() > 5 * (outline > 0).sum()
    assert list(ends.values()).count(False) == 1  # a flood leaks out of it
    exams = [item.group for item in archives.index("hc18").items]
    assert max(map(exams.count, exams)) == 3


def test_hc18_table_fits_its_outlines(archives):
    table = archives.file("hc18", "training_set_pixel_size_and_HC.csv")
    lines = table.read_text().splitlines()
    assert lines[0] == "filename,pixel size(mm),head circumference (mm)"
    for name, pixel, circumference in (line.split(",") for line in lines[1:-1]):  # the last is cut
        annotation = name.replace(".png", "_Annotation.png")
        outline = picture(archives.file("hc18", f"training_set/{annotation}"))
        _, (width, height), _ = cv2.fitEllipse(cv2.findNonZero(outline))
        a, b = width / 2, height / 2
        pixels = np.pi * (3 * (a + b) - np.sqrt((3 * a + b) * (a + 3 * b)))
        assert pixels * float(pixel) == pytest.approx(float(circumference), rel=0.02)


def test_camus_axes_labels_and_spacing(archives):
    files = archives.files("camus")
    image, mask = (
        nibabel.load(files[f"database_nifti/patient0002/patient0002_4CH_ED{end}.nii.gz"])
        for end in ("", "_gt")
    )
    assert image.get_data_dtype() == mask.get_data_dtype() == np.float32
    assert image.header.get_zooms() == pytest.approx((0.308, 0.308))
    lateral, depth = np.argwhere(image.get_fdata() > 0).T
    near, far = lateral[depth < 5], lateral[depth > depth.max() / 2]
    assert np.ptp(near) < np.ptp(far) / 4  # the apex of the sector is where depth begins
    assert near.mean() == pytest.approx(image.shape[0] / 2, rel=0.1)
    labels = mask.get_fdata()
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    cavity, wall, atrium = (np.argwhere(labels == label)[:, 1].mean() for label in (1, 2, 3))
    assert wall < cavity < atrium - 0.2 * image.shape[1]


def test_camus_has_a_patient_in_the_old_layout(archives):
    files = archives.files("camus")
    assert "training/patient0001/patient0001_2CH_ED.mhd" in files
    assert not any("database_nifti/patient0001/" in name for name in files)
    samples = {item.group: sample for item, sample in archives.read("camus")}
    for patient, spacing in {"patient0001": (0.154, 0.308), "patient0002": (0.308, 0.308)}.items():
        assert samples[patient].spacing_mm == spacing
        height, width = np.multiply(samples[patient].mask.shape, spacing)
        assert 0.7 < height / width < 1  # in mm


def test_camus_has_one_exam_under_two_numbers(archives):
    stills = {item.source_id: sample for item, sample in archives.read("camus")}
    same = {
        end: np.array_equal(stills[f"patient0033_{end}"].image, stills[f"patient0068_{end}"].image)
        for end in ("2CH_ED", "2CH_ES", "4CH_ED", "4CH_ES")
    }
    assert same == {"2CH_ED": False, "2CH_ES": False, "4CH_ED": True, "4CH_ES": False}


def test_hmc_qu_sheet_clips_and_masks_agree(archives):
    files = archives.files("hmc_qu")
    rows = list(openpyxl.load_workbook(files["A4C.xlsx"]).worksheets[0].iter_rows(values_only=True))
    assert rows[0][0] == "ECHO"
    assert rows[1][7:9] == ("Reference Frame", "End of Cycle")
    clips = [row for row in rows[2:] if row[0]]
    assert {row[9] for row in clips} == {"ü", "û"}
    assert {row[7] for row in clips} > {1}
    assert {"ES0001 _4CH_1", "ES0002_4CH_1"} < {row[0] for row in clips}  # blanks here and there
    for echo, *_, first, last, has_masks in clips:
        video = cv2.VideoCapture(str(files[f"HMC-QU/A4C/{echo}.avi"]))
        assert int(video.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") == b"MJPG"
        assert video.get(cv2.CAP_PROP_FRAME_COUNT) > last
        name = f"LV Ground-truth Segmentation Masks/Mask_{echo}.mat"
        assert (name in files) == (has_masks == "ü")
        if name in files:
            predicted = loadmat(files[name])["predicted"]
            assert predicted.shape == (last - first + 1, 224, 224)
            assert predicted.dtype == np.float32


def test_hmc_qu_masks_belong_to_the_frames_from_the_reference_on(archives):
    files = archives.files("hmc_qu")
    clip = "ES0002_4CH_1"  # reference frame 4
    masks = loadmat(files[f"LV Ground-truth Segmentation Masks/Mask_{clip}.mat"])["predicted"] > 0
    video = cv2.VideoCapture(str(files[f"HMC-QU/A4C/{clip}.avi"]))
    frames = [cv2.resize(video.read()[1], (224, 224)).mean(axis=2) for _ in range(4 + len(masks))]

    def brightness_of_the_wall(first: int) -> float:
        return np.mean([frames[first + i][mask].mean() for i, mask in enumerate(masks)])

    assert np.argmax([brightness_of_the_wall(first) for first in range(5)]) == 3


def test_mmotu_stores_each_mask_three_times(archives):
    files = archives.files("mmotu")
    masks = {name: file for name, file in files.items() if "OTU_2d/annotations/" in name}
    assert len(masks) == 3 * len(archives.index("mmotu").items)
    for name, file in masks.items():
        mask = picture(file)
        if "_binary" in name:
            assert set(np.unique(mask)) == {0, 1}
        else:
            colours = np.unique(mask.reshape(-1, 3), axis=0)
            assert [0, 0, 0] in colours.tolist()
            assert len(colours) == 2
            binary = picture(files[name.replace(".PNG", "_binary.PNG")])
            assert np.array_equal(mask.any(axis=2), binary > 0)


def test_mmotu_neighbours_show_one_picture(archives):
    samples = {item.source_id: (item, sample) for item, sample in archives.read("mmotu")}
    (item, sample), (twin, copy) = samples["366"], samples["368"]
    assert item.group == twin.group
    assert sample.image.shape == copy.image.shape
    assert not np.array_equal(sample.image, copy.image)
    small = [cv2.resize(s.image.mean(axis=2), (48, 48)).ravel() for s in (sample, copy)]
    assert np.corrcoef(small)[0, 1] > 0.95


def test_tn3k_counts_twice_from_zero_and_rings_in_its_masks(archives):
    files = archives.files("tn3k")
    masks = [file for name, file in files.items() if "/tn3k/" in name and "-mask/" in name]
    assert {file.parent.name for file in masks if file.name == "0000.jpg"} == {
        "trainval-mask",
        "test-mask",
    }
    levels = np.unique(np.concatenate([picture(file).ravel() for file in masks]))
    assert len(levels) > 10
    assert not ((levels > 30) & (levels < 225)).any()
    fold = archives.file("tn3k", "tn3k/tn3k-trainval-fold1.json").read_text()
    assert '"val": [1, 6, 11]' in fold


def test_tg3k_masks_hold_specks_of_text(archives):
    for item, sample in archives.read("tg3k"):
        stored = picture(item.files[1]) > 127
        assert stored[:8, :12].any()
        assert not sample.mask[:8, :12].any()
    videos = [item.group for item in archives.index("tg3k").items]
    assert len(set(videos)) == 15  # of the sixteen frames


def test_ddti_has_halves_and_one_picture_twice(archives):
    samples = {item.source_id: sample for item, sample in archives.read("ddti")}
    assert np.array_equal(samples["1"].image, samples["2"].image)
    assert not np.array_equal(samples["1"].mask, samples["2"].mask)
    left = [name for name in samples if len(name) == 5 and name[0] == "1"]
    assert len(left) == IMAGES // 4
    for name in left:
        halves = samples[name], samples[f"2{name[1:]}"]
        assert sum(half.image.shape[1] for half in halves) == SIZE


def test_ddti_original_has_broken_and_empty_marks(archives, tmp_path):
    phantom.write(tmp_path, images=IMAGES, size=SIZE, sources=["ddti"], ddti_form="original")
    original = Archives(tmp_path, Finder(tmp_path, tmp_path / "scratch"))
    assert any("arrow" in file.read_text() for file in (tmp_path / "ddti/thyroid").glob("*.xml"))
    reasons = original.index("ddti").skipped.values()
    assert sorted(reasons) == ["its mark breaks off in outline 2", "its mark is empty"]
    whole = next(sample for item, sample in original.read("ddti") if item.source_id == "1_1")
    cut = next(sample for item, sample in archives.read("ddti") if item.source_id == "1")
    assert np.array_equal(whole.mask, cut.mask)
    assert whole.image.shape == cut.image.shape
    assert len(picture(tmp_path / "ddti/thyroid/1_1.jpg").shape) == 3
