"""Is the difference more than chance? Paired tests, correction for many tests, spread over seeds.

Every test is two-sided and paired: both answers are to the same images. The bootstrap's p value is
in `resampling`; intervals from counts alone are in `intervals`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike
from statsmodels.stats.multitest import multipletests

from utils.evaluation.counts import UNDEFINED, check_shapes, refuse
from utils.evaluation.intervals import Z, paired_shares
from utils.evaluation.labels import auc


class Difference(NamedTuple):
    """First minus second, with interval and p value: positive where the first is higher."""

    value: float
    low: float
    high: float
    first: float  # the score itself, the mean over seeds
    second: float
    p_value: float  # for no difference
    firsts: tuple[float, ...] = ()  # the score of each seed, where seeds were compared
    seconds: tuple[float, ...] = ()

    @property
    def spread(self) -> tuple[float, float]:
        """The deviation of either score over the seeds; nan for one."""
        sides = (self.firsts, self.seconds)
        first, second = (over_seeds(side).deviation if side else UNDEFINED for side in sides)
        return first, second


class McNemar(NamedTuple):
    """How two accuracies differ: on how many images only one of them is right."""

    value: float  # accuracy of the first minus that of the second
    low: float  # the interval of that difference
    high: float
    only_first: int  # images on which only the first is right
    only_second: int
    p_value: float


class Wilcoxon(NamedTuple):
    """How paired scores differ: the signed-rank test."""

    statistic: float  # the smaller sum of ranks
    higher: int  # images on which the first is higher
    lower: int
    p_value: float


class Spread(NamedTuple):
    """One score over several training runs."""

    mean: float
    deviation: float  # divided by seeds - 1; nan for one seed
    seeds: int


def delong_test(truth: ArrayLike, first: ArrayLike, second: ArrayLike) -> Difference:
    """Do two AUCs of the same images differ? truth (n,) of 0/1, scores (n,) finite.

    DeLong et al., "Comparing the areas under two or more correlated receiver operating
    characteristic curves", Biometrics 1988; by ranks, in n log n (Sun and Xu, IEEE Signal
    Processing Letters 2014). Scores that rank the images alike give p = 1. Interval and p are nan
    where the variance is undefined or 0: one class missing or with a single image, or a difference
    that is the same for each image. ValueError as in `labels.auc`.

    >>> delong_test([1, 1, 0, 0], [4, 3, 2, 1], [4, 2, 3, 1]).value  # AUCs of 1 and 3/4
    0.25
    """
    areas = auc(truth, first), auc(truth, second)
    value = areas[0] - areas[1]
    above, below = _placements(np.asarray(truth).astype(bool), np.stack([first, second]))
    apart = above[0] - above[1], below[0] - below[1]
    deviation = np.sqrt(_variance(*apart))
    half = p_value = UNDEFINED
    if deviation > 0:
        half = Z * deviation
        p_value = 2 * scipy.stats.norm.sf(abs(value) / deviation)
    elif deviation == 0 and not any(part.any() for part in apart):
        half, p_value = 0.0, 1.0
    low, high = np.clip([value - half, value + half], -1, 1)
    return Difference(value, float(low), float(high), *areas, float(p_value))


def mcnemar(truth: ArrayLike, first: ArrayLike, second: ArrayLike) -> McNemar:
    """Do two accuracies on the same images differ? Decisions (n,) each, truth (n,), n >= 1.

    Any comparable labels; for arrays of right and wrong give np.ones(n, bool) as truth. Exact: each
    image on which only one is right is a fair coin (McNemar, Psychometrika 1947); p = 1 where there
    is none. The interval is that of `paired_shares`, not this test inverted: near p = 0.05 they may
    disagree. ValueError for other shapes.

    >>> result = mcnemar([1, 1, 1, 1, 1, 1], first=[1, 1, 1, 1, 1, 0], second=[1, 0, 0, 0, 0, 0])
    >>> result.only_first, result.only_second, result.p_value  # four coins, all alike: 2 / 2⁴
    (4, 0, 0.125)
    """
    truth, first, second = map(np.asarray, (truth, first, second))
    check_shapes(truth=truth, first=first, second=second)
    right = first == truth, second == truth
    alone = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    both, neither = int((right[0] & right[1]).sum()), int((~right[0] & ~right[1]).sum())
    p_value = scipy.stats.binomtest(alone[0], sum(alone)).pvalue if any(alone) else 1.0
    return McNemar(*paired_shares(both, *alone, neither), *alone, float(p_value))


def wilcoxon(first: ArrayLike, second: ArrayLike) -> Wilcoxon:
    """Do paired scores differ, such as the Jaccard of each image? (n,) each, n >= 1, no nan.

    Signed-rank test (Wilcoxon 1945). Images on which both are equal are ranked, then left out
    (Pratt, JASA 1959). p = 1 where all are equal; exact for few images, otherwise normal with the
    correction for ties, as scipy chooses. ValueError for other shapes or nan.

    >>> wilcoxon([0.9, 0.8, 0.7], [0.5, 0.6, 0.8])  # ranks 3 and 2 against 1: 4 of 8 ways
    Wilcoxon(statistic=1.0, higher=2, lower=1, p_value=0.5)
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    check_shapes(first=first, second=second)
    finite = np.isfinite(first) & np.isfinite(second)
    refuse(~finite, "scores: nan or infinite", "leave these out of both")
    apart = first - second
    higher, lower = int((apart > 0).sum()), int((apart < 0).sum())
    if higher + lower == 0:
        return Wilcoxon(0.0, 0, 0, 1.0)
    test = scipy.stats.wilcoxon(apart, zero_method="pratt")
    return Wilcoxon(float(test.statistic), higher, lower, float(test.pvalue))


