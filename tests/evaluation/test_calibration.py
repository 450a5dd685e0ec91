"""Calibration by hand, against scikit-learn and a grid search, and by what scaling must leave."""

import numpy as np
import pytest
from scipy.special import expit, log_softmax, logit, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss
from statsmodels.stats.proportion import proportion_confint

from utils import evaluation
from utils.evaluation import calibration


def study(n: int = 400, seed: int = 0, sureness: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) drawn from calibrated probabilities, and the same probabilities made too sure."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 3))
    labels = (rng.random((n, 1)) > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1)
    return labels, softmax(sureness * logits, axis=1)


# --- reliability ---


def test_reliability_by_hand():
    truth, probability = [0, 1, 0, 1, 1], [0.0, 0.1, 0.15, 0.9, 1.0]
    table = calibration.reliability(truth, probability)
    assert table["n"].tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 1, 1]  # (low, high]: 0.1 is in the first
    assert table["positives"].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert table["observed"][[0, 1, 8]].tolist() == [0.5, 0, 1]
    assert table["mean_probability"][[0, 1, 9]].tolist() == pytest.approx([0.05, 0.15, 1])
    empty = ["mean_probability", "observed", "observed_low", "observed_high"]
    assert table.loc[2:7, empty].isna().to_numpy().all()
    # 2/5 · |0.05 - 0.5| + 1/5 · (0.15 + 0.1 + 0)
    error = calibration.expected_calibration_error(truth, probability)
    assert error == pytest.approx(0.18 + 0.05)


@pytest.mark.parametrize(("equal_mass", "strategy"), [(False, "uniform"), (True, "quantile")])
def test_reliability_is_that_of_scikit_learn(equal_mass, strategy):
    labels, probabilities = study()
    truth, probability = labels == 0, probabilities[:, 0]
    table = calibration.reliability(truth, probability, equal_mass)
    observed, mean = calibration_curve(truth, probability, n_bins=10, strategy=strategy)
    held = table[table["n"] > 0]
    np.testing.assert_allclose(held["observed"], observed, atol=1e-12)
    np.testing.assert_allclose(held["mean_probability"], mean, atol=1e-12)
    low, high = proportion_confint(held["positives"], held["n"], method="wilson")
    np.testing.assert_allclose(held["observed_low"], low, atol=1e-9)
    np.testing.assert_allclose(held["observed_high"], high, atol=1e-9)
    expected = np.average(np.abs(observed - mean), weights=held["n"])
    error = calibration.expected_calibration_error(truth, probability, equal_mass)
    assert error == pytest.approx(expected)


def test_bins_of_equal_mass_hold_as_many_images_each():
    _, probabilities = study(200)
    table = calibration.reliability(np.zeros(200), probabilities[:, 0], equal_mass=True)
    assert table["n"].tolist() == [20] * 10
    same = calibration.reliability([0, 1, 1], [0.3, 0.3, 0.3], equal_mass=True)
    assert sorted(same["n"]) == [0] * 9 + [3]  # ties stay together


def test_the_chance_level_is_what_perfect_probabilities_get():
    _, probabilities = study(300)
    probability, rng = probabilities[:, 0], np.random.default_rng(1)
    errors = [
        calibration.expected_calibration_error(rng.random(300) < probability, probability)
        for _ in range(300)
    ]
    level = calibration.chance_level(probability)
    assert level == pytest.approx(np.mean(errors), abs=4 * np.std(errors) / np.sqrt(300))
    assert level == calibration.chance_level(probability)
    assert calibration.chance_level(np.array([0.0, 1.0, 1.0])) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([0, 1], [0.5]), r"truth \(2,\), probability \(1,\); expected \(n,\) each"),
        (([], []), r"n >= 1"),
        (([0, 2], [0.5, 0.5]), "truth holds values other than 0 and 1"),
        (([0, 1], [0.5, 1.1]), r"probability: outside \[0, 1\] in 1 of 2 images"),
        (([0, 1], [0.5, np.nan]), "probability: nan or infinite in 1 of 2 images"),
    ],
)
def test_what_is_no_probability_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        calibration.reliability(*arguments)


# --- scores ---


