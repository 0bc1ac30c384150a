"""HMC-QU: odd names, which mask belongs to which frame, and everything a file can have wrong."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import openpyxl
import pytest
from scipy.io import savemat

from dataset_builders.hmc_qu import HMCQU
from dataset_builders.schema import SourceError

ECHO = "ES0007 n_4CH_2"
SIZE = (64, 48)  # width, height
TITLES = ["ECHO", "LABEL", None, "One cardiac-cycle frames", None]
HEADINGS = [
    None,
    "SEG3",
    "SEG9",
    "Reference Frame",
    "End of Cycle",
    "Available: ü Not Available: û",
]
MARK = "LV Wall Ground-truth Segmentation Masks"


def files_of(root: Path) -> dict[PurePosixPath, Path]:
    return {
        PurePosixPath(path.relative_to(root).as_posix()): path
        for path in root.rglob("*")
        if path.is_file()
    }


def items_of(root):
    return HMCQU().index(files_of(root)).items


def write_sheet(file, *rows, mark=MARK):
    """Rows of (echo, reference frame, end of cycle, tick)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    book.active.append([*TITLES, mark])
    book.active.append(HEADINGS)
    for echo, first, last, tick in rows:
        book.active.append([echo, "MI", "non-MI", first, last, tick])
    book.active.append([None] * 6)
    book.save(file)


def write_clip(file, frames=9, colour=lambda number: (20 * number,) * 3):
    """Frames of one colour each, BGR, nearly as given: the codec is lossy."""
    file.parent.mkdir(parents=True, exist_ok=True)
    video = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 25, SIZE)
    for number in range(frames):
        video.write(np.full((SIZE[1], SIZE[0], 3), colour(number), np.uint8))
    video.release()


def write_masks(file, masks, key="predicted"):
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {key: masks.astype(np.float32)}, do_compression=True)


def masks_of(count):
    """Mask i covers the columns left of 56 (i + 1), but for the upper half."""
    masks = np.zeros((count, 224, 224))
    for number in range(count):
        masks[number, 112:, : 56 * (number + 1)] = 1
    return masks


@pytest.fixture
def archive(tmp_path):
    """One clip of nine frames with masks of the fourth to the sixth."""
    write_sheet(tmp_path / "A4C.xlsx", (ECHO, 4, 6, "ü"), ("ES0008 n_4CH_1", 1, 9, "û"))
    write_clip(tmp_path / "HMC-QU" / "A4C" / f"{ECHO}.avi")
    write_clip(tmp_path / "HMC-QU" / "A2C" / "ES0007 n_2CH_1.avi")
    write_masks(mat_of(tmp_path), masks_of(3))
    return tmp_path


def mat_of(root, echo=ECHO):
    return root / "LV Ground-truth Segmentation Masks" / f"Mask_{echo}.mat"


# the publisher's files


@pytest.fixture
def names(sample_root):
    """Clip -> (reference frame, end of cycle), of all that the publisher's sheet ticks."""
    book = openpyxl.load_workbook(sample_root / "hmc_qu" / "A4C.xlsx", data_only=True)
    rows = book.active.iter_rows(min_row=3, values_only=True)
    return {row[0]: (row[7], row[8]) for row in rows if row[9] == "ü"}


def test_official_release_has_2349_frames_of_109_patients(sample_root, names):
    """All of the publisher's clips, by name: nothing but the sheet is opened while listing."""
    paths = {PurePosixPath("archive/A4C.xlsx"): sample_root / "hmc_qu" / "A4C.xlsx"}
    for echo in names:
        for path in (
            f"archive/HMC-QU/A4C/{echo}.avi",
            f"archive/LV Ground-truth Segmentation Masks/Mask_{echo}.mat",
        ):
            paths[PurePosixPath(path)] = Path(path)
    listing = HMCQU().index(paths)
    assert len(listing.items) == HMCQU.expected["MD"] == 2349
    assert len({item.id for item in listing.items}) == 2349
    assert len({item.group for item in listing.items}) == 109
    assert listing.skipped == {}
    by_id = {item.source_id: item for item in listing.items}
    for name, group in {
        "ES0001 _4CH_1#00": "patient001",
        "ES000120_4CH_1#00": "patient120",
        "ES000155 n_4CH_1#00": "patient155",
        "ES00051 N_4CH_2#00": "patient051",
    }.items():
        assert by_id[name].group == group
    late = {item.source_id for item in listing.items if item.frame and "#00" in item.source_id}
    assert len(late) == 9
    for echo, (reference, end) in names.items():
        frames = [item.frame for item in listing.items if item.source_id.startswith(f"{echo}#")]
        assert frames == list(range(reference - 1, end))


