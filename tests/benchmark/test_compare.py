import re
from dataclasses import replace

import numpy as np
import pytest
from fake_records import make_ablation, make_images, make_record, make_run, save_run
from scipy import stats

from benchmark.compare import CompareError, Difference, compare, differences
from benchmark.evidence import MEAN
from benchmark.mixture import MixtureError
from benchmark.profiles import PROFILES
from benchmark.record import images_of
from benchmark.tables import METRICS
from dataset_builders.errors import UsageError
from dataset_builders.tasks import TASKS

DICE, IOU, HD95 = METRICS
PAPER = PROFILES["paper"]


def run(method="propl", dice=0.8, hd95=5.0, **options):
    record = make_record(method, tasks=options.pop("tasks", tuple(TASKS)))
    return make_run(record, dice, hd95, **{"images": 40, "noise": 0.05, **options})


def test_a_difference_is_first_minus_second_with_its_tests():
    one, two = run(seed=1), run("unet", 0.77, seed=2)
    found = differences([[one], [two]], PAPER)
    assert list(found) == list(METRICS)
    assert list(found[DICE]) == [*TASKS, MEAN]
    own = found[DICE]["BC"]
    pairs = one.images["BC"].top["dice"], two.images["BC"].top["dice"]
    assert (own.images, own.groups) == (40, 40)
    assert own.first == pytest.approx(80)
    assert own.second == pytest.approx(77)
    assert own.difference == pytest.approx(3)
    assert own.bounds[0] < 3 < own.bounds[1]
    assert own.bounds[1] - own.bounds[0] == pytest.approx(
        100 * 2 * 1.96 * stats.sem(pairs[0] - pairs[1]), rel=0.1
    )
    assert own.p == pytest.approx(stats.wilcoxon(pairs[0] - pairs[1]).pvalue)
    assert own.false_claim == pytest.approx(stats.ttest_rel(*pairs, alternative="greater").pvalue)
    p = sorted(found[DICE][task].p for task in TASKS)
    assert min(found[DICE][task].holm for task in TASKS) == pytest.approx(min(8 * p[0], 1))


def test_the_mean_is_a_test_of_its_own():
    own = differences([[run(seed=1)], [run("unet", 0.77, seed=2)]], PAPER)[DICE][MEAN]
    assert own.holm is None
    assert (own.images, own.groups) == (320, 320)
    assert own.difference == pytest.approx(3)
    assert own.bounds[0] > 0
    assert own.p < 0.01
    assert own.false_claim == pytest.approx(own.p / 2, abs=0.001)
    assert own.separated


def test_the_other_way_round_is_the_mirror_image():
    one, two = run(seed=1), run("unet", 0.79, seed=2)
    there, back = (differences([[a], [b]], PAPER) for a, b in ((one, two), (two, one)))
    for metric in METRICS:
        for name, own in there[metric].items():
            other = back[metric][name]
            assert other.difference == pytest.approx(-own.difference, abs=1e-9)
            assert other.bounds == pytest.approx((-own.bounds[1], -own.bounds[0]), abs=1e-9)
            assert other.p == pytest.approx(own.p)
            assert other.separated == own.separated
            if abs(own.difference) > 1e-9:
                assert other.false_claim == pytest.approx(own.false_claim)


def test_equal_methods_are_not_told_apart():
    own = differences([[run(noise=0)], [run("unet", noise=0)]], PAPER)[DICE]
    assert {(d.difference, d.p, d.false_claim, d.separated) for d in own.values()} == {
        (0, 1, 0.5, False)
    }


def test_lower_distances_are_the_better_claim():
    found = differences([[run(hd95=5, seed=1)], [run("unet", hd95=5.1, seed=2)]], PAPER)
    own = found[HD95]["BC"]
    assert own.difference == pytest.approx(-0.1)
    assert own.false_claim < 0.01
    assert found[HD95][MEAN].false_claim < 0.01


