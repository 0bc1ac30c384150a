import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from fake_records import make_ablation, make_record, make_run, save_run
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Annotation, Text

from benchmark.dataset import DatasetError, open_dataset
from benchmark.dataset import load as load_images
from benchmark.evidence import columns_of
from benchmark.figures import (
    cost,
    efficiency,
    hard,
    labels,
    make_all,
    perturbations,
    pictures,
    prompting,
    qualitative,
    style,
)
from benchmark.figures.records import LeftOutError, Runs, dice_by_image, load_runs
from benchmark.masks import pack
from benchmark.methods import METHODS
from benchmark.metrics import COLUMNS
from benchmark.mixture import MixtureError
from benchmark.profiles import PROFILES
from benchmark.record import DatasetEntry, RecordError, TaskEntry, save
from benchmark.tables import Row
from dataset_builders.tasks import TASKS

ROOT = Path(__file__).parents[2]
IMAGES = 40  # test images a task, each its own group: enough for an interval


def runs_of(*runs):
    return Runs(Path("nowhere"), "paper", runs)


def run(dice, method="propl", split="1_4", **changes):
    return make_run(make_record(method, split, **changes), dice, images=IMAGES)


def ablation(dice, **changes):
    return make_run(make_ablation(pud=False, uplc=True, **changes), dice, images=IMAGES)


def perturbed(dice, n, split="1_4", **changes):
    config = {"perturbations": n, "prompting": True, "calibration": True}
    tag = "" if n == 2 else f"perturbations={n}"
    return run(dice, split=split, tag=tag, **({"config": config} | changes))


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


# What stands below every figure


def test_the_footer_says_what_the_runs_are():
    data = DatasetEntry("f00d" * 16, ("BC", "TN"), dict.fromkeys(TASKS, (600, 200)))
    make = partial(make_record, "propl", preset="mini", dataset=data)
    runs = [make_run(make(split=split, seed=seed)) for split, seed in (("1_4", 2), ("1_16", 0))]
    assert runs_of().footer(runs, "A note.") == (
        "Preset mini (64×64 px, not the paper's protocol). 1/16, 1/4 of the training images "
        "labelled. Seeds 0, 2. Data set f00df00df00d, partial in BC, TN. Profile paper. A note."
    )


def test_the_papers_own_protocol_is_not_marked_as_another():
    footer = runs_of().footer([run(0.8)])
    assert footer.startswith("Preset paper (224×224 px).")
    assert "Seed 0." in footer
    assert "partial" not in footer


# Figure 2


def test_prompting_takes_propl_with_and_without_pud_and_nothing_else():
    data = prompting.prepare(
        runs_of(
            *(run(0.80), run(0.84, seed=1), ablation(0.6), run(0.9, split="1_8")),
            run(0.1, "unet"),
            run(0.2, tag="dropout=0.5"),
            make_run(make_ablation(pud=False, uplc=False), 0.3, images=IMAGES),
        )
    )
    assert data.with_pud["1_4"].dice == pytest.approx(82)  # mean over seeds
    assert data.without["1_4"].dice == pytest.approx(60)
    assert data.gain["1_4"].dice == pytest.approx(22)
    assert data.with_pud["1_4"].low < 82 < data.with_pud["1_4"].high
    assert data.with_pud["1_8"].dice == pytest.approx(90)
    assert data.with_pud["1_16"] is data.without["1_8"] is data.gain["1_8"] is None
    assert "Seeds 0, 1" in data.footer


def test_the_difference_is_paired():
    """Images move both runs alike, so their difference is nearly certain."""
    gain = prompting.prepare(runs_of(run(0.8), ablation(0.6))).gain["1_4"]
    assert gain.high - gain.low < 1e-9
    assert gain.low == pytest.approx(20)


def test_few_groups_have_no_interval_of_the_difference_either():
    few = [
        make_run(make(), 0.8, images=2)
        for make in (make_record, partial(make_ablation, False, True))
    ]
    gain = prompting.prepare(runs_of(*few)).gain["1_4"]
    assert (gain.dice, gain.low, gain.high) == (pytest.approx(0), None, None)


def test_the_papers_gain_is_that_of_its_ablations():
    data = prompting.prepare(runs_of(run(0.8), ablation(0.6)))
    assert data.papers_gain["1_16"] == pytest.approx(19.59)  # stated in its text
    assert set(data.papers_gain) == {"1_16", "1_8", "1_4"}