def test_sample_clips_masks_and_what_is_absent(sample_root):
    listing = HMCQU().index(files_of(sample_root / "hmc_qu"))
    ids = [item.source_id for item in listing.items]
    assert ids[0] == "ES0001 _4CH_1#00"
    assert ids[19:21] == ["ES0001 _4CH_1#19", "ES00010 _4CH_1#00"]
    assert len(ids) == 20 + 21
    assert len(listing.skipped) == 107
    assert listing.skipped["ES000155 n_4CH_1"] == "no .avi and no .mat file"
    assert {(item.task, item.view) for item in listing.items} == {("MD", "A4C")}


def test_sample_wall_is_a_bright_horseshoe_on_the_native_frame(sample_root):
    source = HMCQU()
    for item in items_of(sample_root / "hmc_qu")[::5]:
        sample = source.read(item)
        assert sample.image.shape == sample.mask.shape == (422, 636)
        assert sample.spacing_mm is None
        rows = np.flatnonzero(sample.mask.any(axis=1))
        arch, legs = (sample.mask[row].astype(int) for row in (rows[2], rows[-25]))
        assert np.count_nonzero(np.diff(arch)) == 2
        assert np.count_nonzero(np.diff(legs)) == 4  # open below, towards the valve
        ring = cv2.dilate(sample.mask.astype(np.uint8), np.ones((25, 25))) > sample.mask
        assert sample.image[sample.mask].mean() > 1.5 * sample.image[ring].mean()
    first = source.read(items_of(sample_root / "hmc_qu")[0])
    assert first.mask.sum() == 14548


# small files


def test_mask_i_shows_frame_reference_plus_i(archive):
    source = HMCQU()
    items = items_of(archive)
    assert [(item.source_id, item.frame) for item in items] == [
        (f"{ECHO}#00", 3),
        (f"{ECHO}#01", 4),
        (f"{ECHO}#02", 5),
    ]
    for item in reversed(items):
        sample = source.read(item)
        assert sample.image.shape == (48, 64)
        assert sample.image.mean() == pytest.approx(20 * item.frame, abs=3)
        right = np.zeros((48, 64), bool)
        right[24:, : 16 * (item.frame - 2)] = True
        assert np.array_equal(sample.mask, right)


def test_tinted_frames_turn_grey_by_luma(archive):
    (clip,) = archive.rglob(f"{ECHO}.avi")
    write_clip(clip, colour=lambda number: (200, 100, 0))  # blue, green, red
    image = HMCQU().read(items_of(archive)[0]).image
    assert image.mean() == pytest.approx(0.114 * 200 + 0.587 * 100, abs=3)


def test_first_release_is_read_and_the_newer_sheet_preferred(archive):
    now = items_of(archive)
    (archive / "HMC-QU" / "A4C").rename(archive / "HMC-QU Echos")
    (archive / "A4C.xlsx").rename(archive / "HMC_QU.xlsx")
    then = items_of(archive)
    assert [item.id for item in then] == [item.id for item in now]
    assert HMCQU().read(then[0]).mask.any()
    write_sheet(archive / "A4C.xlsx", (ECHO, 5, 7, "ü"))
    assert [item.frame for item in items_of(archive)] == [4, 5, 6]


@pytest.mark.parametrize(("lost", "reason"), [("*.avi", "no .avi file"), ("*.mat", "no .mat file")])
def test_clip_without_its_video_or_its_masks_is_skipped(archive, lost, reason):
    write_sheet(archive / "A4C.xlsx", (ECHO, 4, 6, "ü"), ("ES0009_4CH_1", 1, 3, "ü"))
    write_clip(archive / "HMC-QU" / "A4C" / "ES0009_4CH_1.avi")
    write_masks(mat_of(archive, "ES0009_4CH_1"), masks_of(3))
    for path in archive.rglob(lost):
        if "ES0007" in path.name:
            path.unlink()
    listing = HMCQU().index(files_of(archive))
    assert listing.skipped == {ECHO: reason}
    assert {item.group for item in listing.items} == {"patient009"}


def test_threads_read_the_same_and_decode_a_clip_once(sample_root, monkeypatch):
    items = items_of(sample_root / "hmc_qu")
    opened = []
    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda *a: opened.append(a[0]) or capture(*a))
    source = HMCQU()
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(source.read, items))
    assert len(opened) == 2
    for item, sample in list(zip(items, threaded, strict=True))[::-7]:
        again = HMCQU().read(item)
        assert np.array_equal(sample.image, again.image)
        assert np.array_equal(sample.mask, again.mask)


