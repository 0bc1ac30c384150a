import numpy as np
import pandas as pd
import pytest

from benchmark.masks import pack
from benchmark.metrics import COLUMNS, NATIVE, measure
from benchmark.profiles import PROFILES, Profile
from benchmark.record import RecordError
from benchmark.scoring import columns_of, score_rows


def blobs(images: int, rng: np.random.Generator) -> np.ndarray:
    masks = np.zeros((images, 30, 40), bool)
    for mask in masks:
        (y, x), (height, width) = rng.integers(0, 20, 2), rng.integers(2, 15, 2)
        mask[y : y + height, x : x + width] = True
    return masks


@pytest.fixture
def rows() -> pd.DataFrame:
    """Rows of three tasks, shuffled; some predictions, some masks, and both, are empty."""
    rng = np.random.default_rng(0)
    pred, mask = blobs(60, rng), blobs(60, rng)
    pred[[0, 1, 2, 30, 31]] = False
    mask[[0, 3, 4, 31, 50]] = False
    own = measure(pred, mask)
    frame = pd.DataFrame(
        {
            "task": np.repeat(["TN", "BC", "FH"], 20),
            "id": [f"image{i:02}" for i in range(60)],
            "group": [f"group{i // 2}" for i in range(60)],
            "duplicate_of": pd.array([None] * 55 + ["image00"] * 5, "string"),
            "spacing_mm": [0.2] * 40 + [np.nan] * 20,
            "mask_png": [pack(one) for one in mask],
            "pred_png": [pack(one) for one in pred],
            **own,
            **{NATIVE + name: values for name, values in own.items()},
        }
    )
    return frame.sample(frac=1, random_state=1)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_all_tasks_at_once_score_as_each_alone(rows, profile: Profile):
    scores, images = score_rows(rows[columns_of(profile)], profile)
    assert list(scores) == list(images) == ["BC", "FH", "TN"]
    for task, own in rows.groupby("task"):
        alone = profile.task_scores(own)
        for name in alone.__dataclass_fields__:
            expected = pytest.approx(getattr(alone, name), nan_ok=True)
            assert getattr(scores[task], name) == expected, name
        for name in ("dice", "iou", "hd95"):
            expected = pytest.approx(getattr(alone, name), nan_ok=True)
            assert images[task].score(name) == expected


def test_images_are_in_order_of_id_with_their_own_scores(rows):
    profile = PROFILES["paper"]
    images = score_rows(rows, profile)[1]["FH"]
    alone = rows[rows.task == "FH"].sort_values("id")
    assert images.ids.tolist() == alone.id.tolist()
    assert images.groups.tolist() == alone.group.tolist()
    np.testing.assert_array_equal(images.top["dice"], profile.per_image(alone).dice)
    assert images.duplicate.tolist() == [False] * 15 + [True] * 5
    assert images.duplicates == 5


def test_clean_scores_leave_out_duplicates(rows):
    images = score_rows(rows, PROFILES["paper"])[1]
    kept = images["FH"].top["iou"][:15]
    assert images["FH"].score("iou", clean=True) == pytest.approx(kept.mean())
    assert images["BC"].score("iou", clean=True) == images["BC"].score("iou")
    older = score_rows(rows.drop(columns="duplicate_of"), PROFILES["paper"])[1]["FH"]
    assert older.duplicate is None
    assert older.duplicates == 0
    assert older.score("iou", clean=True) == images["FH"].score("iou")


def test_a_task_without_a_pixel_is_perfect_or_has_no_score(rows):
    empty = rows.assign(**{name: 0 for name in COLUMNS if name in ("tp", "fp", "fn")})
    for name, expected in (("paper", 1), ("pooled", 1), ("monai", np.nan)):
        assert score_rows(empty, PROFILES[name])[0]["BC"].dice == pytest.approx(
            expected, nan_ok=True
        )


@pytest.mark.parametrize("column", ["id", "group", "task"])
def test_rows_without_names_are_refused(rows, column):
    with pytest.raises(RecordError, match=f"lack the columns {column}"):
        score_rows(rows.drop(columns=column), PROFILES["paper"])


def test_rows_that_lack_a_column_or_repeat_an_image_are_refused(rows):
    with pytest.raises(RecordError, match="tp"):
        score_rows(rows.drop(columns="tp"), PROFILES["paper"])
    twice = pd.concat([rows, rows[rows.id == "image25"]])
    with pytest.raises(RecordError, match="task BC has the image 'image25' twice"):
        score_rows(twice, PROFILES["paper"])
