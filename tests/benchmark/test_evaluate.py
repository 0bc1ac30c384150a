"""One row per test image: at the protocol's size, at the image's own, and as pictures."""

import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmark import distances
from benchmark import evaluate as module
from benchmark.background import Background
from benchmark.dataset import Images, Native
from benchmark.evaluate import evaluate
from benchmark.jit import COMPILED
from benchmark.masks import pack, unpack
from benchmark.metrics import COLUMNS, NATIVE_COLUMNS, measure
from dataset_builders.errors import UsageError

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


def plain_loop(images: Images, native: Native) -> pd.DataFrame:
    """One image after the other, as one would write it down."""
    rows = []
    for place, name in enumerate(images.ids):
        probs = Fixed().predict(torch.tensor(images.pixels[[place]]).float() / 255, None)
        probs, mask = probs[0, 0].numpy(), images.masks[place] > 0
        own = unpack(native.masks[place])
        stretched = cv2.resize(probs, own.shape[::-1], interpolation=cv2.INTER_LINEAR)
        statistics = measure((probs > 0.5)[None], mask[None])
        at_native_size = measure((stretched > 0.5)[None], own[None])
        rows.append(
            {
                "task": images.task,
                "id": name,
                "group": images.groups[place],
                "duplicate_of": native.duplicate_of[place],
                **{column: values[0] for column, values in statistics.items()},
                "spacing_mm": native.spacing_mm[place],
                **{f"native_{column}": values[0] for column, values in at_native_size.items()},
                "mask_png": pack(mask),
                "pred_png": pack(probs > 0.5),
            }
        )
    return pd.DataFrame(rows).astype({"duplicate_of": "string"})


def test_rows_are_those_of_a_plain_loop(rows, images, native):
    pd.testing.assert_frame_equal(rows, plain_loop(images, native), check_exact=True)


def test_rows_stay_in_order_whichever_is_done_first(rows, images, native, monkeypatch):
    real = module.measure_native
    left = iter(range(len(SHAPES), 0, -1))
    monkeypatch.setattr(
        module, "measure_native", lambda *of: (time.sleep(0.02 * next(left)), real(*of))[1]
    )
    pd.testing.assert_frame_equal(evaluate(Fixed(), images, native, 3, CPU, batch=2), rows)


def test_a_method_predicts_without_gradients_in_the_precision_asked_for(images, native):
    class Asked(Fixed):
        def __init__(self) -> None:
            super().__init__()
            self.evaluating = False

        def eval(self) -> None:
            self.evaluating = True

        def predict(self, images, tasks):
            assert self.evaluating
            assert not torch.is_grad_enabled()
            assert torch.is_autocast_enabled("cpu") is (precision == "bf16")
            assert torch.get_autocast_dtype("cpu") == torch.bfloat16
            return super().predict(images, tasks).to(torch.bfloat16)

    found = []
    for precision in ("fp32", "bf16"):
        found.append(evaluate(Asked(), images, native, 3, CPU, batch=2, precision=precision))
    pd.testing.assert_frame_equal(*found)


def test_batches_on_a_cpu_are_no_larger_than_its_cache(images, monkeypatch):
    monkeypatch.setattr(module, "CPU_PIXELS", 3 * SIZE**2)
    batches = module.predict(Fixed(), torch.tensor(images.pixels), 0, batch=4)
    assert [len(probs) for probs in batches] == [3, 2]
    monkeypatch.setattr(module, "CPU_PIXELS", 1)
    assert len(list(module.predict(Fixed(), torch.tensor(images.pixels), 0, batch=4))) == 5


def test_what_goes_wrong_in_the_background_is_raised(images, native):
    masks = [*native.masks[:1], b"no picture", *native.masks[2:]]
    with pytest.raises(UsageError, match="a stored mask of 10 bytes is no PNG"):
        evaluate(Fixed(), images, replace(native, masks=masks), 3, CPU, batch=2)


def test_the_caller_waits_when_too_much_is_under_way():
    finished = threading.Event()
    with Background[int](limit=3) as background:
        background.submit(lambda: finished.wait(60) and 0)
        for number in (1, 2):
            background.submit(lambda number: number, number)
        one_too_many = threading.Thread(target=background.submit, args=(lambda: 3,))
        one_too_many.start()
        one_too_many.join(0.05)
        assert one_too_many.is_alive()  # until the first is done
        finished.set()
        one_too_many.join()
        assert background.results() == [0, 1, 2, 3]


def test_an_error_of_the_caller_leaves_no_work_behind():
    done = []

    def fail() -> None:
        with Background[None](limit=1000) as background:
            for number in range(200):
                background.submit(lambda number: (time.sleep(0.01), done.append(number)), number)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert len(done) < 200


@pytest.mark.skipif(not COMPILED, reason="without numba there is nothing compiled")
def test_compiled_loops_let_other_threads_run():
    assert distances._measure_all.targetoptions["nogil"]


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
