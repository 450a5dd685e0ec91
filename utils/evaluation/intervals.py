"""Intervals by formula, from counts or from published numbers alone: no image is needed.

Shares get Wilson's score interval, which holds where few images or values near 0 and 1 let a
bootstrap fail: it is never without width, and never leaves [0, 1]. An AUC of which nothing but the
value and the number of images is known gets the variance of Hanley and McNeil.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import norm

from utils.evaluation.counts import Number, number

LEVEL = 0.95


class Interval(NamedTuple):
    """Both ends, nan where undefined; two arrays where it was asked for many at once."""

    low: Number
    high: Number


class Estimate(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


def wilson(successes: ArrayLike, n: ArrayLike, level: float = LEVEL) -> Interval:
    """Score interval of a share, successes of n, both of any one shape; nan where n is 0.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    Raises ValueError for successes outside 0 .. n, and for a level outside (0, 1).

    >>> low, high = wilson(10, 10)  # ten of ten are no certainty
    >>> round(low, 3), high
    (0.722, 1.0)
    """
    successes, n = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    if not ((successes >= 0) & (successes <= n)).all():
        raise ValueError(
            f"{successes} successes of {n}; expected numbers between 0 and n, none of them nan"
        )
    z = deviate(level)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the nan that is asked for
        share = successes / n
        half = z * np.sqrt(n * share * (1 - share) + z**2 / 4)
    low, high = ((successes + z**2 / 2 + sign * half) / (n + z**2) for sign in (-1, 1))
    # Exact where rounding would leave 1e-17 too much or too little.
    low, high = np.where(successes > 0, low, 0 * share), np.where(successes < n, high, share)
    return Interval(number(low), number(high))


def hanley_mcneil(auc: float, positives: int, negatives: int, level: float = LEVEL) -> Interval:
    """Interval of an AUC of which only the value and the numbers of images are known.

    The variance is Hanley and McNeil's (Radiology 1982) with two changes of Newcombe's (Statistics
    in Medicine 2006, 25:559, method 5): the mean of both numbers stands in for each, as else it is
    far too large where positives are rare; and it is taken at the ends of the interval and not at
    its middle, so that this stays inside [0, 1] and has a width at 1, too. Rather too wide near 1;
    with the scores at hand `significance.delong_interval` is better. nan where auc is nan or
    one of the numbers is 0. Raises ValueError for an AUC outside [0, 1], or numbers below 0.

    >>> low, high = hanley_mcneil(0.875, positives=117, negatives=483)
    >>> round(low, 3), round(high, 3)
    (0.834, 0.906)
    """
    if auc < 0 or auc > 1:
        raise ValueError(f"the AUC is {auc}; expected a number in [0, 1], no percentage")
    if min(positives, negatives) < 0:
        raise ValueError(f"{positives} positives, {negatives} negatives; expected numbers >= 0")
    if math.isnan(auc) or min(positives, negatives) == 0:
        return Interval(math.nan, math.nan)
    z = deviate(level)
    # Turned round, the upper end is the lower one.
    low, rest = (_lower_end(area, positives, negatives, z) for area in (auc, 1 - auc))
    return Interval(low, 1 - rest)


def paired_shares(
    both: int, only_first: int, only_second: int, neither: int, level: float = LEVEL
) -> Estimate:
    """A share minus another of the same n images, such as two accuracies, with its interval.

    both .. neither: on how many images both answers are right, one alone, none; n >= 1. Newcombe's
    method 10 for paired shares (Statistics in Medicine 1998, 17:2635): Wilson's intervals of both,
    and how the answers are correlated. It never leaves [-1, 1] and has a width where no image tells
    the two apart. Raises ValueError for counts below 0 or none at all, and for a level outside
    (0, 1).

    >>> value, low, high = paired_shares(both=1, only_first=1, only_second=7, neither=12)
    >>> round(value, 3), round(low, 3), round(high, 3)  # as Fagerland et al. 2014 print it
    (-0.286, -0.507, -0.026)
    """
    counts = (both, only_first, only_second, neither)
    n = sum(counts)
    if min(counts) < 0 or n == 0:
        raise ValueError(f"the counts are {counts}; expected numbers from 0, of one image or more")
    right = both + only_first, both + only_second
    first, second = (share / n for share in right)
    (low, high), (other_low, other_high) = (wilson(share, n, level) for share in right)
    margins = math.prod(share * (n - share) for share in right)
    agreement: float = both * neither - only_first * only_second
    if agreement > 0:  # corrected for counts being whole numbers
        agreement = max(agreement - n / 2, 0)
    phi = agreement / math.sqrt(margins) if margins else 0.0

    def apart(one: float, other: float) -> float:
        return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))

    difference = first - second
    return Estimate(
        difference,
        difference - apart(first - low, other_high - second),
        difference + apart(high - first, second - other_low),
    )


def unpaired_difference(
    value: float, interval: tuple[float, float], other: float, other_interval: tuple[float, float]
) -> Estimate:
    """value - other with its interval, from two independent values with an interval each.

    For a published score, which came without an answer for each image. MOVER (Zou and Donner,
    Statistics in Medicine 2008; for shares it is Newcombe's method 10, 1998). The same images
    behind both make it wider than need be: where both answers are known for each image, take
    `paired`. Both intervals have the same level, which is that of the result. nan where one
    of the numbers is nan. Raises ValueError for a value outside its interval.

    >>> found = unpaired_difference(0.80, (0.77, 0.86), 0.70, (0.62, 0.74))
    >>> [round(number, 3) for number in found]  # 5 = sqrt(3² + 4²) below, 10 = sqrt(6² + 8²) above
    [0.1, 0.05, 0.2]
    """
    for middle, (low, high) in ((value, interval), (other, other_interval)):
        if middle < low or middle > high:
            raise ValueError(f"{middle} lies outside its interval [{low}, {high}]")
    (low, high), (other_low, other_high) = interval, other_interval
    difference = value - other
    return Estimate(
        difference,
        difference - math.hypot(value - low, other_high - other),
        difference + math.hypot(high - value, other - other_low),
    )


def deviate(level: float) -> float:
    """z, so that a standard normal variable lies in [-z, z] with probability `level`.

    Raises ValueError for a level outside (0, 1).

    >>> round(deviate(0.95), 3)
    1.96
    """
    if not 0 < level < 1:
        raise ValueError(f"the level is {level}; expected a number in (0, 1), such as 0.95")
    return float(norm.isf((1 - level) / 2))


def _lower_end(auc: float, positives: int, negatives: int, z: float) -> float:
    """Where auc lies z standard deviations above the true area, with the variance there."""
    others = (positives + negatives) / 2 - 1

    def excess(area: float) -> float:
        # Q1 - A² and Q2 - A² of the paper, A (1 - A) taken out.
        spread = 1 + others * ((1 - area) / (2 - area) + area / (1 + area))
        return auc - area - z * math.sqrt(area * (1 - area) * spread / (positives * negatives))

    # At 1 itself the variance is 0, which would be a second root for auc = 1.
    return brentq(excess, 0.0, min(auc, 1 - 1e-12)) if auc > 0 else 0.0


def interval_text(
    value: float | None, low: float | None, high: float | None, digits: int = 3, sign: bool = False
) -> str:
    """A value with its interval, as every table and text here writes it; "undefined" for none.

    None and nan are undefined. With sign every number has one, as a difference wants.

    >>> interval_text(0.875, 0.8234, 0.92)
    '0.875 [0.823, 0.920]'
    >>> interval_text(0.02, -0.004, 0.044, sign=True)
    '+0.020 [-0.004, +0.044]'
    >>> interval_text(None, None, None)
    'undefined'
    """
    if value is None or low is None or high is None or math.isnan(value):
        return "undefined"
    shown, least, most = (f"{number:{'+' * sign}.{digits}f}" for number in (value, low, high))
    return f"{shown} [{least}, {most}]"