def test_a_missing_bar_says_so_and_has_no_height():
    figure = prompting.draw(prompting.prepare(runs_of(ablation(0.6), run(0.9, split="1_8"))))
    scores, gains = figure.axes
    assert [bar.get_height() for bar in scores.patches] == pytest.approx([90, 60])
    assert [text.get_text() for text in scores.texts].count("not run") == 4
    assert not gains.patches
    assert [text.get_text() for text in gains.texts] == ["not run"] * 3


def test_the_papers_marks_stand_only_beside_runs():
    figure = prompting.draw(prompting.prepare(runs_of(ablation(0.6), run(0.9, split="1_8"))))
    marks = {line.get_label(): line for line in figure.axes[1].lines if "paper" in line.get_label()}
    assert set(marks) == {
        "paper, over CLIP-UM's prompting (+3.05)",
        "paper, over DoDNet's prompting (+1.16)",
    }
    assert all(abs(line.get_xdata().mean() - 1) < 0.5 for line in marks.values())  # at 1/8 alone


def test_no_ablation_no_figure():
    with pytest.raises(LeftOutError, match="--set prompting=false"):
        prompting.prepare(runs_of(run(0.8)))


def test_runs_of_two_protocols_are_not_drawn_together():
    with pytest.raises(MixtureError, match="preset is 'mini'"):
        prompting.prepare(runs_of(run(0.8, preset="mini"), ablation(0.6, preset="smoke")))


# Figure 3


def test_perturbations_takes_runs_that_differ_in_n_alone():
    released = {"perturbations": 3, "power": 2.0}
    data = perturbations.prepare(
        runs_of(
            *(
                perturbed(0.80, 3),
                perturbed(0.7, 1),
                perturbed(0.75, 2),
                perturbed(0.77, 2, seed=1),
            ),
            *(perturbed(0.6, 2, split="1_16"), run(0.1, "unet")),
            run(0.2, tag="released", variant="released", config=released),
            run(0.2, tag="perturbations=4,dropout=0.5", config={"perturbations": 4}),
        )
    )
    curve = {n: score.dice for n, score in data.curves["1_4"].items()}
    assert curve == pytest.approx({1: 70, 2: 76, 3: 80})
    assert list(curve) == [1, 2, 3]
    assert list(data.curves["1_16"]) == [2]
    assert data.curves["1_8"] == {}


def test_the_papers_best_n_is_marked_in_every_panel():
    data = perturbations.prepare(runs_of(perturbed(0.8, 3), perturbed(0.7, 1)))
    panels = perturbations.draw(data).axes
    assert [panel.lines[0].get_xdata()[0] for panel in panels] == [3, 2, 2]
    assert [panel.get_title() for panel in panels] == [
        "1/16 labelled",
        "1/8 labelled",
        "1/4 labelled",
    ]
    notes = [[text.get_text() for text in panel.texts] for panel in panels]
    assert [("not run" in own) for own in notes] == [True, True, False]
    assert {"70.0", "80.0"} <= set(notes[2])


def test_one_n_is_no_curve():
    with pytest.raises(LeftOutError, match="--set perturbations=3"):
        perturbations.prepare(runs_of(perturbed(0.8, 2), perturbed(0.7, 3, split="1_8")))


# Figure 4


def with_cost(method, seconds, memory, dice=0.8, **changes):
    tasks = {
        task: TaskEntry(150, 450, IMAGES, 100, seconds + place, memory + place)
        for place, task in enumerate(TASKS)
    }
    record = replace(make_record(method, **changes), tasks=tasks)
    return make_run(record, dice, images=IMAGES)


def test_times_of_single_task_methods_add_up_and_a_universal_one_has_its_own():
    unet, propl = with_cost("unet", 10, 500), with_cost("propl", 10, 500)
    points = cost.prepare(runs_of(unet, propl), "1_4").points
    assert [point.title for point in points] == ["U-Net", "ProPL"]
    assert [point.seconds for point in points] == [8 * 10 + 28, 17]
    assert [point.memory_mb for point in points] == [507, 507]


def test_a_point_is_the_mean_over_seeds():
    runs = [with_cost("unet", 10 + 8 * seed, 500, 0.6 + seed / 10, seed=seed) for seed in (0, 1)]
    (point, _) = cost.prepare(runs_of(*runs, with_cost("propl", 1, 1)), "1_4").points
    assert (point.dice, point.seconds) == pytest.approx((65, 8 * 14 + 28))


