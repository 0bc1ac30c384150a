"""Masks of any pictures: those that a run is scored by, of the input's size; nothing is lost."""

import csv
import re
from functools import cache

import cv2
import nibabel
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import typer
from dicom_files import write_dicom
from typer.testing import CliRunner

from benchmark import record
from benchmark.commands.predict import predict
from benchmark.dataset import square
from benchmark.evaluate import stretch
from benchmark.masks import unpack
from benchmark.method import Setup
from benchmark.metrics import NATIVE_COLUMNS, measure
from benchmark.pictures.inputs import find_inputs
from benchmark.predict import load_model
from benchmark.protocol import PRESETS
from benchmark.resolve import Request
from benchmark.run import run
from benchmark.weights import path_of, save_weights, weights_of
from dataset_builders.images import encode_png
from propl.method import ProPL

CPU = torch.device("cpu")
TINY = {"size": 32, "encoder": "test_resnet", "weights": "none", "text": "random"}
RNG = np.random.default_rng(0)

loaded = cache(load_model)

app = typer.Typer()
app.command()(predict)


def usbench(*words):
    """`usbench predict` with these words; whitespace of its answer is made single."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, re.sub(r"\s+", " ", done.output)


def speckle(height, width):
    noise = cv2.GaussianBlur(RNG.random((height, width)), (0, 0), 5)
    return np.rint((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)


def write_png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(pixels))
    return path


def read_mask(path):
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 255}
    return mask > 0


def expected(weights, task, pixels):
    """The probability at the input's size, by the method itself."""
    model = loaded(weights, task, CPU)
    tasks = torch.tensor([model.method.setup.tasks.index(task)])
    image = torch.tensor(square(pixels, 32))[None].float() / 255
    with torch.inference_mode():
        probs = model.method.predict(image, tasks)[0, 0].numpy()
    return stretch(probs, pixels.shape[:2])


@pytest.fixture(scope="module")
def results(small_data, tmp_path_factory):
    """A run of U-Net on a grey and a colour task, and weights of ProPL without a run."""
    folder = tmp_path_factory.mktemp("results")
    asked = Request(
        "unet", "1_4", tasks=("FH", "OT"), preset="smoke", data=small_data, results=folder,
        overrides={**TINY, "steps": 1, "batch": 4}, device="cpu",
    )  # fmt: skip
    run(asked)
    protocol = PRESETS["smoke"].with_(**TINY)
    torch.manual_seed(0)
    propl = ProPL(ProPL.Config(), Setup(("FH", "LV", "OT"), protocol, 0))
    save_weights(path_of(folder, "propl/1_4/seed0", "all"), propl, {})
    return folder


@pytest.fixture(scope="module")
def weights(results):
    return weights_of(results, "unet/1_4/seed0")["FH"]


@pytest.fixture
def scan(tmp_path):
    return write_png(tmp_path / "scan.png", speckle(50, 71))


# the masks


@pytest.mark.parametrize("task", ["FH", "OT"])
def test_a_test_image_gets_the_very_mask_of_the_record(results, small_data, tmp_path, task):
    (shard,) = small_data.glob(f"{task}/test-*.parquet")
    rows = pq.read_table(shard, columns=["id", "image", "mask"]).to_pylist()
    for number, row in enumerate(rows):
        (tmp_path / f"{number}.png").write_bytes(row["image"]["bytes"])
    code, _ = usbench(
        *[tmp_path / f"{number}.png" for number in range(len(rows))],
        *("--task", task, "--run", "unet/1_4/seed0", "--results", results),
        *("--out", tmp_path / "out", "--device", "cpu"),
    )
    assert code == 0
    path = record.path_of(results, "unet/1_4/seed0").with_suffix(".parquet")
    scored = pd.read_parquet(path).set_index("id")
    any_foreground = False
    for number, row in enumerate(rows):
        pred = read_mask(tmp_path / f"out/{number}_mask.png")
        statistics = measure(pred[None], unpack(row["mask"]["bytes"])[None])
        found = [values[0] for values in statistics.values()]
        np.testing.assert_array_equal(found, scored.loc[row["id"], list(NATIVE_COLUMNS)].tolist())
        any_foreground |= 0 < pred.mean() < 1
    assert any_foreground