def test_the_test_and_the_interval_must_agree():
    """38 of 40 images say one thing, two failures turn the mean to the other."""
    one, two = run(noise=0), run("unet", noise=0)
    for images in one.images.values():
        images.top["dice"][:] += 0.01
        images.top["dice"][:2] -= 0.5
    own = differences([[one], [two]], PAPER)[DICE]["BC"]
    assert own.holm < 0.001
    assert own.difference < 0
    assert not own.separated


def test_a_p_that_the_correction_lifts_does_not_separate():
    own = Difference(200, 200, 80.0, 79.0, (0.1, 1.9), p=0.03, holm=0.24, false_claim=0.015)
    assert not own.separated
    assert replace(own, holm=None).separated  # the mean, a family of its own


def test_a_task_of_one_group_leaves_the_mean_open():
    one, two = run(seed=1), run("unet", 0.5, seed=2)
    for own in (one, two):
        own.images["TG"].groups[:] = "TG/group000"
    mean = differences([[one], [two]], PAPER)[DICE][MEAN]
    assert (mean.p, mean.bounds) == (1, None)
    assert not mean.separated
    assert np.isnan(mean.false_claim)


def test_few_groups_have_no_interval_and_cannot_be_separated():
    pair = [[run(images=60, groups=3)], [run("unet", 0.5, images=60, groups=3)]]
    own = differences(pair, PAPER)[DICE]["TG"]
    assert (own.images, own.groups, own.bounds) == (60, 3, None)
    assert own.p == 0.25
    assert not own.separated


def test_seeds_are_averaged_first():
    seeds = [run(seed=seed) for seed in (1, 2, 3)]
    other = run("unet", 0.78, seed=9)
    own = differences([seeds, [other]], PAPER)[DICE]["BC"]
    averaged = np.mean([seed.images["BC"].top["dice"] for seed in seeds], axis=0)
    expected = stats.wilcoxon(averaged - other.images["BC"].top["dice"]).pvalue
    assert own.p == pytest.approx(expected)
    assert own.images == 40


def test_tasks_of_one_method_alone_are_left_out():
    found = differences([[run(tasks=("BC", "FH"))], [run("unet", tasks=("FH", "LA"))]], PAPER)
    assert list(found[DICE]) == ["FH"]
    with pytest.raises(CompareError, match="no task in common"):
        differences([[run(tasks=("BC",))], [run("unet", tasks=("FH",))]], PAPER)


@pytest.fixture
def results(tmp_path):
    """ProPL with two seeds, and U-Net, which misses an image of every task."""
    save_run(tmp_path, make_record(), 0.8)
    save_run(tmp_path, make_record(seed=1), 0.9)
    save_run(tmp_path, make_record("unet"), 0.6, empty=1)
    return tmp_path