def test_methods_without_all_tasks_are_named_not_drawn():
    short = run(0.9, "stpp", tasks=("FH",))
    data = cost.prepare(runs_of(with_cost("unet", 1, 1), with_cost("propl", 1, 1), short), "1_4")
    assert [point.title for point in data.points] == ["U-Net", "ProPL"]
    assert "Not all tasks run: ST++." in data.footer


def test_two_devices_have_no_common_cost():
    gpu = with_cost("unet", 1, 1, machine={"device": "cuda (H200)"})
    with pytest.raises(LeftOutError, match=r"cpu \(x86_64\) and cuda \(H200\)"):
        cost.prepare(runs_of(gpu, with_cost("propl", 1, 1)), "1_4")


def test_one_method_has_nothing_to_be_compared_with():
    with pytest.raises(LeftOutError, match="two are needed"):
        cost.prepare(runs_of(run(0.8), run(0.8, "unet", split="1_8")), "1_4")


points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1)


@given(points)
def test_the_front_is_what_nothing_beats(places):
    def beaten(place):
        x, y = place
        return any(a <= x and b >= y and (a, b) != (x, y) for a, b in places)

    assert cost.front(places) == sorted({place for place in places if not beaten(place)})


def crowd(seed=0):
    """21 methods, most of them in two clusters."""
    rng = np.random.default_rng(seed)
    return [
        cost.Point(
            METHODS[method].title,
            METHODS[method].category,
            dice=float(80 + rng.normal(0, 3) - 20 * (place % 5 == 0)),
            memory_mb=float(700 * (1 + place % 3) + rng.normal(0, 40)),
            seconds=float(np.exp(rng.normal(7, 1))),
        )
        for place, method in enumerate(METHODS)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_labels_cover_neither_each_other_nor_points_nor_leave_the_frame(seed):
    figure = cost.draw(cost.Cost("1_4", crowd(seed), "whole process", "A footer."))
    figure.draw_without_rendering()
    for axes in figure.axes:
        notes = [text for text in axes.texts if isinstance(text, Annotation)]
        assert sorted(note.get_text() for note in notes) == sorted(
            entry.title for entry in METHODS.values()
        )
        boxes = [Text.get_window_extent(note) for note in notes]  # without the lines to points
        for place, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:place])
            assert axes.bbox.padded(2).containsx(box.x0)
            assert axes.bbox.padded(2).containsx(box.x1)
        marks = axes.transData.transform([note.xy for note in notes])
        assert not any(box.contains(x, y) for box in boxes for x, y in marks)


def test_a_label_is_nearest_to_its_own_point():
    anchors = np.array([[100.0 + 14 * i, 100.0 + 5 * (i % 2)] for i in range(5)])
    sizes = np.tile((34.0, 8.0), (5, 1))
    boxes = labels.arrange(anchors, sizes, np.array([0.0, 0.0, 300.0, 200.0]))
    apart = np.maximum(boxes[:, None, :2] - anchors, anchors - boxes[:, None, 2:]).clip(min=0)
    assert list(np.hypot(*apart.T).T.argmin(axis=1)) == list(range(5))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=12), st.floats(0.1, 10))
def test_stacked_heights_keep_their_order_and_distance(heights, gap):
    moved = labels.stack(heights, gap)
    order = np.argsort(heights, kind="stable")
    assert all(np.diff(np.array(moved)[order]) >= gap - 1e-6)
    assert np.mean(moved) == pytest.approx(np.mean(heights), abs=1e-6)  # none drifts away


def test_heights_that_are_apart_stay():
    assert labels.stack([3.0, 1.0, 9.0], 1.0) == [3.0, 1.0, 9.0]


# Label efficiency


def test_curves_have_the_tables_scores_and_intervals():
    unet = [run(dice, "unet", split) for split, dice in (("1_16", 0.5), ("1_8", 0.6))]
    propl = run(dict.fromkeys(TASKS, 0.7) | {"BC": 0.3}, split="1_8")
    data = efficiency.prepare(runs_of(*unet, propl, ablation(0.1, split="1_8")))
    assert set(data.curves) == {Row("unet"), Row("propl")}
    mean = data.curves[Row("unet")]["mean"]
    assert {name: score.dice for name, score in mean.items()} == pytest.approx(
        {"1_16": 50, "1_8": 60}
    )
    assert data.curves[Row("propl")]["BC"]["1_8"].dice == pytest.approx(30)
    column = columns_of([[unet[1].images]], "dice")["mean"]
    low, high = column.interval()
    assert (mean["1_8"].low, mean["1_8"].high) == pytest.approx((100 * low[0], 100 * high[0]))


