"""Intervals by formula: by hand, against statsmodels, and what they are at the edges."""

import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from utils.evaluation.intervals import (
    Interval,
    hanley_mcneil,
    paired_shares,
    unpaired_difference,
    wilson,
)

# --- shares ---


def test_wilson_against_statsmodels():
    n = np.array([1, 2, 10, 117, 600])
    for share in (0, 0.3, 0.97, 1):
        successes = np.floor(share * n)
        theirs = proportion_confint(successes, n, method="wilson")
        np.testing.assert_allclose(wilson(successes, n), theirs, rtol=0, atol=1e-12)


def test_wilson_of_many_of_one_and_of_none():
    many = wilson([[0, 3], [5, 0]], [[2, 6], [5, 0]])
    assert isinstance(many, Interval)
    assert many.low.shape == many.high.shape == (2, 2)
    assert type(wilson(3, 6).low) is float
    assert tuple(wilson(3, 6)) == (many.low[0, 1], many.high[0, 1])
    assert np.isnan([many.low[1, 1], many.high[1, 1]]).all()
    assert (many.low[0, 0], many.high[1, 0]) == (0, 1)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (math.nan, 5), ([1, 9], [3, 3])])
def test_wilson_refuses(successes, n):
    with pytest.raises(ValueError, match="expected numbers between 0 and n"):
        wilson(successes, n)


# --- a published AUC ---


def variance(area: float, positives: float, negatives: float) -> float:
    """Hanley and McNeil 1982, as it stands there, but for Newcombe's mean of both numbers."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    others = (positives + negatives) / 2 - 1
    numerator = area * (1 - area) + others * (q1 - area**2) + others * (q2 - area**2)
    return numerator / (positives * negatives)


@pytest.mark.parametrize(("area", "m", "n"), [(0.875, 117, 483), (0.5, 7, 3), (0.999, 90, 510)])
def test_ends_lie_z_deviations_away(area, m, n):
    low, high = hanley_mcneil(area, m, n)
    for end in (low, high):
        deviations = abs(end - area) / math.sqrt(variance(end, m, n))
        assert deviations == pytest.approx(scipy.stats.norm.ppf(0.975), rel=1e-6)
    assert 0 < low < area < high < 1


def test_a_published_area_at_the_edges():
    assert hanley_mcneil(1, 30, 120).high == 1
    assert hanley_mcneil(0, 30, 120).low == 0
    assert 0.9 < hanley_mcneil(1, 30, 120).low < 1
    assert np.isnan(hanley_mcneil(0.8, 0, 5)).all()
    assert np.isnan(hanley_mcneil(math.nan, 5, 5)).all()
    turned = hanley_mcneil(0.2, 120, 30)
    low, high = hanley_mcneil(0.8, 30, 120)
    assert tuple(turned) == pytest.approx((1 - high, 1 - low))


def test_a_published_area_is_refused():
    with pytest.raises(ValueError, match=r"the AUC is 87.5; expected a number in \[0, 1\]"):
        hanley_mcneil(87.5, 117, 483)
    with pytest.raises(ValueError, match="-1 positives, 5 negatives; expected numbers >= 0"):
        hanley_mcneil(0.8, -1, 5)


# --- the difference of two answers to the same images ---


def test_paired_shares_as_published():
    # In the same authors' R package contingencytables (the data of Cavo et al. 2012).
    assert [round(end, 4) for end in paired_shares(59, 6, 16, 80)] == [-0.0621, -0.1186, -0.0046]


def test_paired_shares_whose_answers_do_not_hang_together_are_unpaired():
    # both * neither == only_first * only_second, so phi is 0.
    found = paired_shares(40, 10, 20, 5)
    expected = unpaired_difference(50 / 75, wilson(50, 75), 60 / 75, wilson(60, 75))
    assert found == pytest.approx(expected, abs=1e-12)


def test_paired_shares_at_the_edges():
    value, low, high = paired_shares(30, 4, 9, 57)
    assert tuple(paired_shares(30, 9, 4, 57)) == pytest.approx((-value, -high, -low), abs=1e-12)
    assert tuple(paired_shares(0, 5, 0, 0))[::2] == (1, 1)
    for counts in ((5, 0, 0, 0), (0, 0, 0, 5), (1, 0, 0, 0), (500, 0, 0, 100)):
        value, low, high = paired_shares(*counts)
        assert value == 0
        assert -1 < low < 0 < high < 1
        assert low == pytest.approx(-high)


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (3, -1, 2, 2)])
def test_paired_shares_refuse(counts):
    with pytest.raises(ValueError, match=r"the counts are .*; expected numbers from 0, of one im"):
        paired_shares(*counts)


# --- the difference of two studies ---


@pytest.mark.parametrize(("a", "m", "b", "n"), [(56, 70, 48, 80), (10, 10, 0, 20), (9, 10, 3, 10)])
def test_difference_of_shares_against_statsmodels(a, m, b, n):
    found = unpaired_difference(a / m, wilson(a, m), b / n, wilson(b, n))
    theirs = confint_proportions_2indep(a, m, b, n, compare="diff", method="newcomb")
    assert (found.low, found.high) == pytest.approx(theirs, abs=1e-12)
    assert found.value == pytest.approx(a / m - b / n)


def test_difference_turned_round_and_undefined():
    sides = (0.8, (0.75, 0.86)), (0.9, (0.82, 0.93))
    one, other = (unpaired_difference(*a, *b) for a, b in (sides, sides[::-1]))
    assert tuple(one) == pytest.approx((-other.value, -other.high, -other.low))
    nothing = Interval(math.nan, math.nan)
    assert math.isnan(unpaired_difference(0.8, nothing, *sides[1]).low)
    assert math.isnan(unpaired_difference(math.nan, nothing, *sides[1]).value)


def test_difference_refuses_a_value_outside_its_interval():
    with pytest.raises(ValueError, match=r"0.9 is outside its interval \[0.7, 0.8\]"):
        unpaired_difference(0.9, (0.7, 0.8), 0.5, (0.4, 0.6))
    with pytest.raises(ValueError, match=r"0.5 is outside its interval \[0.6, 0.7\]"):
        unpaired_difference(0.75, (0.7, 0.8), 0.5, (0.6, 0.7))
