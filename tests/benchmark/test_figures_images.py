"""Figures that show images: contours, methods side by side, the worst and the disputed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from figure_records import IMAGES, run, runs_of, save_masked, save_three, texts

from benchmark.dataset import DatasetError, open_dataset
from benchmark.figures import hard, pictures, qualitative
from benchmark.figures.records import LeftOutError, dice_by_image, load_runs
from benchmark.profiles import PROFILES
from benchmark.record import RecordError
from benchmark.tables import Row
from dataset_builders.tasks import TASKS


def test_a_contour_runs_through_the_borders_of_the_grids_pixels():
    mask = np.zeros((4, 8), bool)
    mask[1:3, 2:5] = True
    (line,) = pictures.contour(mask, height=40, width=40)
    # pixel i of a grid of n fills i/n to (i+1)/n of the image, whose first pixel begins at -0.5
    assert (line[:, 0].min(), line[:, 0].max()) == pytest.approx(
        (2 / 8 * 40 - 0.5, 5 / 8 * 40 - 0.5)
    )
    assert (line[:, 1].min(), line[:, 1].max()) == pytest.approx(
        (1 / 4 * 40 - 0.5, 3 / 4 * 40 - 0.5)
    )
    assert line[0] == pytest.approx(line[-1])


def test_a_mask_at_the_edge_is_closed_and_an_empty_one_has_no_contour():
    (line,) = pictures.contour(np.ones((4, 4), bool), 20, 20)
    assert line[0] == pytest.approx(line[-1])
    assert (line.min(), line.max()) == pytest.approx((-0.5, 19.5))
    assert pictures.contour(np.zeros((4, 4), bool), 20, 20) == []


@pytest.fixture(scope="module")
def dataset(small_data):
    return open_dataset(small_data)


@pytest.fixture(scope="module")
def masked(dataset, tmp_path_factory):
    return save_three(tmp_path_factory.mktemp("masked"), dataset)


def load(results):
    def refuse(error):
        raise error

    return load_runs(results, PROFILES["paper"], refuse)


@pytest.fixture(scope="module")
def loaded(masked):
    return load(masked)


def test_the_best_of_each_category_is_shown_and_propl_always():
    ranked = map(Row, ("univ_full", "stpp", "unet", "fixmatch", "propl", "segformer"))
    assert [row.method for row in qualitative.one_a_category(ranked)] == [
        *("unet", "stpp", "univ_full", "propl")
    ]
    assert qualitative.one_a_category([Row("unet")]) == [Row("unet")]


def test_images_are_of_the_run_with_the_lowest_seed_and_the_best_method_comes_first():
    runs = [run(0.6, seed=2), run(0.5, seed=1), run(0.7, "unet"), run(0.9, split="1_8")]
    first = runs_of(*runs).first_of_rows("1_4")
    assert [(row.method, own.record.seed) for row, own in first.items()] == [
        ("unet", 0),
        ("propl", 1),
    ]


def test_runs_that_share_no_task_are_not_ranked():
    runs = runs_of(run(0.6, tasks=("FH",)), run(0.6, "unet", tasks=("BC",)))
    with pytest.raises(LeftOutError, match="unet/1_4/seed0, propl/1_4/seed0 share no task"):
        runs.first_of_rows("1_4")


def test_the_median_image_is_the_lower_one_and_ties_go_by_id():
    images = run(dict.fromkeys(TASKS, 0.5)).images["FH"]  # even: 0.45 to 0.55, 40 of them
    assert qualitative.median_image(images) == "FH/019"
    alike = replace(images, top={"dice": np.full(IMAGES, 0.5)})
    assert qualitative.median_image(alike) == "FH/019"


def test_qualitative_shows_what_the_rows_hold(loaded, dataset):
    data = qualitative.prepare(loaded, "1_4", dataset)
    assert data.methods == ["SegFormer", "ProPL"]
    assert [line.task for line in data.lines] == list(TASKS)
    best = loaded.of_row(Row("propl"), "1_4")[0]
    for line in data.lines:
        ranked = sorted(dice_by_image(best.images[line.task]).values())
        assert line.dice[1] == ranked[(len(ranked) - 1) // 2]
        overlap = (line.preds[1] & line.mask).sum() / (line.preds[1].sum() + line.mask.sum())
        assert line.dice[1] == pytest.approx(2 * overlap)
        assert line.picture.pixels.ndim == 3
    assert "the median Dice of ProPL" in data.footer
    assert "busi: " in data.footer or "udiat: " in data.footer  # whose images, and their licence


def test_qualitative_draws_each_dice_over_its_prediction(loaded, dataset):
    data = qualitative.prepare(loaded, "1_4", dataset)
    figure = qualitative.draw(data)
    dice = [f"{100 * one:.1f}" for line in data.lines for one in line.dice]
    assert texts(figure) == dice
    headings = [axes.get_title() for axes in figure.axes[:4]]
    assert headings == ["image", "mask", "SegFormer", "ProPL"]


def test_images_can_be_chosen_by_id(loaded, dataset):
    chosen = loaded.of_row(Row("propl"), "1_4")[0].images["OT"].ids[:2]
    data = qualitative.prepare(loaded, "1_4", dataset, [str(name) for name in chosen])
    assert [line.task for line in data.lines] == ["OT", "OT"]
    assert "Images: chosen by id." in data.footer
    with pytest.raises(LeftOutError, match="'FH/nobody' is no test image"):
        qualitative.prepare(loaded, "1_4", dataset, ["FH/nobody"])


def test_a_run_without_its_masks_is_to_be_run_again(dataset, tmp_path):
    save_masked(tmp_path, dataset, "propl", 1).with_suffix(".masks.parquet").unlink()
    with pytest.raises(RecordError, match=r"propl/1_4/seed0: its masks are not here \(seed0\.mas"):
        qualitative.prepare(load(tmp_path), "1_4", dataset)


def test_another_data_set_is_refused(loaded, dataset):
    other = replace(dataset, content_sha256="0" * 64)
    with pytest.raises(DatasetError, match=r"000000000000; name the right one with --data"):
        hard.prepare(loaded, "1_4", other)


def test_the_hardest_images_are_of_different_groups_and_in_order():
    images = pd.DataFrame(
        {"task": ["FH"] * 5 + ["BC"], "group": ["a", "a", "b", "c", "d", "a"]},
        index=["i5", "i4", "i3", "i2", "i1", "i0"],
    )
    difficulty = pd.Series({"i5": 0.9, "i4": 0.8, "i3": 0.1, "i2": 0.5, "i1": 0.5, "i0": 0.2})
    assert hard.hardest(images, difficulty) == {"BC": ["i0"], "FH": ["i5", "i1", "i2", "i3"]}
    assert hard.hardest(images, difficulty.drop("i5"))["FH"][0] == "i4"


def test_worst_and_disputed_images(loaded, dataset):
    data = hard.prepare(loaded, "1_4", dataset)
    assert list(data.dice) == ["ProPL", "SegFormer", "U-Net"]  # the best first
    for ranking, of in (
        (data.worst, data.dice.mean(axis=1)),
        (data.disputed, np.ptp(data.dice, 1)),
    ):
        of = pd.Series(of, data.dice.index)
        for task, ids in ranking.items():
            known = [name for name in data.dice.index if name.startswith(f"{task}/")]
            assert len(ids) <= hard.EACH
            extreme = of[known].min() if ranking is data.worst else of[known].max()
            assert of[ids[0]] == extreme
    figure = hard.draw_disputed(data)
    (first, *_) = data.disputed["BC"]
    assert f"{first.partition('/')[2]}\nProPL / U-Net" in texts(figure)


def test_one_method_disputes_nothing(loaded, dataset):
    alone = replace(loaded, every=loaded.of_row(Row("unet"), "1_4"))
    with pytest.raises(LeftOutError, match="two are needed"):
        hard.prepare(alone, "1_4", dataset)
