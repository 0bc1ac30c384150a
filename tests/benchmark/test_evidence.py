import numpy as np
import pytest
from fake_records import make_images
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.evidence import MEAN, Rank, columns_of, judge
from benchmark.statistics import FEWEST_GROUPS, interval, resample
from dataset_builders.tasks import TASKS


def run(dice=0.8, tasks=tuple(TASKS), **options):
    """Images of a run: one Dice for all tasks."""
    return {task: make_images(task, {"dice": dice}, **options) for task in tasks}


def dice(*methods):
    return judge(methods, "dice", higher_is_better=True)


def test_one_method_has_intervals_and_no_tests():
    found = dice([run()])
    assert list(found) == [*TASKS, MEAN]
    for (estimate,) in found.values():
        assert estimate.low < 0.8 < estimate.high
        assert estimate.p_best is None
        assert not estimate.top_group
        assert estimate.rank is None
    images = run()["BC"]
    low, high = interval(resample(images.top["dice"][:, None], np.ones((40, 1)), images.groups))
    assert (found["BC"][0].low, found["BC"][0].high) == (low[0], high[0])


def test_the_mean_over_tasks_is_surer_than_a_task():
    found = dice([run()])
    widths = {name: own.high - own.low for name, (own,) in found.items()}
    tasks = np.mean([widths[task] for task in TASKS])
    assert widths[MEAN] == pytest.approx(tasks / 8**0.5, rel=0.1)


def test_patients_of_three_tasks_are_drawn_once():
    """The same groups with the same scores in all tasks: the mean is as unsure as one task."""
    images = make_images("BC", {"dice": 0.8})
    found = dice([dict.fromkeys(TASKS, images)])
    assert found[MEAN][0].low == pytest.approx(found["BC"][0].low)
    assert found[MEAN][0].high == pytest.approx(found["BC"][0].high)


def test_seeds_are_no_further_images():
    one, three = dice([run()]), dice([run(), run(), run()])
    for name, (estimate,) in one.items():
        assert three[name][0].low == pytest.approx(estimate.low)
        assert three[name][0].high == pytest.approx(estimate.high)
    noisy = [run(noise=0.03, seed=seed) for seed in range(3)]
    column = columns_of([noisy], "dice")["BC"]
    averaged = np.mean([own["BC"].top["dice"] for own in noisy], axis=0)
    np.testing.assert_allclose(column.units[:, 0], averaged)
    drawn = resample(averaged[:, None], np.ones((40, 1)), noisy[0]["BC"].groups)
    np.testing.assert_allclose(column.resampled, drawn)


def test_the_top_group_is_the_best_and_what_cannot_be_told_from_it():
    found = dice(
        [run(0.80, noise=0.05, seed=1)],
        [run(0.801, noise=0.05, seed=2)],
        [run(0.70, noise=0.05, seed=3)],
    )
    for name in ("BC", "TN", MEAN):
        assert [own.top_group for own in found[name]] == [True, True, False]
        assert found[name][1].p_best is None  # the best
        assert found[name][0].p_best > 0.1
        assert found[name][2].p_best < 0.01
    assert [own.rank for own in found[MEAN]] == [Rank(2, 1, 2), Rank(1, 1, 2), Rank(3, 3, 3)]
    assert all(own.rank is None for own in found["BC"])


def test_p_is_corrected_for_the_number_of_methods():
    others = [[run(0.7, noise=0.3, seed=seed)] for seed in range(2, 8)]
    best = [run(0.8, noise=0.05, seed=1)]
    alone = [dice(best, other)["BC"][1].p_best for other in others]
    together = [own.p_best for own in dice(best, *others)["BC"][1:]]
    assert min(together) == pytest.approx(min(6 * min(alone), 1))
    assert all(p >= q for p, q in zip(together, alone, strict=True))


def test_lower_distances_are_better():
    near, far = ({task: make_images(task, {"hd95": m}) for task in TASKS} for m in (3.0, 4.0))
    found = judge([[far], [near]], "hd95", higher_is_better=False)
    assert [own.top_group for own in found["BC"]] == [False, True]
    assert [own.rank.rank for own in found[MEAN]] == [2, 1]


def test_the_best_mean_is_not_separated_from_a_method_that_ranks_above_it():
    """Two failures cost a method its mean, though it wins 38 of 40 images."""
    best, other = run(0.8), run(0.8)
    for images in other.values():
        images.top["dice"][:] += 0.01
        images.top["dice"][:2] -= 0.5
    found = dice([best], [other])
    assert found["BC"][0].p_best is None
    assert found["BC"][1].p_best == 1
    assert found["BC"][1].top_group


def test_few_groups_give_no_interval_but_count_in_the_mean():
    few = {**run(), "TG": make_images("TG", {"dice": 0.8}, groups=FEWEST_GROUPS - 1)}
    worse = {task: make_images(task, {"dice": 0.1}, groups=3) for task in TASKS}
    found = dice([few])
    assert found["TG"][0].low is None
    assert found["BC"][0].low is not None
    assert found[MEAN][0].low is not None
    three = {task: make_images(task, {"dice": 0.8}, groups=3) for task in TASKS}
    assert [own.top_group for own in dice([three], [worse])["BC"]] == [True, True]


def test_a_task_of_one_group_leaves_the_mean_without_an_interval():
    one = {**run(), "TG": make_images("TG", {"dice": 0.8}, groups=1)}
    other = {**run(0.7), "TG": make_images("TG", {"dice": 0.7}, groups=1)}
    first, second = dice([one], [other])[MEAN]
    assert first.low is second.low is None
    assert first.rank is second.rank is None
    assert second.p_best == 1


def test_methods_without_a_task_are_left_out_of_it():
    found = dice([run()], [run(0.7, tasks=("BC",))], [])
    assert [own is None for own in found["BC"]] == [False, False, True]
    assert [own is None for own in found["FH"]] == [False, True, True]
    assert [own is None for own in found[MEAN]] == [False, True, True]
    assert not found["FH"][0].top_group  # nothing to compare with
    assert list(dice([run(tasks=("TN", "BC"))])) == ["BC", "TN"]
    assert dice([], []) == {}


def test_images_without_a_value_are_left_out_of_the_pairs():
    one, other = run(), run(0.7)
    for images, lost in ((one, slice(0, 5)), (other, slice(3, 9))):
        for own in images.values():
            own.top["dice"][lost] = 0
            own.bottom["dice"][lost] = 0
    found = dice([one], [other])["BC"]
    kept = columns_of([[one], [other]], "dice")["BC"].units
    assert np.isnan(kept[:, 0]).sum() == 5
    assert np.isnan(kept[:, 1]).sum() == 6
    assert found[1].p_best < 1e-5


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(4)))
def test_methods_do_not_depend_on_their_order_or_company(order):
    methods = [[run(0.6 + 0.01 * i, noise=0.02, seed=i)] for i in range(4)]
    straight = dice(*methods)
    turned = dice(*(methods[i] for i in order))
    for name, own in straight.items():
        for place, index in enumerate(order):
            assert turned[name][place].low == pytest.approx(own[index].low, abs=1e-12)
            assert turned[name][place].p_best == own[index].p_best
            assert turned[name][place].rank == own[index].rank