def test_a_universal_model_is_asked_for_the_task(results, tmp_path):
    pixels = speckle(40, 60)
    write_png(tmp_path / "scan.png", pixels)
    weights = path_of(results, "propl/1_4/seed0", "all")
    probs = {}
    for task in ("FH", "LV"):
        probs[task] = expected(weights, task, pixels)
        code, _ = usbench(
            tmp_path / "scan.png", "--task", task, "--checkpoint", weights,
            "--out", tmp_path / task, "--device", "cpu",
        )  # fmt: skip
        assert code == 0
        found = stretch(loaded(weights, task, CPU).probabilities([pixels])[0], (40, 60))
        np.testing.assert_allclose(found, probs[task], atol=1e-6)
        mask = read_mask(tmp_path / task / "scan_mask.png")
        np.testing.assert_array_equal(mask, probs[task] > 0.5)
    assert np.abs(probs["FH"] - probs["LV"]).max() > 1e-4


def test_grey_pictures_serve_a_task_in_colour_and_colour_a_grey_one(results):
    run_weights = weights_of(results, "unet/1_4/seed0")
    grey, colour = speckle(44, 55), np.dstack([speckle(44, 55) for _ in range(3)])
    for task, given, seen in (
        ("OT", grey, np.dstack([grey] * 3)),
        ("OT", colour, colour),
        ("FH", colour, cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)),
    ):
        found = loaded(run_weights[task], task, CPU).probabilities([given])[0]
        right = expected(run_weights[task], task, seen)
        np.testing.assert_allclose(stretch(found, (44, 55)), right, atol=1e-6)


# the files


def test_mask_overlay_and_summary(weights, scan, tmp_path):
    code, said = usbench(scan, "--task", "FH", "--checkpoint", weights, "--out", tmp_path / "out")
    assert (code, said) == (0, f"masks: {tmp_path / 'out'} (frames: 1, errors: 0) ")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["scan_mask.png", "scan_overlay.png", "summary.csv"]
    pixels = cv2.imread(str(scan), cv2.IMREAD_GRAYSCALE)
    probs = expected(weights, "FH", pixels)
    mask = read_mask(tmp_path / "out/scan_mask.png")
    np.testing.assert_array_equal(mask, probs > 0.5)
    assert 0 < mask.mean() < 1
    (row,) = csv.DictReader((tmp_path / "out/summary.csv").open())
    assert row == {
        "file": str(scan),
        "frame": "1",
        "width": "71",
        "height": "50",
        "area_share": str(round(mask.mean(), 6)),
        "mean_probability_inside": row["mean_probability_inside"],
        "mask": "scan_mask.png",
    }
    assert float(row["mean_probability_inside"]) == pytest.approx(probs[mask].mean(), abs=2e-6)