def test_few_groups_have_no_whisker():
    record = make_record("unet", "1_16")
    few = [make_run(replace(record, split=split), 0.5, images=4) for split in ("1_16", "1_8")]
    data = efficiency.prepare(runs_of(*few))
    score = data.curves[Row("unet")]["FH"]["1_8"]
    assert (score.dice, score.low, score.high) == (pytest.approx(50), None, None)


def test_every_method_is_named_and_every_task_has_a_panel():
    runs = [
        run(0.5 + place / 1000, method, split)  # all but equal
        for place, method in enumerate(METHODS)
        for split in ("1_16", "1_4")
    ]
    figure = efficiency.draw(efficiency.prepare(runs_of(*runs)))
    top, *panels = figure.axes
    assert [text.get_text() for text in top.texts] == [entry.title for entry in METHODS.values()]
    assert [panel.get_title().split()[0] for panel in panels] == list(TASKS)
    tops = sorted(text.get_window_extent().y1 for text in top.texts)
    assert min(np.diff(tops)) >= 6 * figure.dpi / 72  # pt: their letters do not touch


def test_a_task_that_was_not_run_says_so():
    runs = [run(0.5, "unet", split, tasks=("FH",)) for split in ("1_16", "1_4")]
    figure = efficiency.draw(efficiency.prepare(runs_of(*runs)))
    assert texts(figure) == ["not run"] * 8  # the mean, and all tasks but FH


def test_one_share_is_no_curve():
    with pytest.raises(LeftOutError, match="--split 1_16"):
        efficiency.prepare(runs_of(run(0.8), run(0.8, "unet", split="1_8")))


# Contours


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


# Figures that show images


def save_masked(results, dataset, method, shift, **changes):
    """A run whose predictions are the masks, moved right by a few pixels: more for later images."""
    rows = []
    for task in dataset.images:
        images = load_images(dataset, task, "test", 64)
        for place, (name, group, mask) in enumerate(
            zip(images.ids, images.groups, images.masks.astype(bool), strict=True)
        ):
            pred = np.roll(mask, shift * (place + 1), axis=1)
            row = dict.fromkeys(COLUMNS, 1.0) | {"height_px": 64, "width_px": 64}
            row |= {"tp": (mask & pred).sum(), "fp": (pred & ~mask).sum()}
            row |= {"fn": (mask & ~pred).sum(), "tn": (~mask & ~pred).sum()}
            row |= {"task": task, "id": name, "group": group}
            rows.append(row | {"mask_png": pack(mask), "pred_png": pack(pred)})
    frame = pd.DataFrame(rows)
    counts = frame.task.value_counts()
    seen = DatasetEntry(dataset.content_sha256, dataset.partial, dict(dataset.images))
    tasks = {task: TaskEntry(6, 12, int(counts[task]), 100, 1.0, 10.0) for task in dataset.images}
    record = make_record(method, preset="smoke", dataset=seen, **changes)
    return save(replace(record, tasks=tasks), frame, results)


@pytest.fixture(scope="module")
def dataset(small_data):
    return open_dataset(small_data)


@pytest.fixture(scope="module")
def masked(dataset, tmp_path_factory):
    """Records of three methods with masks; ProPL is the best, U-Net the worst."""
    results = tmp_path_factory.mktemp("masked")
    for method, shift in (("propl", 1), ("segformer", 2), ("unet", 4)):
        save_masked(results, dataset, method, shift)
    return results


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


# Files