def test_samples_are_the_callers_own(archive):
    source = HMCQU()
    item = items_of(archive)[0]
    before = source.read(item)
    kept = before.image.copy(), before.mask.copy()
    before.image[:] = 255
    before.mask[:] = True
    after = source.read(item)
    assert np.array_equal(after.image, kept[0])
    assert np.array_equal(after.mask, kept[1])


# what can be wrong


def test_nothing_recognised_states_the_layout(tmp_path):
    (tmp_path / "A4C.xlsx").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"HMC-QU/A4C/ES0001 _4CH_1\.avi.*download"):
        items_of(tmp_path)


def test_no_sheet(archive):
    (archive / "A4C.xlsx").unlink()
    with pytest.raises(SourceError, match=r"'A4C\.xlsx': is missing.*get it again: download"):
        items_of(archive)


def test_no_clip_with_its_masks(archive):
    mat_of(archive).unlink()
    with pytest.raises(SourceError, match=r"'A4C\.xlsx': not one of its clips"):
        items_of(archive)


def test_masks_under_a_changed_name(archive):
    mat_of(archive).rename(mat_of(archive, ECHO.replace(" ", "_")))
    with pytest.raises(
        SourceError, match=r"'Mask_ES0007_n_4CH_2\.mat': .*no clip 'ES0007_n_4CH_2'.*blanks"
    ):
        items_of(archive)


def test_masks_of_a_clip_without_tick(archive):
    write_masks(mat_of(archive, "ES0008 n_4CH_1"), masks_of(9))
    with pytest.raises(SourceError, match=r"marks no clip 'ES0008 n_4CH_1'"):
        items_of(archive)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ((ECHO, 0, 6, "ü"), f"'{ECHO}' has frames '0' to '6'"),
        ((ECHO, 7, 6, "ü"), f"'{ECHO}' has frames '7' to '6'"),
        ((ECHO, 1, None, "ü"), f"'{ECHO}' has frames '1' to 'None'"),
        ((ECHO, 1, "six", "ü"), f"'{ECHO}' has frames '1' to 'six'"),
        ((None, 1, 6, "ü"), "'None' is no name of a clip"),
    ],
)
def test_wrong_row(archive, row, problem):
    write_sheet(archive / "A4C.xlsx", row)
    with pytest.raises(SourceError, match=problem):
        items_of(archive)


def test_sheet_without_a_column(archive):
    write_sheet(archive / "A4C.xlsx", (ECHO, 4, 6, "ü"), mark="Masks")
    with pytest.raises(SourceError, match=f"'A4C.xlsx': lacks the columns {MARK}"):
        items_of(archive)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-200]])
def test_damaged_sheet(archive, damage):
    sheet = archive / "A4C.xlsx"
    sheet.write_bytes(damage(sheet.read_bytes()))
    with pytest.raises(SourceError, match=r"'A4C\.xlsx': not a spreadsheet"):
        items_of(archive)


@pytest.mark.parametrize(
    ("masks", "key", "problem"),
    [
        (masks_of(2), "predicted", r"holds \(2, 224, 224\) as 'predicted', .*\(3, 224, 224\)"),
        (masks_of(3)[:, :200], "predicted", r"holds \(3, 200, 224\) as 'predicted'"),
        (masks_of(3), "mask", r"holds nothing as 'predicted'"),
        (masks_of(3) * 0.5, "predicted", r"values other than 0 and 1"),
        (masks_of(3) * 0, "predicted", r"mask is empty"),
    ],
)
def test_wrong_masks(archive, masks, key, problem):
    write_masks(mat_of(archive), masks, key)
    with pytest.raises(SourceError, match=problem):
        HMCQU().read(items_of(archive)[0])


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:200], lambda data: data[:150] + data[170:]]
)
def test_damaged_masks(archive, damage):
    mat = mat_of(archive)
    mat.write_bytes(damage(mat.read_bytes()))
    with pytest.raises(SourceError, match=r"_2\.mat': not a MATLAB file .*get it again"):
        HMCQU().read(items_of(archive)[0])


def test_clip_that_ends_early(archive):
    (clip,) = archive.rglob(f"{ECHO}.avi")
    write_clip(clip, frames=5)
    with pytest.raises(SourceError, match=r"_2\.avi': 5 frames can be decoded, 6 are needed"):
        HMCQU().read(items_of(archive)[0])


def test_clip_that_is_no_video(archive):
    (clip,) = archive.rglob(f"{ECHO}.avi")
    clip.write_bytes(b"RIFF")
    with pytest.raises(SourceError, match=r"_2\.avi': 0 frames can be decoded"):
        HMCQU().read(items_of(archive)[0])
