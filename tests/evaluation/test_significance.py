"""Tests of significance: against scipy, statsmodels and R's pROC, then what must hold."""

import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels

from utils.evaluation.significance import (
    Spread,
    delong_test,
    holm,
    mcnemar,
    over_seeds,
    wilcoxon,
)

# The data set aSAH of R's package pROC (Turck et al., Intensive Care Medicine 2010): the grade of
# the WFNS and the rank of the marker NDKA of 113 patients, the 41 with a poor outcome first.
WFNS = """
3 2 4 5 5 5 5 2 5 2 1 2 5 4 4 2 5 5 5 2 5 2 5 2 4 5 4 4 1 4 4 2 2 5 5 2 2 5 5 5 5 1 1 1 1 5 1 2
2 1 2 2 1 1 1 2 1 2 1 1 3 4 1 4 1 5 5 1 1 2 4 1 1 2 2 1 2 1 2 2 1 1 1 1 2 1 2 1 1 3 2 4 2 1 4 1
1 5 4 2 2 1 1 1 3 1 2 2 4 4 1 1 1
"""
NDKA = """
38 25 29 36 4 10 19 44 48 44 44 15 33 40 6 8 31 2 52 40 17 19 23 31 42 27 40 8 50 35 4 13 40 4
12 44 21 33 46 19 36 1 9 7 18 5 35 5 39 30 39 37 47 11 5 24 5 5 51 26 14 14 39 3 7 5 13 28 7 34
45 7 5 24 11 7 28 43 41 16 22 49 5 37 14 18 18 34 3 37 24 11 18 39 18 22 7 14 18 43 9 24 27 45
20 24 11 43 16 32 41 5 30
"""


def asah() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.arange(113) < 41, np.array(WFNS.split(), int), np.array(NDKA.split(), int)


def study(n: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth and two scores that find the same images hard; rounded, so that there are ties."""
    rng = np.random.default_rng(seed)
    truth, common = rng.random(n) < 0.3, rng.normal(size=n)
    first, second = (common + rng.normal(size=n) + gain * truth for gain in (1.6, 1.2))
    return truth, first.round(1), second.round(1)


# --- DeLong ---


def test_delong_against_proc():
    # From pROC's own tests: roc.test(wfns, ndka).
    truth, grade, marker = asah()
    found = delong_test(truth, grade, marker)
    assert (found.first, found.second) == pytest.approx((0.823678861788618, 0.611957994579946))
    assert found.p_value == pytest.approx(0.00514557970691098, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((0.0634011709339876, 0.3600405634833566))
    # And ci.auc(ndka): a constant score adds nothing to the variance.
    alone = delong_test(truth, marker, np.zeros(113))
    half = (0.722670989888189 - 0.501244999271703) / 2
    assert (alone.high - alone.low) / 2 == pytest.approx(half)


def test_scores_that_rank_alike_do_not_differ():
    truth, first, _ = study()
    found = delong_test(truth, first, np.exp(first))
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_delong_without_a_variance_is_undefined():
    # Right in every pair against wrong in every pair: nothing varies.
    found = delong_test([1, 1, 0, 0], [4, 3, 2, 1], [1, 2, 3, 4])
    single = delong_test([1, 0, 0], [3, 2, 1], [1, 2, 3])
    for one in (found, single):
        assert one.value == 1
        assert np.isnan([one.low, one.high, one.p_value]).all()
    assert np.isnan(delong_test([1, 1], [1, 2], [2, 1])[:6]).all()


def test_delong_difference_stays_in_its_range():
    found = delong_test([1, 1, 0, 0], [4, 2, 3, 1], [1, 2, 3, 4])
    assert found.value == 0.75
    assert found.high == 1


def test_delong_refuses():
    with pytest.raises(ValueError, match="values other than 0 and 1"):
        delong_test([2, 0], [0.1, 0.2], [0.1, 0.2])
    with pytest.raises(ValueError, match="nan or infinite in 1 of 2 images"):
        delong_test([1, 0], [0.1, 0.2], [0.1, math.nan])


# --- McNemar ---


def test_mcnemar_against_statsmodels():
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=200)
    first, second = (np.where(rng.random(200) < 0.3, (truth + 1) % 3, truth) for _ in range(2))
    a, b = first == truth, second == truth
    cells = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    found = mcnemar(truth, first, second)
    assert found.p_value == pytest.approx(mcnemar_of_statsmodels(cells, exact=True).pvalue)
    assert found.value == pytest.approx(a.mean() - b.mean())
    # Arrays of right and wrong say the same.
    assert mcnemar(np.ones(200, bool), a, b) == found


def test_mcnemar_without_a_discordant_image():
    found = mcnemar([0, 1], [1, 1], [1, 1])
    assert (found.value, found.only_first, found.only_second, found.p_value) == (0, 0, 0, 1)
    assert -1 < found.low < 0 < found.high < 1


@pytest.mark.parametrize("shapes", [((2,), (3,), (2,)), ((0,), (0,), (0,)), ((2, 2),) * 3])
def test_mcnemar_refuses(shapes):
    with pytest.raises(ValueError, match=r"shapes are truth .*; expected \(n,\) each"):
        mcnemar(*map(np.zeros, shapes))


# --- Wilcoxon ---


def test_equal_images_are_ranked_and_left_out():
    # Pratt: 60 zeros take the ranks 1 to 60, so the differences have 61 ... 100.
    apart = np.concatenate([np.zeros(60), np.linspace(0.001, 0.04, 40)])
    apart[60:80] *= -1
    first, second = 0.5 + apart / 2, 0.5 - apart / 2
    found = wilcoxon(first, second)
    assert (found.statistic, found.higher, found.lower) == (sum(range(61, 81)), 20, 20)
    # Left out before the ranking, the twenty largest would weigh more.
    assert found.p_value > scipy.stats.wilcoxon(apart[60:]).pvalue


def test_wilcoxon_of_equal_scores():
    assert tuple(wilcoxon([0.3, 0.4], [0.3, 0.4])) == (0, 0, 0, 1)
    # Few images, zeros and ties among them, and no warning.
    assert wilcoxon([0.3, 0.4, 0.5, 0.5], [0.3, 0.3, 0.4, 0.6]).p_value > 0.5


def test_wilcoxon_refuses():
    with pytest.raises(ValueError, match=r"first \(2,\), second \(1,\); expected \(n,\) each"):
        wilcoxon([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match=r"nan or infinite in 2 of 3 .*; leave these out of both"):
        wilcoxon([0.1, math.nan, 0.2], [0.1, 0.2, math.inf])


# --- many tests, several seeds ---


def test_holm_of_none_and_of_its_input():
    assert holm([]).shape == (0,)
    assert math.isnan(holm([math.nan])[0])
    # nan stays, and is no test.
    np.testing.assert_equal(holm([0.04, math.nan, 0.01]), [0.04, math.nan, 0.02])
    given = np.array([0.01, 0.04])
    holm(given)
    assert given.tolist() == [0.01, 0.04]


@pytest.mark.parametrize("p_values", [[0.1, 1.1], [-0.1], 0.5, [[0.5]]])
def test_holm_refuses(p_values):
    with pytest.raises(ValueError, match=r"expected \(k,\) in \[0, 1\], or nan"):
        holm(p_values)


def test_the_spread_of_one_seed_and_of_none():
    np.testing.assert_equal(tuple(over_seeds([0.7])), tuple(Spread(0.7, math.nan, 1)))
    assert math.isnan(over_seeds([0.7, math.nan]).mean)
    with pytest.raises(ValueError, match="no scores; expected one per seed"):
        over_seeds([])
