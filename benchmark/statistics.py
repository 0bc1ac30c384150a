"""Intervals, tests and ranks of methods that were scored on the same test images.

Pure functions of arrays: N images in G groups (patients, videos, duplicate clusters), M methods,
R resamples. Images of a group are not independent, so what is drawn and counted is groups.

Resampling is Rubin's Bayesian bootstrap (Annals of Statistics 9:130, 1981): each resample gives
every group an exponential weight. The weight follows from the group's name and nothing else.
Hence all methods, metrics and tables share their resamples, which is what makes differences
paired; a patient whose images serve three tasks weighs the same in all of them; the same records
give the same intervals; and no resample lacks a task, however few groups that task has.

Intervals are percentile intervals. BCa would correct the skewness of one mean at a time; the
percentiles of the same resamples serve means, differences, means over tasks and ranks alike.
"""

import hashlib
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr  # distribution function of Student's t

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]

RESAMPLES = 2000
LEVEL = 0.95  # of every interval
TAILS = (50 * (1 - LEVEL), 50 * (1 + LEVEL))  # percentiles that bound it
ALPHA = 0.05  # what a test may err
FEWEST_GROUPS = 20  # below it a 95 % interval of Dice-like scores covers less than 92 % (simulated)
FEW = 13  # differences of which all signs can be tried
SEED = "usbench-1"  # a new one draws other resamples


@cache
def weights_of(group: str) -> Floats:
    """Weights (R,) of a group in the resamples: exponential with mean 1.

    Drawn from Philox's raw stream, which NumPy promises to keep.
    """
    key = int.from_bytes(hashlib.sha256(f"{SEED}\0{group}".encode()).digest()[:16])
    raw = np.random.Philox(key=key).random_raw(RESAMPLES)
    uniform = ((raw >> np.uint64(11)) + 0.5) * 2.0**-53  # never 0 or 1
    weights: Floats = -np.log(uniform)
    weights.flags.writeable = False
    return weights


def scores_of(top: Floats, bottom: Floats) -> Floats:
    """Scores (M,) of one task: the sum of `top` over the sum of `bottom`, both (N, M).

    A mean over images has their scores above and ones below, both 0 where an image has no score;
    Dice of all pixels together has 2 TP above and 2 TP + FP + FN below. NaN where nothing counts.
    """
    return _divide(top.sum(axis=0), bottom.sum(axis=0))


def resample(top: Floats, bottom: Floats, groups: Names) -> Floats:
    """Scores (R, M) of the resamples of one task; NaN if its images are of one group.

    Such weights give the mean of G values the variance SS / (G (G + 1)), SS being their sum of
    squares about it; an unbiased estimate is SS / (G (G - 1)). So the resamples' deviations from
    the score are stretched.

    Args:
        top: (N, M) as in `scores_of`.
        bottom: (N, M) as in `scores_of`.
        groups: (N,) names.
    """
    names, index = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return np.full((RESAMPLES, top.shape[1]), np.nan)
    weights = np.stack([weights_of(str(name)) for name in names], axis=1)  # (R, G)
    drawn = _divide(weights @ _sums(top, index), weights @ _sums(bottom, index))
    score = scores_of(top, bottom)
    stretch = float(np.sqrt((len(names) + 1) / (len(names) - 1)))
    return score + (drawn - score) * stretch


def interval(resampled: Floats) -> tuple[Floats, Floats]:
    """Bounds of the 95 % interval along the first axis (R, ...); NaN where a resample is."""
    low, high = np.percentile(resampled, TAILS, axis=0)
    return low, high


def resampling_p(differences: Floats) -> Floats:
    """Two-sided p (...) that the difference is 0, from its resamples (R, ...).

    Twice the smaller share of resamples on one side of 0, which is below 0.05 where the 95 %
    interval leaves out 0; at least 2 / (R + 1), for that many resamples show no less.
    """
    below = posterior_below(differences)
    smaller = np.maximum(np.minimum(below, 1 - below), 1 / (len(differences) + 1))
    return 2 * smaller


def posterior_below(differences: Floats) -> Floats:
    """Share (...) of resamples (R, ...) in which a difference is below 0; ties count half."""
    # what summation order alone makes of equal scores is no difference
    clean = np.where(np.abs(differences) < 1e-12, 0.0, differences)
    share: Floats = np.mean((1 - np.sign(clean)) / 2, axis=0)  # 1 below, 1/2 at 0, NaN if NaN
    return share