@pytest.fixture(scope="module")
def made(masked, small_data, tmp_path_factory):
    """Two folders of the same figures, what was written, and what was said."""
    folders, paths, said = [tmp_path_factory.mktemp(name) for name in ("one", "two")], [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", 50)  # nothing that is tested here depends on these two
        patch.setattr(hard, "EACH", 2)
        for place, out in enumerate(folders):
            # the second time as if a user had a style of their own
            with mpl.rc_context({"font.size": 31, "axes.facecolor": "red"} if place else {}):
                paths.append(make_all(masked, small_data, out, say=said.append))
    return folders, paths, said


@pytest.fixture
def numbers(tmp_path):
    """Records that allow all figures without images but for that of costs."""
    for n, split in ((2, "1_4"), (3, "1_4"), (2, "1_8")):
        tag = "" if n == 2 else f"perturbations={n}"
        save_run(tmp_path, make_record(split=split, tag=tag, config={"perturbations": n}), 0.7)
    save_run(tmp_path, make_ablation(pud=False, uplc=True), 0.5)
    return tmp_path


def test_every_figure_that_the_records_allow_is_written(made):
    (out, _), (paths, _), said = made
    names = ["cost_1_4", "images/qualitative_1_4", "images/worst_1_4", "images/disputed_1_4"]
    expected = [f"{name}.{ending}" for name in names for ending in ("svg", "png")]
    assert [str(path.relative_to(out)) for path in paths] == expected
    assert {path for path in out.rglob("*") if path.is_file()} == {
        *paths,
        out / "images" / ".gitignore",
    }
    assert [line.split(":")[0] for line in said[:3]] == [
        *("left out prompting", "left out perturbations", "left out label_efficiency")
    ]
    assert len(said) == 6  # the same again for the second folder


def test_equal_records_give_equal_bytes_whatever_the_users_style(made):
    for one, two in zip(*made[1], strict=True):
        assert one.read_bytes() == two.read_bytes(), one


def test_figures_with_images_are_hidden_from_git(made, tmp_path):
    shutil.copytree(made[0][0], tmp_path / "out")
    subprocess.run(["git", "init", "-q", tmp_path / "out"], check=True)
    command = ["git", "-C", tmp_path / "out", "status", "--porcelain", "--untracked-files=all"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert shown.split() == ["??", "cost_1_4.png", "??", "cost_1_4.svg"]


def test_figures_of_numbers_alone_need_no_data_set(numbers, tmp_path):
    said = []
    paths = make_all(numbers, None, tmp_path / "out", say=said.append)
    assert [path.name for path in paths[::2]] == [
        *("prompting.svg", "perturbations.svg", "label_efficiency.svg")
    ]
    assert not (tmp_path / "out" / "images").exists()
    assert any("images/worst_1_4" in line and "--data" in line for line in said)
    svg = paths[0].read_text()
    assert "<dc:date>" not in svg
    assert "Matplotlib" not in svg  # whose version would be there


def test_what_is_left_out_is_said_and_that_older_files_stay(numbers, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "prompting.svg").touch()
    for path in numbers.glob("runs/propl/*/*prompting*.json"):
        path.write_text("{}")
    said = []
    make_all(numbers, None, out, say=said.append)
    assert said[0].startswith("left out a run: ")
    assert "seed0+prompting=false.json" in said[0]
    assert said[1].startswith("left out prompting (older files stay): no run of ProPL without")


def test_no_runs_is_an_error_that_says_how_to_make_one(tmp_path):
    with pytest.raises(LeftOutError, match="usbench run"):
        make_all(tmp_path, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_data_set_leaves_out_images_alone(masked, tmp_path):
    said = []
    paths = make_all(masked, tmp_path, tmp_path / "out", say=said.append)
    assert {path.stem for path in paths} == {"cost_1_4"}
    assert any("images/qualitative_1_4" in line and "build-data" in line for line in said)


@pytest.mark.parametrize("text", ["WMQ@% and some words more, ", "ill, til, fill; "])
def test_the_footer_fits_the_page(text, tmp_path):
    figure = style.styled(style.new_figure)(1.0, "Title", text * 20)
    _, png = style.save(figure, tmp_path / "figure")
    inked = np.flatnonzero((cv2.imread(str(png), cv2.IMREAD_GRAYSCALE) < 200).any(axis=0))
    width, margin = style.WIDTH * style.DPI, style.MARGIN * style.DPI
    assert margin - 1 <= inked[0]
    assert 0.85 * width < inked[-1] <= width - 0.5 * margin


def test_drawing_loads_neither_torch_nor_a_window(masked, tmp_path):
    code = (
        "import sys, pathlib, benchmark.figures as f; before = 'matplotlib' in sys.modules; "
        f"f.make_all(pathlib.Path({str(masked)!r}), None, pathlib.Path({str(tmp_path / 'o')!r}), "
        "say=str); "
        "print(before, [m for m in ('torch', 'matplotlib.pyplot', 'tkinter') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False []"


def test_the_picture_of_the_tasks_is_made_by_the_module(small_data, tmp_path):
    out = tmp_path / "new" / "tasks.png"
    command = [sys.executable, "-m", "benchmark.figures", str(small_data), str(out)]
    subprocess.run(command, cwd=ROOT, check=True)
    assert cv2.imread(str(out)).shape == (682, 1210, 3)
    assert list(out.parent.iterdir()) == [out]
    usage = subprocess.run(command[:4], cwd=ROOT, capture_output=True, text=True)
    assert usage.returncode == 1
    assert "DATA OUT.png" in usage.stderr
