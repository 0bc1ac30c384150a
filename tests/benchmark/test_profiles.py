import numpy as np
import pandas as pd
import pytest
from medpy.metric import binary as medpy

from benchmark.metrics import measure
from benchmark.profiles import PROFILES, Profile, Scores
from benchmark.record import RecordError

SHAPE = (30, 40)
DIAGONAL = 50.0


def blobs(images: int, seed: int) -> np.ndarray:
    """Rectangles that differ in place and size."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((images, *SHAPE), bool)
    for mask in masks:
        y, x = rng.integers(0, 20, 2)
        height, width = rng.integers(2, 15, 2)
        mask[y : y + height, x : x + width] = True
    return masks


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Twelve pairs: both empty, two without prediction, three without mask, six with both."""
    pred, mask = blobs(12, 0), blobs(12, 1)
    pred[:3] = False
    mask[[0, 3, 4, 5]] = False
    return pred, mask


@pytest.fixture
def frame(pairs) -> pd.DataFrame:
    rows = pd.DataFrame(measure(*pairs))
    return rows.set_index(pd.Index([f"id{i}" for i in range(len(rows))]))


def larger_direction(frame: pd.DataFrame) -> np.ndarray:
    return np.maximum(frame.hd95_pred_to_mask_px, frame.hd95_mask_to_pred_px).to_numpy()


def test_paper_scores_empties_as_written(frame, pairs):
    images = PROFILES["paper"].per_image(frame)
    assert list(images.columns) == ["dice", "iou", "hd95"]
    assert images.index.equals(frame.index)
    assert images.iloc[0].tolist() == [1, 1, 0]
    assert images.iloc[1:6].to_numpy().tolist() == [[0, 0, DIAGONAL]] * 5
    np.testing.assert_array_equal(images.hd95[6:], larger_direction(frame)[6:])
    # The first pair, both empty, is left out: MedPy means 1, but it catches the ZeroDivisionError
    # of Python's numbers, where a NumPy that counts in its own gives NaN.
    for i, (pred, mask) in list(enumerate(zip(*pairs, strict=True)))[1:]:
        assert images.dice.iloc[i] == medpy.dc(pred, mask)
        assert images.iou.iloc[i] == medpy.jc(pred, mask)


def test_paper_averages_over_all_images(frame):
    images = PROFILES["paper"].per_image(frame)
    assert PROFILES["paper"].task_scores(frame) == Scores(
        dice=pytest.approx(images.dice.mean()),
        iou=pytest.approx(images.iou.mean()),
        hd95=pytest.approx(images.hd95.mean()),
        images=12,
        empty_prediction=3,
        empty_mask=4,
        hd95_dropped=0,
    )


def test_pooled_is_dice_of_all_pixels_together(frame, pairs):
    pooled, paper = (PROFILES[name].task_scores(frame) for name in ("pooled", "paper"))
    pred, mask = (masks.reshape(1, -1) for masks in pairs)
    assert pooled.dice == pytest.approx(medpy.dc(pred, mask))
    assert pooled.iou == pytest.approx(medpy.jc(pred, mask))
    assert pooled.iou == pytest.approx(pooled.dice / (2 - pooled.dice))
    assert pooled.hd95 == paper.hd95
    assert pooled.dice != pytest.approx(paper.dice, abs=0.01)
    pd.testing.assert_frame_equal(
        PROFILES["pooled"].per_image(frame), PROFILES["paper"].per_image(frame)
    )


def test_medpy_leaves_out_what_medpy_refuses(frame, pairs):
    images = PROFILES["medpy"].per_image(frame)
    for hd95, pred, mask in zip(images.hd95, *pairs, strict=True):
        try:
            assert hd95 == medpy.hd95(pred, mask)
        except RuntimeError:
            assert np.isnan(hd95)
    scores = PROFILES["medpy"].task_scores(frame)
    assert scores.hd95 == pytest.approx(images.hd95[6:].mean())
    assert scores.hd95_dropped == 6
    assert scores.dice == PROFILES["paper"].task_scores(frame).dice


@pytest.mark.filterwarnings("ignore")
def test_monai_equals_monai(frame, pairs):
    import torch
    from monai.metrics import DiceMetric, HausdorffDistanceMetric, MeanIoU

    y_pred, y = (torch.from_numpy(masks[:, None]).float() for masks in pairs)
    images = PROFILES["monai"].per_image(frame)
    scores = PROFILES["monai"].task_scores(frame)
    for name, metric in (
        ("dice", DiceMetric()),
        ("iou", MeanIoU()),
        ("hd95", HausdorffDistanceMetric(include_background=True, percentile=95)),
    ):
        per_image = metric(y_pred, y)[:, 0].numpy()
        assert np.isnan(per_image).any()
        np.testing.assert_allclose(images[name], per_image, atol=0 if name != "hd95" else 1e-3)
        assert getattr(scores, name) == pytest.approx(metric.aggregate().item(), abs=1e-3)
    assert scores.hd95_dropped == 6


def rows(**columns: list[float]) -> pd.DataFrame:
    defaults = {"tp": 1, "fp": 1, "fn": 1, "height_px": 224, "width_px": 224}
    names = ("hd95_pred_to_mask_px", "hd95_mask_to_pred_px", "hd95_pooled_px")
    length = len(next(iter(columns.values())))
    empty = {name: [np.nan] * length for name in names}
    return pd.DataFrame({**empty, **columns}, index=range(length)).assign(
        **{name: value for name, value in defaults.items() if name not in columns}
    )


def test_twelve_misses_in_two_hundred_change_hd95_as_known():
    """Mean HD95 11.1 px with the misses left out, 29.4 px with each scored as the diagonal."""
    hd95 = [11.1] * 188 + [np.nan] * 12
    frame = rows(
        tp=[1] * 188 + [0] * 12,
        fp=[1] * 188 + [0] * 12,
        hd95_pred_to_mask_px=hd95,
        hd95_mask_to_pred_px=[0.0] * 188 + [np.nan] * 12,
    )
    paper, monai = (PROFILES[name].task_scores(frame) for name in ("paper", "monai"))
    assert paper.hd95 == pytest.approx(29.4, abs=0.05)
    assert monai.hd95 == pytest.approx(11.1)
    assert (paper.hd95_dropped, monai.hd95_dropped) == (0, 12)
    assert paper.empty_prediction == monai.empty_prediction == 12


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_task_of_empty_images_has_a_value_or_none(profile: Profile):
    scores = profile.task_scores(rows(tp=[0, 0], fp=[0, 0], fn=[0, 0]))
    expected = {"monai": (np.nan,) * 3, "medpy": (1, 1, np.nan)}.get(profile.name, (1, 1, 0))
    assert (scores.dice, scores.iou, scores.hd95) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_rows_that_cannot_be_scored_are_named(profile: Profile, frame):
    with pytest.raises(RecordError, match=r"fn, width_px.*run again"):
        profile.task_scores(frame.drop(columns=["fn", "width_px"]))
    with pytest.raises(RecordError, match="without test images"):
        profile.task_scores(frame.iloc[:0])


def test_profiles_are_named_and_described():
    assert {"paper", "pooled", "medpy", "monai"} <= set(PROFILES)
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert not profile.description.endswith(".")  # captions go on after it
