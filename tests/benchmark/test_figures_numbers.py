"""Figures of numbers alone: prompting, perturbations, cost, label efficiency."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from fake_records import make_ablation, make_exchanged, make_record, make_run
from figure_records import IMAGES, ablation, perturbed, run, runs_of, texts
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Annotation, Text

from benchmark.evidence import columns_of
from benchmark.figures import cost, efficiency, labels, perturbations, prompting
from benchmark.figures.records import LeftOutError
from benchmark.methods import METHODS
from benchmark.mixture import MixtureError
from benchmark.record import DatasetEntry, TaskEntry
from benchmark.tables import Row
from dataset_builders.tasks import TASKS

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
    assert "Precision" not in footer
    bf16 = run(0.8, execution={"precision": "bf16"})
    assert "Seed 0. Precision bf16. Data set" in runs_of().footer([bf16])
    assert "partial" not in footer


# Figure 2

WITHOUT = prompting.WITHOUT


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
    assert list(data.others) == list(data.gains) == [WITHOUT]
    assert data.others[WITHOUT]["1_4"].dice == pytest.approx(60)
    assert data.gains[WITHOUT]["1_4"].dice == pytest.approx(22)
    assert data.with_pud["1_4"].low < 82 < data.with_pud["1_4"].high
    assert data.with_pud["1_8"].dice == pytest.approx(90)
    assert data.with_pud["1_16"] is data.others[WITHOUT]["1_8"] is None
    assert data.gains[WITHOUT]["1_8"] is None
    assert "Seeds 0, 1" in data.footer


def test_other_promptings_are_drawn_where_they_were_run():
    runs = run(0.8), ablation(0.6), ablation(0.74, "clip_um"), ablation(0.79, "dodnet")
    noisy = make_run(make_exchanged("dodnet", noise="gaussian"), 0.1, images=IMAGES)
    data = prompting.prepare(runs_of(*runs, noisy))
    assert [gain["1_4"].dice for gain in data.gains.values()] == pytest.approx([20, 6, 1])
    scores, gains = prompting.draw(data).axes
    assert [bar.get_height() for bar in scores.patches] == pytest.approx([80, 60, 74, 79])
    assert [bar.get_height() for bar in gains.patches] == pytest.approx([20, 6, 1])
    labels = scores.get_legend_handles_labels()[1] + gains.get_legend_handles_labels()[1]
    assert {"with CLIP-UM's prompting", "our runs, over DoDNet's prompting"} <= set(labels)
    boxes = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in scores.patches)
    assert all(left[1] <= right[0] for left, right in pairwise(boxes))


def test_another_prompting_is_enough_for_a_figure():
    data = prompting.prepare(runs_of(run(0.8), ablation(0.7, "dodnet")))
    assert [row.title for row in data.others] == ["ProPL +DoDNet prompting"]
    _, gains = prompting.draw(data).axes
    assert [bar.get_height() for bar in gains.patches] == pytest.approx([10])


def test_the_difference_is_paired():
    """Images move both runs alike, so their difference is nearly certain."""
    gain = prompting.prepare(runs_of(run(0.8), ablation(0.6))).gains[WITHOUT]["1_4"]
    assert gain.high - gain.low < 1e-9
    assert gain.low == pytest.approx(20)


def test_few_groups_have_no_interval_of_the_difference_either():
    few = [
        make_run(make(), 0.8, images=2)
        for make in (make_record, partial(make_ablation, False, True))
    ]
    gain = prompting.prepare(runs_of(*few)).gains[WITHOUT]["1_4"]
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
    with pytest.raises(LeftOutError, match="--set prompting=none"):
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
