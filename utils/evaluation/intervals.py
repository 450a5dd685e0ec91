"""95 % intervals by formula, from counts or from published numbers alone.

Shares get Wilson's score interval, which holds where a bootstrap fails, with few images or near 0
and 1: it always has a width and never leaves [0, 1]. An AUC of which only the value and the numbers
of images are known gets the variance of Hanley and McNeil.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from utils.evaluation.counts import Number, number

LEVEL = 0.95
Z = -float(ndtri((1 - LEVEL) / 2))  # a normal variable is in [-Z, Z] with this probability


class Interval(NamedTuple):
    """Both ends, nan where undefined; numbers, or arrays of one shape."""

    low: Number
    high: Number


class Estimate(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


def wilson(successes: ArrayLike, n: ArrayLike) -> Interval:
    """Score interval of a share, successes of n, both of one shape; nan where n is 0.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    ValueError for successes outside 0 .. n.

    >>> low, high = wilson(10, 10)  # ten of ten is not certainty
    >>> round(low, 3), high
    (0.722, 1.0)
    """
    successes, n = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    if not ((successes >= 0) & (successes <= n)).all():
        raise ValueError(
            f"{successes} successes of {n}; expected numbers between 0 and n, none of them nan"
        )
    with np.errstate(invalid="ignore"):  # 0 / 0 is the documented nan
        share = successes / n
        half = Z * np.sqrt(n * share * (1 - share) + Z**2 / 4)
    low, high = ((successes + Z**2 / 2 + sign * half) / (n + Z**2) for sign in (-1, 1))
    # Exact where rounding would be off by 1e-17.
    low, high = np.where(successes > 0, low, 0 * share), np.where(successes < n, high, share)
    return Interval(number(low), number(high))


def hanley_mcneil(auc: float, positives: int, negatives: int) -> Interval:
    """Interval of an AUC of which only the value and the numbers of images are known.

    The variance is Hanley and McNeil's (Radiology 1982) with two changes by Newcombe (Statistics in
    Medicine 2006, 25:559, method 5): both numbers are replaced by their mean, as it would be far
    too large where positives are rare; and it is taken at the ends of the interval, not at the
    middle, which keeps it inside [0, 1] with a width at 1, too. Conservative near 1. nan where auc
    is nan or one of the numbers is 0. ValueError for an AUC outside [0, 1] or numbers below 0.

    >>> low, high = hanley_mcneil(0.875, positives=117, negatives=483)
    >>> round(low, 3), round(high, 3)
    (0.834, 0.906)
    """
    if auc < 0 or auc > 1:
        raise ValueError(f"the AUC is {auc}; expected a number in [0, 1], not a percentage")
    if min(positives, negatives) < 0:
        raise ValueError(f"{positives} positives, {negatives} negatives; expected numbers >= 0")
    if math.isnan(auc) or min(positives, negatives) == 0:
        return Interval(math.nan, math.nan)
    # With the classes swapped the upper end is the lower one.
    low, rest = (_lower_end(area, positives, negatives) for area in (auc, 1 - auc))
    return Interval(low, 1 - rest)


def paired_shares(both: int, only_first: int, only_second: int, neither: int) -> Estimate:
    """The difference of two shares of the same n images, such as two accuracies.

    both .. neither: on how many images both answers are right, only one, or none; n >= 1.
    Newcombe's method 10 for paired shares (Statistics in Medicine 1998, 17:2635): Wilson's
    intervals of both, and the correlation of the answers. It never leaves [-1, 1] and has a width
    even where all answers agree. ValueError for counts below 0 or no images.

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
    (low, high), (other_low, other_high) = (wilson(share, n) for share in right)
    margins = math.prod(share * (n - share) for share in right)
    agreement: float = both * neither - only_first * only_second
    if agreement > 0:  # continuity correction
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

    For a published score without an answer for each image. MOVER (Zou and Donner, Statistics in
    Medicine 2008; for shares it is Newcombe's method 10, 1998). Conservative where both are about
    the same images: with the answers for each image use `paired`. nan where one of the numbers is
    nan. ValueError for a value outside its interval.

    >>> estimate = unpaired_difference(0.80, (0.77, 0.86), 0.70, (0.62, 0.74))
    >>> [round(n, 3) for n in estimate]  # 5 = sqrt(3² + 4²) below, 10 = sqrt(6² + 8²) above
    [0.1, 0.05, 0.2]
    """
    for middle, (low, high) in ((value, interval), (other, other_interval)):
        if middle < low or middle > high:
            raise ValueError(f"{middle} is outside its interval [{low}, {high}]")
    (low, high), (other_low, other_high) = interval, other_interval
    difference = value - other
    return Estimate(
        difference,
        difference - math.hypot(value - low, other_high - other),
        difference + math.hypot(high - value, other - other_low),
    )


def mean_of_shares(shares: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Interval of the mean of shares of different images, such as a balanced accuracy, by MOVER.

    intervals are theirs; nan where one of the shares is nan.

    >>> low, high = mean_of_shares([0.5, 0.9], [Interval(0.44, 0.54), Interval(0.82, 0.93)])
    >>> round(low, 3), round(high, 3)  # half of 10 = sqrt(6² + 8²) below, of 5 above
    (0.65, 0.725)
    """
    middle: np.ndarray = np.array(shares)
    ends: np.ndarray = np.array(intervals)
    low, high = np.sqrt(((ends - middle[:, None]) ** 2).sum(axis=0)) / len(middle)
    return Interval(float(middle.mean() - low), float(middle.mean() + high))


def _lower_end(auc: float, positives: int, negatives: int) -> float:
    """The true area that auc is Z standard deviations above, with the variance there."""
    from scipy.optimize import brentq  # slow, and seldom needed

    others = (positives + negatives) / 2 - 1

    def excess(area: float) -> float:
        # Q1 - A² and Q2 - A² of the paper, A (1 - A) taken out.
        spread = 1 + others * ((1 - area) / (2 - area) + area / (1 + area))
        return auc - area - Z * math.sqrt(area * (1 - area) * spread / (positives * negatives))

    # At 1 itself the variance is 0, which would be a second root for auc = 1.
    return brentq(excess, 0.0, min(auc, 1 - 1e-12)) if auc > 0 else 0.0


def interval_text(
    value: float | None, low: float | None, high: float | None, digits: int = 3, sign: bool = False
) -> str:
    """A value with its interval, as in all tables and texts; None and nan are "undefined".

    With sign every number has one, as for a difference.

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