def test_text_says_what_was_compared(results, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    text = compare(results, "propl", "unet", "1_4")
    assert text.startswith("ProPL minus U-Net, 1/4 of the training images labelled.")
    flat = re.sub(r"\s+", " ", text)
    assert "ProPL: encoder resnet34, weights imagenet, seed 0, 1. U-Net: encoder" in flat
    assert "Dataset 0123456789ab." in flat
    assert "Seeds: an image's score is its mean" in flat
    assert "arXiv:2505.04720" in flat
    few = ", ".join(f"{task} 4" for task in TASKS)
    warned = "; the interval of the mean includes them and may be too narrow."
    assert f"No interval from fewer than 20 groups of test images: {few}{warned}" in flat
    rows = [line.split() for line in text.splitlines() if line.startswith("BC ")]
    assert rows[0][:7] == ["BC", "4", "4", "85.00", "45.00", "+40.00", "—"]
    assert rows[2][3:6] == ["5.00", "16.25", "-11.25"]
    assert len(rows) == 3
    assert [line.split()[1:3] for line in text.splitlines() if line.startswith("mean ")] == [
        ["32", "32"]
    ] * 3
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_markdown_has_the_same_numbers_in_whole_rows(results):
    text = compare(results, "unet", "propl", "1_4", format="md")
    assert text.startswith("### U-Net minus ProPL")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {11}
    assert len(rows) == 3 * (2 + 9)
    mean = next(row for row in rows if row.startswith("| mean |"))
    assert "| 45.00 | 85.00 | **-40.00** | " in mean
    assert text == compare(results, "unet", "propl", "1_4", format="md")


def test_another_precision_is_said(results):
    save_run(results, make_record("unet", execution={"precision": "bf16"}), 0.6)
    flat = " ".join(compare(results, "propl", "unet", "1_4").split())
    assert "U-Net: encoder resnet34, weights imagenet, precision bf16, seed 0." in flat
    assert "ProPL: encoder resnet34, weights imagenet, seed 0, 1." in flat


def test_another_profile_and_a_wider_terminal(results, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")  # too narrow: lines are as long as the table needs
    text = compare(results, "propl", "unet", "1_4", profile="medpy")
    assert "profile medpy" in text
    assert "…" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("propl", "dodnet", "1_4"), r"dodnet has no run at split 1_4 .*: propl, unet\); make"),
        (("unet", "propl", "1_8"), r"unet has no run at split 1_8 .*: none\); make one with `usb"),
        (("propl", "propl", "1_4"), "'propl' was given twice"),
        (("propl", "unett", "1_4"), r"unknown method 'unett' \(did you mean 'unet'\?\)"),
        (("propl", "unet", "1_3"), "unknown split '1_3'"),
        (("propl", "unet", "1_4", "papers"), "unknown profile 'papers'"),
        (("propl", "unet", "1_4", "paper", "csv"), "unknown format 'csv'"),
    ],
)
def test_what_cannot_be_compared_is_answered(results, words, message):
    with pytest.raises(UsageError, match=message):
        compare(results, *words)


def test_ablations_and_variants_are_not_the_method(tmp_path):
    save_run(tmp_path, make_ablation(pud=False, uplc=True), 0.5)
    save_run(tmp_path, make_record("unet"), 0.5)
    with pytest.raises(CompareError, match=r"propl has no run .*has there: propl, unet"):
        compare(tmp_path, "propl", "unet", "1_4")


def test_other_data_protocols_and_images_are_refused(results):
    other = replace(make_record().dataset, content_sha256="f" * 64)
    save_run(results, make_record("fixmatch", dataset=other), 0.5)
    with pytest.raises(MixtureError, match=r"A comparison cannot hold both .*dataset\.content"):
        compare(results, "propl", "fixmatch", "1_4")
    save_run(results, make_record("u2pl", preset="mini"), 0.5)
    with pytest.raises(MixtureError, match=r"preset is 'paper' in the first, 'mini' in the"):
        compare(results, "propl", "u2pl", "1_4")
    save_run(results, make_record(seed=2, weights="none"), 0.5)
    with pytest.raises(MixtureError, match=r"propl/1_4/seed2: weights is 'imagenet'"):
        compare(results, "propl", "unet", "1_4")


def test_other_test_images_are_refused(results):
    record = make_record("unet")
    frame = images_of(record, results)
    frame.assign(id=frame.id.replace("TN3", "TN7")).to_parquet(
        results / "runs" / f"{record.name}.parquet"
    )
    with pytest.raises(MixtureError, match=r"only one of them scored the test image 'TN3' of task"):
        compare(results, "propl", "unet", "1_4")


def test_images_without_a_value_for_one_are_no_pair():
    one, two = run(seed=1), run("unet", seed=2)
    images = make_images("BC", {"dice": 0.8, "iou": 0.7, "hd95": 5.0}, noise=0.05, seed=3)
    images.bottom["hd95"][:10] = images.top["hd95"][:10] = 0
    one = replace(one, images={**one.images, "BC": images})
    own = differences([[one], [two]], PAPER)[HD95]["BC"]
    pairs = images.top["hd95"][10:], two.images["BC"].top["hd95"][10:]
    assert own.p == pytest.approx(stats.wilcoxon(pairs[0] - pairs[1]).pvalue)
