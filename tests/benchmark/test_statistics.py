import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from benchmark import statistics
from benchmark.statistics import (
    RESAMPLES,
    false_claim,
    group_means,
    holm,
    interval,
    posterior_below,
    rank_interval,
    ranks,
    resample,
    resampling_p,
    scores_of,
    signed_rank_p,
    weights_of,
    worse_p,
)

RNG = np.random.default_rng(0)


def names(count: int, groups: int | None = None) -> np.ndarray:
    return np.array([f"source/patient{i % (groups or count)}" for i in range(count)])


def column(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums above and below of a mean over images."""
    scores = scores.reshape(len(scores), -1)
    return scores, np.ones_like(scores)


def skewed(*shape: int, rng: np.random.Generator = RNG) -> np.ndarray:
    """As Dice is: mean 0.8, the tail to the left."""
    return rng.beta(6, 1.5, shape)


def bounds(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return np.array(interval(resample(*column(scores), groups)))[:, 0]


def test_weights_are_exponential_and_follow_from_the_name():
    drawn = np.concatenate([weights_of(str(name)) for name in names(200)])
    assert stats.kstest(drawn, "expon").pvalue > 0.01
    assert drawn.min() > 0
    again = statistics.weights_of.__wrapped__("source/patient7")
    np.testing.assert_array_equal(again, weights_of("source/patient7"))
    assert abs(np.corrcoef(weights_of("a"), weights_of("b"))[0, 1]) < 0.1
    # Philox's raw stream is the same everywhere: other numbers here make other tables
    np.testing.assert_allclose(
        weights_of("a")[:3], [1.730220270233648, 0.382244760706173, 0.303206207050375], rtol=1e-9
    )


def test_a_resample_is_the_weighted_mean_stretched_to_the_unbiased_variance():
    scores, groups = skewed(4), np.array(["b", "a", "b", "c"])
    weights = np.stack([weights_of(group) for group in groups])
    drawn = (weights * scores[:, None]).sum(0) / weights.sum(0)
    expected = scores.mean() + (drawn - scores.mean()) * 2**0.5  # sqrt((3 + 1) / (3 - 1))
    np.testing.assert_allclose(resample(*column(scores), groups)[:, 0], expected)


@pytest.mark.parametrize("images", [30, 200])
def test_the_spread_of_resamples_is_the_standard_error(images):
    scores = skewed(images, 5)
    spread = resample(*column(scores), names(images)).std(axis=0)
    np.testing.assert_allclose(spread, stats.sem(scores, axis=0), rtol=0.06)


def test_the_interval_is_scipys_but_for_chance():
    scores = skewed(200)
    theirs = stats.bootstrap(
        (scores,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    np.testing.assert_allclose(bounds(scores, names(200)), theirs, atol=0.06 * width)


def test_the_paired_interval_is_scipys_but_for_chance():
    one = skewed(150)
    other = one + RNG.normal(0.01, 0.03, 150)
    theirs = stats.bootstrap(
        (one, other),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        paired=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    drawn = resample(*column(np.stack([one, other], axis=1)), names(150))
    ours = interval(drawn[:, 0] - drawn[:, 1])
    np.testing.assert_allclose(ours, theirs, atol=0.06 * (theirs.high - theirs.low))
    assert np.diff(ours) < 0.5 * np.diff(interval(drawn[:, 0]))  # pairing pays


def test_images_of_a_group_count_once():
    scores, groups = skewed(50), names(50)
    four_fold, their_groups = np.tile(scores, 4), np.tile(groups, 4)
    np.testing.assert_allclose(bounds(four_fold, their_groups), bounds(scores, groups))
    careless = bounds(four_fold, names(200))
    assert np.diff(careless) < 0.6 * np.diff(bounds(scores, groups))


def test_groups_of_other_sizes_weigh_by_their_images():
    scores = np.array([0.2] * 9 + [0.8])
    groups = np.array(["large"] * 9 + ["small"])
    drawn = resample(*column(scores), groups)[:, 0]
    large, small = weights_of("large"), weights_of("small")
    weighted = (9 * 0.2 * large + 0.8 * small) / (9 * large + small)
    np.testing.assert_allclose(drawn, 0.26 + (weighted - 0.26) * 3**0.5)


@settings(max_examples=25, deadline=None)
@given(arrays(float, (12, 3), elements=st.floats(0, 1)), st.permutations(range(12)))
def test_the_order_of_images_plays_no_part(scores, order):
    groups, order = names(12, 5), np.array(order)
    one = resample(*column(scores), groups)
    np.testing.assert_allclose(one, resample(*column(scores[order]), groups[order]), atol=1e-12)
    means = group_means(scores, groups)
    np.testing.assert_allclose(means, group_means(scores[order], groups[order]), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 100), st.floats(-10, 10))
def test_the_interval_moves_with_the_scores(scale, shift):
    scores = skewed(20, rng=np.random.default_rng(3))
    moved = bounds(scale * scores + shift, names(20))
    np.testing.assert_allclose(moved, scale * bounds(scores, names(20)) + shift, atol=1e-9)


def test_pooled_scores_are_sums_over_sums():
    top, bottom = np.array([[2.0], [90.0]]), np.array([[10.0], [100.0]])
    assert scores_of(top, bottom)[0] == 92 / 110
    groups = np.array(["a", "b"])
    a, b = weights_of("a"), weights_of("b")
    pooled = (2 * a + 90 * b) / (10 * a + 100 * b)
    expected = 92 / 110 + (pooled - 92 / 110) * 3**0.5
    np.testing.assert_allclose(resample(top, bottom, groups)[:, 0], expected)


def test_what_cannot_be_known_is_nan():
    one_group = resample(*column(skewed(5)), names(5, 1))
    assert one_group.shape == (RESAMPLES, 1)
    assert np.isnan(one_group).all()
    assert np.isnan(interval(one_group)).all()
    assert np.isnan(resampling_p(one_group[:, 0]))
    nothing = np.zeros((5, 1))
    assert np.isnan(scores_of(nothing, nothing)).all()
    assert np.isnan(resample(nothing, nothing, names(5))).all()


def test_images_without_a_score_are_left_out():
    scores = np.array([[0.5, 0.1], [np.nan, 0.3], [0.7, np.nan], [np.nan, np.nan]])
    groups = np.array(["a", "a", "b", "c"])
    means = [[0.5, 0.2], [0.7, np.nan], [np.nan, np.nan]]
    np.testing.assert_allclose(group_means(scores, groups), means)


@pytest.mark.parametrize("groups", [6, 40, 51, 200])
def test_signed_ranks_are_scipys(groups):
    for shift in (0, 0.3):
        differences = RNG.normal(shift, 1, groups)
        expected = stats.wilcoxon(differences).pvalue
        assert signed_rank_p(differences) == pytest.approx(expected, rel=1e-12)
        with_holes = np.concatenate([differences, [0.0, np.nan, 0.0]])
        assert signed_rank_p(with_holes) == pytest.approx(expected, rel=1e-12)
        favoured = stats.wilcoxon(differences, alternative="greater").pvalue < 0.5
        assert worse_p(differences) == pytest.approx(expected if favoured else 1)
        assert worse_p(-differences) == pytest.approx(1 if favoured else expected)


@pytest.mark.parametrize("groups", [2, 4, 9])
def test_few_signed_ranks_are_exact_with_ties_too(groups):
    differences = RNG.integers(-2, 4, groups) + 0.5
    differences[: groups // 2] = -0.5
    for own in (differences, -differences):
        expected = stats.wilcoxon(own, method=stats.PermutationMethod()).pvalue
        assert signed_rank_p(own) == pytest.approx(expected)


def test_no_difference_is_no_evidence():
    for differences in (np.zeros(30), np.full(4, np.nan), np.array([])):
        assert signed_rank_p(differences) == worse_p(differences) == 1.0
    assert signed_rank_p(np.array([0.1, 0.2, 0.4])) == 0.25  # three groups can show no more
    assert signed_rank_p(np.array([0.3])) == 1


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_nothing_and_bonferroni(p):
    corrected = holm(p)
    for one, own in zip(p, corrected, strict=True):
        assert one <= own <= min(1, len(p) * one)
    by_p = [own for _, own in sorted(zip(p, corrected, strict=True))]
    assert by_p == sorted(by_p)


def test_p_of_resamples_counts_the_smaller_side():
    drawn = np.concatenate([np.full(20, -1.0), np.full(1980, 1.0)])
    assert posterior_below(drawn) == 0.01
    assert resampling_p(drawn) == pytest.approx(0.02)
    assert resampling_p(-drawn) == pytest.approx(0.02)
    assert resampling_p(np.ones(2000)) == pytest.approx(2 / 2001)
    assert resampling_p(np.full(2000, 1e-15)) == 1  # summation order, not evidence
    halves = np.stack([drawn, np.zeros(2000)], axis=1)
    np.testing.assert_allclose(resampling_p(halves), [0.02, 1])


@settings(max_examples=30, deadline=None)
@given(st.floats(-0.1, 0.1))
def test_p_is_small_where_the_interval_leaves_out_zero(shift):
    drawn = resample(*column(RNG.normal(shift, 0.2, 100)), names(100))[:, 0]
    low, high = interval(drawn)
    p = resampling_p(drawn)
    assert (p < 0.05) == (low > 0 or high < 0) or abs(p - 0.05) < 0.002


def test_ranks_and_their_intervals():
    assert ranks(np.array([0.5, 0.9, 0.9, 0.1]), higher_is_better=True).tolist() == [3, 1, 1, 4]
    assert ranks(np.array([5.0, 9.0, 1.0]), higher_is_better=False).tolist() == [2, 3, 1]
    apart = np.array([0.9, 0.5, 0.501]) + RNG.normal(0, 0.01, (2000, 3))
    assert rank_interval(apart, higher_is_better=True).tolist() == [[1, 2, 2], [1, 3, 3]]


def test_false_claims_follow_the_formula():
    better = skewed(80)
    other = 0.7 * better + 0.2 + RNG.normal(0, 0.1, 80)
    n, (m_1, m_2) = 80, (better.mean(), other.mean())
    s_1, s_2, r = better.std(ddof=1), other.std(ddof=1), np.corrcoef(better, other)[0, 1]
    t = n**0.5 * (m_2 - m_1) / (s_1**2 + s_2**2 - 2 * r * s_1 * s_2) ** 0.5
    assert false_claim(better, other) == pytest.approx(stats.t.cdf(t, n - 1))
    one_sided = stats.ttest_rel(better, other, alternative="greater").pvalue
    assert false_claim(better, other) == pytest.approx(one_sided)
    assert false_claim(other, better) == pytest.approx(1 - one_sided)
    holes = np.append(better, [np.nan, 0.1]), np.append(other, [0.1, np.nan])
    assert false_claim(*holes) == pytest.approx(one_sided)


def test_false_claims_of_constant_differences():
    scores = skewed(10)
    assert false_claim(scores, scores) == 0.5
    assert false_claim(scores + 0.1, scores) == 0
    assert false_claim(scores, scores + 0.1) == 1
    assert np.isnan(false_claim(scores[:1], scores[:1]))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(1, 2), (1, 5)], ids=["images alone", "groups of 1 to 4"])
def test_intervals_cover_the_truth_as_often_as_they_say(sizes):
    """500 test sets of 150 groups, each drawn anew; a column of the matrix each."""
    rng = np.random.default_rng(7)
    covered = covered_carelessly = 0
    for _ in range(500):
        index = np.repeat(np.arange(150), rng.integers(*sizes, 150))
        scores = 0.6 * skewed(150, rng=rng)[index] + 0.4 * skewed(len(index), rng=rng)
        groups = names(150)[index]
        low, high = bounds(scores, groups)
        covered += low <= 0.8 <= high
        low, high = bounds(scores, names(len(index)))
        covered_carelessly += low <= 0.8 <= high
    assert 0.93 <= covered / 500 <= 0.97
    if sizes != (1, 2):
        assert covered_carelessly / 500 < 0.9