def holm(p_values: ArrayLike) -> np.ndarray:
    """p values (k,) corrected for k tests: bounds the chance of any false positive.

    Holm, Scandinavian Journal of Statistics 1979; valid for correlated tests. nan stays nan and is
    not counted. ValueError for other shapes and values outside [0, 1].

    >>> holm([0.01, 0.04, 0.03]).tolist()  # 3 · 0.01, 2 · 0.03, and 0.04, but not below 0.06
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=float)
    defined = ~np.isnan(p_values)
    if p_values.ndim != 1 or not ((p_values[defined] >= 0) & (p_values[defined] <= 1)).all():
        raise ValueError(f"p values are {p_values}; expected (k,) in [0, 1], or nan")
    adjusted = p_values.copy()
    if defined.any():
        adjusted[defined] = multipletests(p_values[defined], method="holm")[1]
    return adjusted


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of a score over seeds (s,), s >= 1.

    The deviation is about other training runs on the same data; the interval in a score file is
    about other images. nan where a score is nan. ValueError for no seed.

    >>> over_seeds([0.5, 0.75, 1.0])
    Spread(mean=0.75, deviation=0.25, seeds=3)
    """
    scores = np.asarray(values, dtype=float)
    if len(scores) == 0:
        raise ValueError("no scores; expected one per seed, at least one")
    deviation = float(scores.std(ddof=1)) if len(scores) > 1 else UNDEFINED
    return Spread(float(scores.mean()), deviation, len(scores))


def _placements(positives: np.ndarray, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The share of the other class that each image is ranked correctly against; scores (k, n).

    (k, positives) and (k, negatives), in [0, 1], ties half: the mean of each row is the AUC.
    """
    scores = np.asarray(scores, dtype=float)
    ranks = scipy.stats.rankdata(scores, axis=1)
    # Rank among all minus rank within its class: how many of the other class are below.
    below = [
        ranks[:, members] - scipy.stats.rankdata(scores[:, members], axis=1)
        for members in (positives, ~positives)
    ]
    m, n = positives.sum(), (~positives).sum()
    return below[0] / max(n, 1), (m - below[1]) / max(m, 1)


def _variance(above: np.ndarray, below: np.ndarray) -> float:
    """DeLong's variance of the mean of placements (m,) and (n,); nan with fewer than two of one."""
    if min(len(above), len(below)) < 2:
        return UNDEFINED
    return float(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
