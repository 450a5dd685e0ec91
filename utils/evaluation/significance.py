"""Is the difference more than chance? Paired tests, correction for many of them, spread over seeds.

Every test is two-sided and paired: both answers are to the same images. The bootstrap has its p
value in `paired`; intervals from counts alone are those of `intervals`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from statsmodels.stats.multitest import multipletests

from utils.evaluation.counts import UNDEFINED
from utils.evaluation.intervals import LEVEL, Interval, deviate, hanley_mcneil, paired_shares
from utils.evaluation.labels import auc


class Difference(NamedTuple):
    """First minus second, with interval and p value: above zero where the first is higher."""

    value: float
    low: float
    high: float
    first: float  # the score itself, the mean over seeds
    second: float
    p_value: float  # for no difference
    each: tuple[float, ...] = ()  # the difference of each pair: how far seeds lie apart


class McNemar(NamedTuple):
    """How two accuracies differ: on which images the one is right and the other wrong."""

    value: float  # accuracy of the first minus that of the second
    low: float  # the interval of that difference
    high: float
    only_first: int  # images that the first alone has right
    only_second: int
    p_value: float


class Wilcoxon(NamedTuple):
    """How paired scores differ: the signed-rank test."""

    statistic: float  # the smaller sum of ranks
    higher: int  # images on which the first is higher
    lower: int
    p_value: float


class Spread(NamedTuple):
    """Of one score over several trainings."""

    mean: float
    deviation: float  # with seeds - 1 below; nan for one seed
    seeds: int


def delong_interval(truth: ArrayLike, score: ArrayLike, level: float = LEVEL) -> Interval:
    """Interval of an AUC from its own scores; truth (n,) of 0/1, score (n,) finite.

    The variance is that of DeLong et al. (Biometrics 1988). The interval is symmetric in the logit
    of the AUC (Pepe, "The Statistical Evaluation of Medical Tests", 2003, section 5.2), so it never
    leaves [0, 1] and holds better near 1 than a symmetric one. Where the formula sees no variance,
    as for an AUC of 1 or a single positive, it is `hanley_mcneil`'s. nan where only one class is
    there. Raises ValueError as `evaluation.labels.auc`, and for a level outside (0, 1).
    """
    area = auc(truth, score)
    positives = np.asarray(truth).astype(bool)
    m, n = int(positives.sum()), int((~positives).sum())
    variance = _variance(*(part[0] for part in _placements(positives, score)))
    if not (variance > 0 and 0 < area < 1):
        return hanley_mcneil(area, m, n, level)
    # The delta method: the derivative of the logit is 1 / (A (1 - A)).
    half = deviate(level) * np.sqrt(variance) / (area * (1 - area))
    low, high = expit(logit(area) + np.array([-half, half]))
    return Interval(float(low), float(high))


def delong_test(
    truth: ArrayLike, first: ArrayLike, second: ArrayLike, level: float = LEVEL
) -> Difference:
    """Do two AUCs of the same images differ? truth (n,) of 0/1, scores (n,) finite.

    DeLong et al., "Comparing the areas under two or more correlated receiver operating
    characteristic curves", Biometrics 1988; by ranks, in n log n (Sun and Xu, IEEE Signal
    Processing Letters 2014). Scores that rank the images alike give p = 1. Interval and p are nan
    where the formula has no variance to go by: one class missing or with a single image, or a
    difference that is the same from each image. Raises ValueError as `delong_interval`.

    >>> delong_test([1, 1, 0, 0], [4, 3, 2, 1], [4, 2, 3, 1]).value  # AUCs of 1 and 3/4
    0.25
    """
    areas = auc(truth, first), auc(truth, second)
    value = areas[0] - areas[1]
    above, below = _placements(np.asarray(truth).astype(bool), np.stack([first, second]))
    apart = above[0] - above[1], below[0] - below[1]
    deviation, half = np.sqrt(_variance(*apart)), deviate(level)
    if deviation > 0:
        half *= deviation
        p_value = 2 * scipy.stats.norm.sf(abs(value) / deviation)
    elif deviation == 0 and not any(part.any() for part in apart):
        half, p_value = 0.0, 1.0
    else:
        half = p_value = UNDEFINED
    low, high = np.clip([value - half, value + half], -1, 1)
    return Difference(value, float(low), float(high), *areas, float(p_value))


def mcnemar(truth: ArrayLike, first: ArrayLike, second: ArrayLike, level: float = LEVEL) -> McNemar:
    """Do two accuracies on the same images differ? Decisions (n,) each, truth (n,), n >= 1.

    Any labels that can be compared; for arrays of right and wrong give np.ones(n, bool) as truth.
    Exact: among the images that one alone has right, each side is a coin (McNemar, Psychometrika
    1947); p = 1 where there is none. The interval is `paired_shares`' and not this test
    turned round: near p = 0.05 the one may hold 0 where the other sees a difference. Raises
    ValueError for other shapes, and for a level outside (0, 1).

    >>> found = mcnemar([1, 1, 1, 1, 1, 1], first=[1, 1, 1, 1, 1, 0], second=[1, 0, 0, 0, 0, 0])
    >>> found.only_first, found.only_second, found.p_value  # four coins that fall alike: 2 / 2⁴
    (4, 0, 0.125)
    """
    truth, first, second = map(np.asarray, (truth, first, second))
    shapes = [values.shape for values in (truth, first, second)]
    if truth.ndim != 1 or len(set(shapes)) > 1 or len(truth) == 0:
        raise ValueError(f"truth and decisions have shapes {shapes}; expected (n,) each, n >= 1")
    right = first == truth, second == truth
    alone = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    both, neither = int((right[0] & right[1]).sum()), int((~right[0] & ~right[1]).sum())
    p_value = scipy.stats.binomtest(alone[0], sum(alone)).pvalue if any(alone) else 1.0
    return McNemar(*paired_shares(both, *alone, neither, level), *alone, float(p_value))


def wilcoxon(first: ArrayLike, second: ArrayLike) -> Wilcoxon:
    """Do paired scores differ, such as the Jaccard of each image? (n,) each, n >= 1, no nan.

    Signed-rank test (Wilcoxon 1945). An image on which both are equal takes part in the ranking and
    is then left out (Pratt, JASA 1959): it speaks for no difference, and the smallest differences
    count the more. p = 1 where all are equal; exact for few images, else normal with the correction
    for ties, as scipy chooses. Raises ValueError for other shapes or nan.

    >>> wilcoxon([0.9, 0.8, 0.7], [0.5, 0.6, 0.8])  # ranks 3 and 2 against 1: 4 of 8 ways
    Wilcoxon(statistic=1.0, higher=2, lower=1, p_value=0.5)
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.ndim != 1 or first.shape != second.shape or len(first) == 0:
        raise ValueError(
            f"scores have shapes {first.shape} and {second.shape}; expected (n,) both, n >= 1"
        )
    if unusable := int((~(np.isfinite(first) & np.isfinite(second))).sum()):
        raise ValueError(
            f"scores are nan or infinite in {unusable} of {len(first)} images; "
            "leave these out of both"
        )
    apart = first - second
    higher, lower = int((apart > 0).sum()), int((apart < 0).sum())
    if higher + lower == 0:
        return Wilcoxon(0.0, 0, 0, 1.0)
    found = scipy.stats.wilcoxon(apart, zero_method="pratt")
    return Wilcoxon(float(found.statistic), higher, lower, float(found.pvalue))