def test_the_overlay_is_the_picture_with_the_mask_s_border_in_orange(weights, scan, tmp_path):
    usbench(scan, "--task", "FH", "--checkpoint", weights, "--out", tmp_path)
    overlay = cv2.imread(str(tmp_path / "scan_overlay.png"), cv2.IMREAD_COLOR_RGB)
    mask = read_mask(tmp_path / "scan_mask.png")
    orange = (overlay == (230, 159, 0)).all(axis=2)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3)), borderValue=0) > 0
    assert orange.any()
    assert not orange[inner].any()
    assert not orange[~mask].any()
    grey = cv2.imread(str(scan), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(overlay[~orange], np.dstack([grey] * 3)[~orange])


def test_a_nifti_volume_gets_masks_on_its_axes(weights, tmp_path):
    values = np.stack([speckle(30, 41), speckle(30, 41), speckle(30, 41)]).transpose(2, 1, 0)
    affine = np.array([[0, -0.3, 0, 5], [0.2, 0, 0, -7], [0, 0, 1.5, 9], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "heart.nii.gz")
    out = tmp_path / "out"
    code, _ = usbench(
        tmp_path / "heart.nii.gz", "--task", "FH", "--checkpoint", weights, "--out", out
    )
    assert code == 0
    volume = nibabel.load(out / "heart_mask.nii.gz")
    masks = np.asarray(volume.dataobj)
    assert masks.dtype == np.uint8
    assert masks.shape == values.shape
    np.testing.assert_allclose(volume.affine, affine)
    np.testing.assert_allclose(volume.header.get_zooms(), (0.2, 0.3, 1.5), rtol=1e-6)
    for plane in range(3):
        png = read_mask(out / f"heart_{plane + 1:03}_mask.png")
        np.testing.assert_array_equal(masks[:, :, plane].T, png)
        probs = expected(weights, "FH", np.ascontiguousarray(values[:, :, plane].T))
        np.testing.assert_array_equal(png, probs > 0.5)
    assert 0 < masks.mean() < 1


def test_times_of_a_nifti_keep_their_place_and_files_their_frames(weights, tmp_path):
    values = np.stack([speckle(20, 20) for _ in range(6)], axis=-1).reshape(20, 20, 2, 3)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    nibabel.save(nibabel.Nifti1Image(values[:, :, 0, 0], np.eye(4)), tmp_path / "b.nii")
    out = tmp_path / "out"
    code, _ = usbench(tmp_path, "--task", "FH", "--checkpoint", weights, "--out", out)
    assert code == 0
    masks = np.asarray(nibabel.load(out / "a_mask.nii.gz").dataobj)
    assert masks.shape == values.shape
    for plane, time in np.ndindex(2, 3):
        probs = expected(weights, "FH", np.ascontiguousarray(values[:, :, plane, time].T))
        np.testing.assert_array_equal(masks[:, :, plane, time].T, probs > 0.5)
    alone = np.asarray(nibabel.load(out / "b_mask.nii.gz").dataobj)
    np.testing.assert_array_equal(alone, masks[:, :, 0, 0])


def test_frames_of_a_dicom_film_are_numbered_across_batches(weights, tmp_path):
    film = np.stack([speckle(24, 30) for _ in range(70)])  # more than a batch of 64
    write_dicom(tmp_path / "clip", film, "MONOCHROME2")
    out = tmp_path / "out"
    code, said = usbench(tmp_path / "clip", "--task", "FH", "--checkpoint", weights, "--out", out)
    assert (code, "frames: 70" in said) == (0, True)
    assert len(list(out.glob("clip_0??_mask.png"))) == 70
    rows = list(csv.DictReader((out / "summary.csv").open()))
    assert [row["frame"] for row in rows] == [str(number) for number in range(1, 71)]
    for number in (1, 65, 70):
        probs = expected(weights, "FH", film[number - 1])
        np.testing.assert_array_equal(read_mask(out / f"clip_{number:03}_mask.png"), probs > 0.5)


# which inputs


def test_folders_keep_equal_names_apart(weights, tmp_path):
    for name in ("in/a/scan.png", "in/b/scan.png", "in/b/c/scan.png"):
        write_png(tmp_path / name, speckle(20, 20))
    (tmp_path / "in/notes.txt").write_text("no picture")
    (tmp_path / "in/.hidden.png").write_text("")
    out = tmp_path / "in/out"
    for again in ([], ["--overwrite"]):  # the second finds the outputs of the first in the folder
        code, _ = usbench(
            tmp_path / "in", "--task", "FH", "--checkpoint", weights, "--out", out, *again
        )
        assert code == 0
        masks = {path.relative_to(out).as_posix() for path in out.rglob("*_mask.png")}
        assert masks == {"a/scan_mask.png", "b/scan_mask.png", "b/c/scan_mask.png"}


def names_of(arguments, outside="out"):
    inputs, problems = find_inputs([str(argument) for argument in arguments], outside)
    return [source.name.as_posix() for source in inputs], [str(problem) for problem in problems]


def test_names_of_outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/x.png", "b/x.png", "b/x.v2.nii.gz", "c/[1].png", "c/y.png", "g/h/z.png"):
        write_png(tmp_path / name, speckle(8, 8))
    write_dicom(tmp_path / "c/y", speckle(8, 8)[None], "MONOCHROME2")
    assert names_of(["a/x.png"]) == (["x"], [])
    assert names_of(["a/x.png", "b/x.png"]) == (["a/x", "b/x"], [])
    assert names_of(["a/x.png", "./a/../a/x.png", "a"]) == (["x"], [])
    assert names_of(["b"]) == (["x", "x.v2"], [])
    assert names_of(["c/[1].png"]) == (["[1]"], [])
    assert names_of(["c"]) == (["[1]", "y", "y.png"], [])  # only the ending tells the last two
    assert names_of(["*/x.*"]) == (["a/x", "b/x", "b/x.v2"], [])
    assert names_of(["**/z.png", "**/x.png"]) == (["g/h/z", "a/x", "b/x"], [])
    assert names_of(["."], outside=".") == names_of(["."])
    names, problems = names_of(["d", "*.jpg", "a"])
    assert names == ["x"]
    assert problems == [f"{name}: nothing is there; check the path" for name in ("d", "*.jpg")]
    (tmp_path / "d").mkdir()
    assert "d: the folder holds no PNG, JPEG" in names_of(["d"])[1][0]


# what goes wrong


def test_unreadable_files_are_named_and_the_others_done(weights, scan, tmp_path):
    (tmp_path / "broken.png").write_bytes(scan.read_bytes()[:200])
    (tmp_path / "notes.txt").write_text("no picture")
    code, said = usbench(
        tmp_path / "broken.png", scan, tmp_path / "notes.txt", tmp_path / "none.jpg",
        "--task", "FH", "--checkpoint", weights, "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 1
    assert f"Error: {tmp_path / 'broken.png'}: it cannot be read as PNG" in said
    assert f"Error: {tmp_path / 'notes.txt'}: it is no PNG, JPEG" in said
    assert f"Error: {tmp_path / 'none.jpg'}: nothing is there" in said
    assert "(frames: 1, errors: 3)" in said
    assert read_mask(tmp_path / "out/scan_mask.png").shape == (50, 71)


def test_nothing_is_overwritten_unless_asked(weights, scan, tmp_path):
    out = tmp_path / "out"
    words = (scan, "--task", "FH", "--checkpoint", weights, "--out", out)
    assert usbench(*words)[0] == 0
    (out / "scan_mask.png").write_text("mine")
    code, said = usbench(*words)
    assert code == 2
    assert f"{out / 'summary.csv'} is there already; name another folder with --out" in said
    (out / "summary.csv").unlink()
    code, said = usbench(*words)
    assert code == 1
    assert f"{out / 'scan_mask.png'} is there already" in said
    assert (out / "scan_mask.png").read_text() == "mine"
    assert usbench(*words, "--overwrite")[0] == 0
    assert read_mask(out / "scan_mask.png").shape == (50, 71)
    assert not list(out.glob("*.tmp"))


def test_neither_inputs_nor_each_other_s_masks_are_overwritten(weights, tmp_path):
    write_png(tmp_path / "scan.png", speckle(20, 20))
    truth = write_png(tmp_path / "scan_mask.png", speckle(20, 20)).read_bytes()
    write_png(tmp_path / "film_001.png", speckle(20, 20))
    write_dicom(tmp_path / "film.dcm", np.stack([speckle(20, 20)] * 2), "MONOCHROME2")
    code, said = usbench(
        tmp_path, "--task", "FH", "--checkpoint", weights, "--out", tmp_path, "--overwrite"
    )
    assert code == 1
    assert f"{tmp_path / 'scan_mask.png'} is an input, or of another input" in said
    assert f"{tmp_path / 'film_001_mask.png'} is an input, or of another input" in said
    assert "(frames: 3, errors: 2)" in said
    assert (tmp_path / "scan_mask.png").read_bytes() == truth


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "FH"], "name the model by one of --run and --checkpoint"),
        (["--task", "FH", "--run", "a", "--checkpoint", "b"], "by one of --run and --checkpoint"),
        (["--task", "XX", "--run", "unet/1_4/seed0"], "unknown task 'XX'"),
        (["--task", "FH", "--run", "unet/1_4/seed9"], "did you mean 'unet/1_4/seed0'?"),
        (["--task", "LV", "--run", "unet/1_4/seed0"], "has no model for task LV; it has: FH, OT"),
        (["--task", "FH", "--checkpoint", "none"], "none holds no trained weights"),
        (["--task", "FH", "--run", "none.json"], "none.json"),
        (["--task", "FH", "--run", "unet/1_4/seed0", "--device", "gpu"], "unknown device 'gpu'"),
    ],
)
def test_bad_usage(results, scan, tmp_path, words, message):
    code, said = usbench(scan, *words, "--results", results, "--out", tmp_path / "out")
    assert code == 2
    assert message in said
    assert not (tmp_path / "out").exists()


