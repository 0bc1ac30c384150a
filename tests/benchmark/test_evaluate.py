"""One row per test image: at the protocol's size, at the image's own, and as pictures."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmark.dataset import Images, Native
from benchmark.evaluate import evaluate
from benchmark.masks import pack, unpack
from benchmark.metrics import COLUMNS, NATIVE_COLUMNS, measure

SIZE = 32
SHAPES = [(50, 80), (50, 80), (31, 20), (97, 64), (32, 32)]  # native
CPU = torch.device("cpu")


def probability(pixels: np.ndarray) -> torch.Tensor:
    """Of grey values; the power keeps interpolated ones from being one half exactly."""
    return (torch.from_numpy(pixels).float() / 255) ** 1.1


class Fixed:
    """In place of a method: foreground where the image is bright."""

    def __init__(self) -> None:
        self.asked: list[torch.Tensor] = []

    def eval(self) -> None:
        pass

    def predict(self, images: torch.Tensor, tasks: torch.Tensor) -> torch.Tensor:
        self.asked.append(tasks)
        return images[:, :1] ** 1.1


@pytest.fixture
def images() -> Images:
    """Blurred noise of values on both sides of one half; the last is dark all over."""
    rng = np.random.default_rng(0)
    noise = [cv2.GaussianBlur(rng.random((SIZE, SIZE)), (0, 0), 3) for _ in SHAPES]
    pixels = np.stack([(n - n.min()) / (n.max() - n.min()) * 255 for n in noise])
    pixels[-1] = 100
    masks = rng.random(pixels.shape) < 0.3
    ids = [f"FH/hc18/{i}" for i in range(len(SHAPES))]
    return Images("FH", ids, ids, pixels.astype(np.uint8)[:, None], masks.astype(np.uint8))


@pytest.fixture
def native() -> Native:
    rng = np.random.default_rng(1)
    masks = [cv2.GaussianBlur(rng.random(shape), (0, 0), 4) > 0.5 for shape in SHAPES]
    spacing_mm = [0.1, 0.1, np.nan, 0.4, np.nan]
    return Native(list(map(pack, masks)), spacing_mm, [None, "FH/hc18/7", None, None, None])


@pytest.fixture
def rows(images, native) -> pd.DataFrame:
    return evaluate(Fixed(), images, native, 3, CPU, batch=2)


def test_names_spacing_and_duplicates_stand_in_the_rows(rows, images, native):
    assert rows["task"].tolist() == ["FH"] * len(SHAPES)
    assert rows["id"].tolist() == rows["group"].tolist() == images.ids
    assert rows["duplicate_of"].isna().tolist() == [True, False, True, True, True]
    assert rows["duplicate_of"][1] == "FH/hc18/7"
    np.testing.assert_array_equal(rows["spacing_mm"], native.spacing_mm)


def test_pictures_and_statistics_are_of_the_same_masks(rows, images):
    preds = probability(images.pixels[:, 0]).numpy() > 0.5
    np.testing.assert_array_equal(np.stack(rows["pred_png"].map(unpack)), preds)
    np.testing.assert_array_equal(np.stack(rows["mask_png"].map(unpack)), images.masks > 0)
    for name, values in measure(preds, images.masks).items():
        np.testing.assert_array_equal(rows[name], values)
    assert (rows["tp"] + rows["fp"]).iloc[-1] == 0


def test_native_statistics_are_of_the_resized_probability(rows, images, native):
    for i, (height, width) in enumerate(SHAPES):
        probs = probability(images.pixels[i])[None]
        # torch's bilinear form, without antialiasing, in place of OpenCV's
        resized = torch.nn.functional.interpolate(probs, (height, width), mode="bilinear")
        pred = resized[0].numpy() > 0.5
        expected = measure(pred, unpack(native.masks[i])[None])
        for name, (value,) in expected.items():
            assert rows[f"native_{name}"][i] == pytest.approx(value, nan_ok=True), name
    assert rows["native_height_px"].tolist() == [height for height, _ in SHAPES]
    pred = probability(images.pixels[0, 0]).numpy() > 0.5
    enlarged = cv2.resize(pred * 1.0, SHAPES[0][::-1], interpolation=cv2.INTER_NEAREST)
    assert enlarged.sum() != rows["native_tp"][0] + rows["native_fp"][0]


def test_rows_do_not_depend_on_the_batch(rows, images, native):
    done = []
    method = Fixed()
    alone = evaluate(method, images, native, 3, CPU, batch=100, advance=done.append)
    pd.testing.assert_frame_equal(alone, rows)
    assert done == [len(SHAPES)]
    assert [tasks.tolist() for tasks in method.asked] == [[3] * len(SHAPES)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_rows_are_the_same_on_a_gpu(rows, images, native):
    on_gpu = evaluate(Fixed(), images, native, 3, torch.device("cuda"), batch=2)
    pd.testing.assert_frame_equal(on_gpu, rows, atol=1e-6)


@pytest.mark.parametrize("duplicate", ["FH/hc18/7", None])
def test_rows_are_the_same_after_a_file(images, native, tmp_path, duplicate):
    """Parts of a run are put together later, and null alone has no type of its own."""
    named = replace(native, duplicate_of=[duplicate, *[None] * (len(SHAPES) - 1)])
    rows = evaluate(Fixed(), images, named, 3, CPU, batch=2)
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "rows.parquet"), rows)
    written = pq.read_schema(tmp_path / "rows.parquet").field("duplicate_of").type
    assert written in (pa.string(), pa.large_string())


def test_columns_have_one_type_whatever_they_hold(rows):
    counts = [name for name in COLUMNS if not name.startswith(("hd", "asd"))]
    for name in (*COLUMNS, *NATIVE_COLUMNS):
        whole = name.removeprefix("native_") in counts
        assert rows[name].dtype == (np.int64 if whole else np.float64), name