def group_means(scores: Floats, groups: Names) -> Floats:
    """Means (G, M) of per-image scores (N, M) over each group; NaN images are left out."""
    _, index = np.unique(groups, return_inverse=True)
    counted = np.isfinite(scores)
    sums = _sums(np.where(counted, scores, 0.0), index)
    return _divide(sums, _sums(counted.astype(float), index))


def signed_rank_p(differences: Floats) -> float:
    """Two-sided p of Wilcoxon's signed-rank test of independent differences (G,).

    NaN and 0 are left out, as Wilcoxon did; 1 if nothing remains.
    """
    # Here, not above: it takes nearly a second, and a single method needs no test.
    from scipy.stats import rankdata, wilcoxon

    kept = differences[np.isfinite(differences) & (differences != 0)]
    if kept.size > FEW:
        return float(wilcoxon(kept).pvalue)
    # all signs, for ties too: SciPy's own way takes a quarter of a second where there are ties
    ranks_of = rankdata(np.abs(kept))
    signs = np.arange(2**kept.size)[:, None] >> np.arange(kept.size) & 1
    sums, observed = signs @ ranks_of, ranks_of[kept > 0].sum()
    return float(min(1.0, 2 * min((sums >= observed).mean(), (sums <= observed).mean())))


def worse_p(differences: Floats) -> float:
    """As `signed_rank_p`, but 1 where the ranks of best - other (G,) favour the other.

    The best mean may owe its place to few images. A method that beats it on most is not
    separated from it, however small the p.
    """
    from scipy.stats import rankdata

    kept = differences[np.isfinite(differences) & (differences != 0)]
    favoured = rankdata(np.abs(kept)) @ np.sign(kept) > 0
    return signed_rank_p(kept) if favoured else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scand. J. Statist. 6:65, 1979) of a family's p-values."""
    corrected = [0.0] * len(p)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - place) * p[index]))
        corrected[index] = largest
    return corrected


def ranks(scores: Floats, *, higher_is_better: bool) -> npt.NDArray[np.int64]:
    """Ranks along the last axis (..., M), 1 for the best; equal scores share the better rank."""
    signed = -scores if higher_is_better else scores
    better = signed[..., None, :] < signed[..., :, None]  # (..., M, M)
    return np.asarray(1 + better.sum(axis=-1))


def rank_interval(resampled: Floats, *, higher_is_better: bool) -> npt.NDArray[np.int64]:
    """Lowest and highest rank (2, M) of the 95 % interval, from resampled scores (R, M)."""
    drawn = ranks(resampled, higher_is_better=higher_is_better)
    return np.percentile(drawn, TAILS, axis=0, method="nearest").astype(np.int64)


def false_claim(better: Floats, other: Floats) -> float:
    """Probability that a claim "the first scores higher" is false, from n paired scores each.

    Christodoulou et al., "False promises in medical imaging AI?" (arXiv:2505.04720): with means
    m, sample standard deviations s and the correlation r of the pairs, the posterior of the true
    difference under a non-informative prior gives

        P(mu_1 <= mu_2) = T_{n-1}( sqrt(n) (m_2 - m_1) / sqrt(s_1^2 + s_2^2 - 2 r s_1 s_2) ),

    T being the distribution function of Student's t. Above 0.5 where the second has the higher
    mean; NaN for fewer than two pairs. The pairs must be independent: means of groups, not images.
    """
    differences = better - other  # their variance is the term under the second root
    kept = differences[np.isfinite(differences)]
    if (n := len(kept)) < 2:
        return float("nan")
    mean, spread = kept.mean(), kept.std(ddof=1)
    if spread < 1e-12:  # the same difference in every pair
        return 0.5 if abs(mean) < 1e-12 else float(mean < 0)
    return float(stdtr(n - 1, -np.sqrt(n) * mean / spread))


def _sums(values: Floats, index: npt.NDArray[np.intp]) -> Floats:
    """Sums (G, M) of rows (N, M) with the same index."""
    sums = np.zeros((int(index.max()) + 1, values.shape[1]))
    np.add.at(sums, index, values)
    return sums


def _divide(top: Floats, bottom: Floats) -> Floats:
    quotient: Floats = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return quotient