def test_a_task_that_a_checkpoint_does_not_serve(results, weights, scan, tmp_path):
    universal = path_of(results, "propl/1_4/seed0", "all")
    for path, served in ((weights, "FH"), (universal, "FH, LV, OT")):
        code, said = usbench(scan, "--task", "TN", "--checkpoint", path, "--out", tmp_path / "out")
        assert code == 2
        assert f"{path} is no model for task TN; it serves: {served}" in said


def test_no_picture_at_all(results, tmp_path):
    code, said = usbench(tmp_path / "none.png", "--task", "FH", "--run", "x")
    assert code == 2
    assert "none.png: nothing is there" in said


def test_a_run_is_found_by_its_record_wherever_it_lies(results, scan, tmp_path):
    path = record.path_of(results, "unet/1_4/seed0")
    code, _ = usbench(scan, "--task", "OT", "--run", path, "--out", tmp_path / "a")
    assert code == 0
    copy = tmp_path / "copy.json"  # the folder of results must be named then
    copy.write_bytes(path.read_bytes())
    code, _ = usbench(
        scan, "--task", "OT", "--run", copy, "--results", results, "--out", tmp_path / "b"
    )
    assert code == 0
    first, second = (tmp_path / f"{name}/scan_mask.png" for name in "ab")
    assert first.read_bytes() == second.read_bytes()