def holm(p_values: ArrayLike) -> np.ndarray:
    """p values (k,) corrected for being k: the chance of any false alarm stays below the level.

    Holm, Scandinavian Journal of Statistics 1979; whatever the correlation of the tests. nan
    stays nan and does not count. Raises ValueError for other shapes and values outside [0, 1].

    >>> holm([0.01, 0.04, 0.03]).tolist()  # 3 · 0.01, 2 · 0.03, and 0.04, but not below 0.06
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=float)
    known = ~np.isnan(p_values)
    if p_values.ndim != 1 or not ((p_values[known] >= 0) & (p_values[known] <= 1)).all():
        raise ValueError(f"p values are {p_values}; expected (k,) in [0, 1], or nan")
    adjusted = p_values.copy()
    if known.any():
        adjusted[known] = multipletests(p_values[known], method="holm")[1]
    return adjusted


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of a score over seeds (s,), s >= 1.

    The deviation is about other trainings on the same data; the interval in a score file is
    about other images. nan where a score is nan. Raises ValueError for no seed.

    >>> over_seeds([0.5, 0.75, 1.0])
    Spread(mean=0.75, deviation=0.25, seeds=3)
    """
    scores = np.asarray(values, dtype=float)
    if scores.ndim != 1 or len(scores) == 0:
        raise ValueError(f"scores have shape {scores.shape}; expected (s,), one a seed, s >= 1")
    deviation = float(scores.std(ddof=1)) if len(scores) > 1 else UNDEFINED
    return Spread(float(scores.mean()), deviation, len(scores))


def _placements(positives: np.ndarray, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Which share of the other class each image is on the right side of; scores (k, n) or (n,).

    (k, positives) and (k, negatives), in [0, 1], ties half: the mean of each row is the AUC.
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=float))
    ranks = scipy.stats.rankdata(scores, axis=1)
    # Rank among all minus rank among its own kind: how many of the other kind lie below.
    below = [
        ranks[:, kind] - scipy.stats.rankdata(scores[:, kind], axis=1)
        for kind in (positives, ~positives)
    ]
    m, n = positives.sum(), (~positives).sum()
    return below[0] / max(n, 1), (m - below[1]) / max(m, 1)


def _variance(above: np.ndarray, below: np.ndarray) -> float:
    """DeLong's variance of the mean of placements (m,) and (n,); nan with less than two of one."""
    if min(len(above), len(below)) < 2:
        return UNDEFINED
    return float(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
