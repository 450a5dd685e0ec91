"""The bootstrap: by hand, against a loop, scipy and formulas; its intervals and p values."""

import math
import time
import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from utils.evaluation import resampling
from utils.evaluation.labels import auc


def scored(n: int) -> tuple[np.ndarray, np.ndarray]:
    """n images with the share of melanomas of the ISIC 2017 test set, and scores."""
    rng = np.random.default_rng(0)
    truth = rng.random(n) < 0.195
    return truth, 0.6 * rng.random(n) + 0.4 * truth


def multiplicities(strata, resamples=2000, seed=0) -> np.ndarray:
    return resampling.bootstrap(lambda weights: weights, strata, resamples, seed)


def test_strata_keep_their_size():
    strata = np.array([0, 2, 2, 1, 0, 2, 2, 1, 2, 2])
    weights = multiplicities(strata)
    for value, size in enumerate([2, 2, 6]):
        assert (weights[:, strata == value].sum(axis=1) == size).all()
    plain = multiplicities(np.zeros(10))
    assert (plain.sum(axis=1) == 10).all()
    assert len(np.unique(plain[:, strata == 0].sum(axis=1))) > 2


def test_multiplicities_are_multinomial():
    n = 50
    weights = multiplicities(np.zeros(n), resamples=20_000)
    # Mean 1, variance 1 - 1/n, covariance -1/n (within five standard errors).
    assert weights.mean(axis=0) == pytest.approx(np.ones(n), abs=5 / math.sqrt(20_000))
    covariance = np.cov(weights.T)
    assert np.diag(covariance) == pytest.approx(np.full(n, 1 - 1 / n), abs=0.08)
    assert covariance[~np.eye(n, dtype=bool)].mean() == pytest.approx(-1 / n, abs=1e-3)


def test_equals_a_loop_over_the_same_images():
    truth, score = scored(40)
    values = resampling.bootstrap(lambda weights: auc(truth, score, weights), truth, 200, seed=5)
    loop = []
    for weights in multiplicities(truth, 200, seed=5):
        drawn = np.repeat(np.arange(40), weights.astype(int))
        loop.append(roc_auc_score(truth[drawn], score[drawn]))
    np.testing.assert_allclose(values, loop, rtol=0, atol=1e-12)
    low, high = resampling.percentile_interval(values)
    assert (low, high) == pytest.approx(np.percentile(loop, [2.5, 97.5]), abs=1e-12)


def test_chunks_change_nothing(monkeypatch):
    strata = np.array([0] * 7 + [1] * 5)
    whole = multiplicities(strata, 100)
    monkeypatch.setattr(resampling, "CHUNK", 36)  # three resamples at once, then a single last one
    np.testing.assert_array_equal(multiplicities(strata, 100), whole)
    monkeypatch.setattr(resampling, "CHUNK", 1)
    np.testing.assert_array_equal(multiplicities(strata, 100), whole)


def test_repeats_from_the_seed():
    strata = np.zeros(30)
    np.testing.assert_array_equal(multiplicities(strata, 50), multiplicities(strata, 50))
    assert (multiplicities(strata, 50) != multiplicities(strata, 50, seed=1)).any()
    # More resamples begin with the same ones.
    np.testing.assert_array_equal(multiplicities(strata, 80)[:50], multiplicities(strata, 50))


def test_memory_is_bounded():
    truth = np.arange(20_000) % 5 == 0
    score = np.random.default_rng(0).random(20_000)
    tracemalloc.start()
    resampling.bootstrap(lambda weights: auc(truth, score, weights), truth, 200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 200 resamples of 20 000 images would be 32 MB an array; a chunk is 8 MB, and a few are alive.
    assert peak < 80e6


def test_ten_thousand_resamples_take_seconds():
    truth, score = scored(600)
    start = time.process_time()
    resampling.bootstrap(lambda weights: auc(truth, score, weights), truth, 10_000)
    assert time.process_time() - start < 10


# --- p values ---


def test_p_values_by_hand():
    # None lies below 0: small, and never 0.
    assert resampling.bootstrap_p_value(np.arange(1, 20)) == pytest.approx(0.1)
    assert resampling.bootstrap_p_value(-np.arange(1.0, 1000.0)) == pytest.approx(0.002)
    # At 0 itself they are on both sides.
    assert resampling.bootstrap_p_value([0, 0, 0]) == 1
    assert resampling.bootstrap_p_value([0, *range(1, 19)]) == pytest.approx(0.2)
    # Undefined ones are left out.
    assert resampling.bootstrap_p_value([math.nan, *range(1, 20)]) == pytest.approx(0.1)
    assert math.isnan(resampling.bootstrap_p_value([math.nan]))


def test_p_value_and_interval_say_the_same():
    rng = np.random.default_rng(0)
    for shift in np.linspace(1.5, 2.5, 41):
        resampled = rng.normal(shift, 1, 1000)
        low, _ = resampling.percentile_interval(resampled)
        if abs(low) > 0.05:
            assert (resampling.bootstrap_p_value(resampled) < 0.05) == (low > 0)


# --- intervals ---


def test_percentiles_by_hand():
    # Of 0 .. 40, one value is cut at each end; undefined resamples are left out.
    some = [math.nan, *range(41), math.nan]
    assert tuple(resampling.percentile_interval(some)) == pytest.approx((1, 39))
    np.testing.assert_equal(tuple(resampling.percentile_interval([math.nan])), (math.nan, math.nan))


def test_an_area_of_one_or_of_nothing():
    assert resampling.area_interval(1.0, [1.0, 1.0]) == (1, 1)
    assert np.isnan(resampling.area_interval(math.nan, [math.nan])).all()


@pytest.mark.parametrize(
    ("strata", "resamples", "message"),
    [
        ([], 10, r"strata \(0,\); expected \(n,\)"),
        (np.zeros((2, 2)), 10, r"strata \(2, 2\)"),
        ([0, 1], 0, "resamples is 0; expected at least 1"),
    ],
)
def test_bootstrap_refuses(strata, resamples, message):
    with pytest.raises(ValueError, match=message):
        resampling.bootstrap(lambda weights: weights, strata, resamples)