def test_scores_are_those_of_scikit_learn():
    labels, probabilities = study()
    ours = calibration.squared_errors(labels, probabilities).mean()
    assert ours == pytest.approx(brier_score_loss(labels, probabilities, scale_by_half=False))
    truth, probability = labels == 0, probabilities[:, 0]
    ours = calibration.squared_errors(truth, probability).mean()
    assert ours == pytest.approx(brier_score_loss(truth, probability))
    ours = calibration.log_loss(labels, probabilities)
    assert ours == pytest.approx(sklearn_log_loss(labels, probabilities))
    ours = calibration.log_loss(labels, probabilities[:, :1])  # melanoma against the rest
    assert ours == pytest.approx(sklearn_log_loss(truth, probability))


def test_the_loss_of_a_certain_mistake_is_large_but_finite():
    assert 80 < calibration.log_loss([0], [[0.0, 0.0, 1.0]]) < 120
    assert 15 < calibration.log_loss([1], [[1.0]]) < 20  # float32 holds no p closer to 1
    assert calibration.log_loss([0], [[1.0]]) == pytest.approx(0, abs=1e-7)


# --- temperature ---


@pytest.mark.parametrize("columns", [3, 1])
def test_temperature_is_found_where_a_grid_finds_it(columns):
    labels, probabilities = study()
    probabilities = probabilities[:, :columns]
    fitted = calibration.fit_temperature(labels, probabilities)
    grid = np.geomspace(0.5, 5, 4001)
    if columns == 3:
        logs = np.log(probabilities)
        losses = [-log_softmax(logs / t, axis=1)[np.arange(400), labels].mean() for t in grid]
    else:
        given = [expit(logit(probabilities[:, 0]) / t) for t in grid]
        losses = [-np.log(np.where(labels == 0, p, 1 - p)).mean() for p in given]
    assert fitted == pytest.approx(grid[np.argmin(losses)], rel=1e-3)
    loss = calibration.log_loss(labels, calibration.scale(probabilities, fitted))
    assert loss == pytest.approx(min(losses), abs=1e-7)


def test_temperature_ends_where_the_images_do_not_determine_it():
    right = np.full((3, 3), 0.2) + 0.4 * np.eye(3)
    coldest = calibration.fit_temperature([0, 1, 2], right)
    assert coldest == pytest.approx(calibration.COLDEST, rel=1e-4)
    hottest = calibration.fit_temperature([1, 2, 0], right)
    assert hottest == pytest.approx(calibration.HOTTEST, rel=1e-4)


@pytest.mark.parametrize("columns", [3, 1])
def test_a_temperature_of_one_changes_nothing(columns):
    _, probabilities = study()
    probabilities = probabilities[:, :columns]
    np.testing.assert_allclose(calibration.scale(probabilities, 1.0), probabilities, atol=1e-12)
    ends = np.array([[0.0], [1.0]])
    np.testing.assert_allclose(calibration.scale(ends, 1.0), ends, atol=1e-7)


@pytest.mark.parametrize("temperature", [0.3, 1.7, 6.0])
def test_scaling_leaves_answers_and_the_order_of_one_column(temperature):
    labels, probabilities = study(sureness=6.0)
    probabilities = probabilities.astype(np.float32).astype(float)
    scaled = calibration.scale(probabilities, temperature)
    np.testing.assert_array_equal(scaled.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    one = np.array([0.0, 1e-30, 1e-9, 0.3, 0.5, 0.9, 1 - 2.0**-24, 1.0])[:, None]
    assert (np.diff(calibration.scale(one, max(temperature, 1.0))[:, 0]) > 0).all()
    melanoma = probabilities[:, :1]
    order = calibration.scale(melanoma, temperature)[:, 0]
    truth = labels == 0
    assert evaluation.labels.auc(truth, order) == pytest.approx(
        evaluation.labels.auc(truth, melanoma[:, 0]), abs=1e-12 if temperature > 1 else 1e-3
    )


def test_a_temperature_that_is_none_is_refused():
    for wrong in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"temperature is .*; expected a finite number above"):
            calibration.scale([[0.5]], wrong)
    with pytest.raises(ValueError, match="rows that do not sum to 1"):
        calibration.fit_temperature([0], [[0.5, 0.2, 0.1]])
