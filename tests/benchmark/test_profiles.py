"""Each definition against the library it is named after, and on empty masks."""

import numpy as np
import pandas as pd
import pytest
from medpy.metric import binary as medpy
from special_cases import CASES

from benchmark.masks import pack
from benchmark.metrics import NATIVE, measure
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


def stored(pred: np.ndarray, mask: np.ndarray, spacing_mm: float = 0.5) -> pd.DataFrame:
    """Rows as an evaluation writes them, of images whose own size is twice as high."""
    native = pd.DataFrame(measure(pred.repeat(2, axis=1), mask.repeat(2, axis=1)))
    pngs = {"pred_png": list(map(pack, pred)), "mask_png": list(map(pack, mask))}
    plain = pd.DataFrame(measure(pred, mask)).assign(spacing_mm=spacing_mm, **pngs)
    return plain.join(native.add_prefix(NATIVE))


@pytest.fixture
def frame(pairs) -> pd.DataFrame:
    rows = stored(*pairs)
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_deepmind_equals_the_library(frame, pairs, monkeypatch):
    library = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    for name, value in (("Inf", np.inf), ("NaN", np.nan)):  # the library is older than NumPy 2
        monkeypatch.setattr(np, name, value, raising=False)
    images = PROFILES["deepmind"].per_image(frame)
    for (_, scores), pred, mask in zip(images.iterrows(), *pairs, strict=True):
        surfaces = library.compute_surface_distances(mask, pred, (1.0, 1.0))
        hd95 = library.compute_robust_hausdorff(surfaces, 95)
        assert scores.hd95 == (hd95 if np.isfinite(hd95) else pytest.approx(np.nan, nan_ok=True))
        dice = library.compute_dice_coefficient(mask, pred)
        assert scores.dice == pytest.approx(dice, nan_ok=True)
        assert scores.iou == pytest.approx(dice / (2 - dice), nan_ok=True)
    scores = PROFILES["deepmind"].task_scores(frame)
    assert scores.hd95_dropped == 6
    assert scores.hd95 == pytest.approx(images.hd95[6:].mean())
    assert scores.dice == pytest.approx(images.dice[1:].mean())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_definition_on_the_cases_that_tell_them_apart(case):
    images = stored(case.pred[None], case.mask[None])
    hd95 = {name: profile.per_image(images).hd95[0] for name, profile in PROFILES.items()}
    expected = {
        "paper": case.larger,
        "pooled": case.larger,
        "medpy": case.pooled,
        "monai": case.larger,
        "deepmind": case.weighted,
    }
    assert {name: hd95[name] for name in expected} == pytest.approx(expected, abs=0.005)
    assert hd95["medpy"] == medpy.hd95(case.pred, case.mask)


def test_native_is_paper_at_the_size_of_the_image(frame, pairs):
    enlarged = pd.DataFrame(measure(*(masks.repeat(2, axis=1) for masks in pairs)))
    expected = PROFILES["paper"].per_image(enlarged)
    images = PROFILES["native"].per_image(frame)
    np.testing.assert_array_equal(images, expected)
    assert images.hd95.iloc[1] == np.hypot(60, 40)
    assert not np.array_equal(images, PROFILES["paper"].per_image(frame))
    found = frame.assign(native_fp=frame["native_fp"].where(frame["native_tp"] > 0, 1))
    assert PROFILES["native"].task_scores(frame).empty_prediction == 3
    assert PROFILES["native"].task_scores(found).empty_prediction == 0  # is counted there, too


def test_mm_is_native_times_spacing_where_it_is_known(frame):
    native = PROFILES["native"].per_image(frame)
    spacing_mm = np.array([0.1, 0.2, np.nan, 0.4] * 3)
    frame = frame.assign(spacing_mm=spacing_mm)
    images, scores = PROFILES["mm"].per_image(frame), PROFILES["mm"].task_scores(frame)
    np.testing.assert_array_equal(images.hd95, native.hd95 * spacing_mm)
    pd.testing.assert_frame_equal(images[["dice", "iou"]], native[["dice", "iou"]])
    assert scores.hd95_dropped == 3
    assert scores.hd95 == pytest.approx(images.hd95.dropna().mean())
    assert scores.dice == PROFILES["native"].task_scores(frame).dice
    nowhere = PROFILES["mm"].task_scores(frame.assign(spacing_mm=np.nan))
    assert np.isnan(nowhere.hd95)
    assert nowhere.hd95_dropped == 12


def test_units_of_hd95_are_named():
    units = {name: profile.unit for name, profile in PROFILES.items()}
    assert units.pop("native") == "px at native size"
    assert units.pop("mm") == "mm"
    assert set(units.values()) == {"px"}


def rows(**columns: list[float]) -> pd.DataFrame:
    """Rows of the plain columns alone, as runs of former versions left them."""
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
    scores = profile.task_scores(stored(*np.zeros((2, 2, *SHAPE), bool)))
    none = (np.nan,) * 3
    expected = {"monai": none, "deepmind": none, "medpy": (1, 1, np.nan)}
    assert (scores.dice, scores.iou, scores.hd95) == pytest.approx(
        expected.get(profile.name, (1, 1, 0)), nan_ok=True
    )
    assert (scores.empty_prediction, scores.empty_mask) == (2, 2)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_rows_that_cannot_be_scored_are_named(profile: Profile, frame):
    lost = [profile.grid + name for name in ("fn", "width_px")]
    with pytest.raises(
        RecordError, match=rf"{', '.join(lost)}, which the profile '{profile.name}'.*--restart"
    ):
        profile.task_scores(frame.drop(columns=lost))
    with pytest.raises(RecordError, match="without test images"):
        profile.task_scores(frame.iloc[:0])


def test_rows_of_former_versions_serve_the_profiles_that_need_no_more():
    old = rows(tp=[1, 2])
    lacking = {name: profile.lacking(old) for name, profile in PROFILES.items()}
    assert [name for name, columns in lacking.items() if columns] == ["deepmind", "native", "mm"]
    assert lacking["deepmind"] == ["pred_png", "mask_png"]
    assert lacking["mm"] == [*lacking["native"], "spacing_mm"]
    assert lacking["native"][:4] == ["native_tp", "native_fp", "native_fn", "native_height_px"]


def test_rows_of_which_some_are_of_a_former_version_are_refused(frame):
    mixed = pd.concat([rows(tp=[1, 2]), frame], ignore_index=True)
    for name in ("deepmind", "native", "mm"):
        with pytest.raises(RecordError, match=f"which the profile '{name}' needs"):
            PROFILES[name].task_scores(mixed)
    assert PROFILES["paper"].task_scores(mixed).images == 14


def test_profiles_are_named_and_described():
    assert list(PROFILES) == ["paper", "pooled", "medpy", "monai", "deepmind", "native", "mm"]
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert not profile.description.endswith(".")  # captions go on after it
