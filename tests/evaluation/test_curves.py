"""Curves: against scikit-learn, and a loop of it over the same images."""

import math
import warnings

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from utils.data.splits import CLASSES
from utils.evaluation import conventions, curves, resampling
from utils.evaluation.intervals import hanley_mcneil

MELANOMA, KERATOSIS, BENIGN = CLASSES
BOTH = [curves.roc_curves, curves.precision_recall_curves]


def study(n: int = 150, seed: int = 0, digits: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """n images, all classes among them, and probabilities with many ties (rounded)."""
    rng = np.random.default_rng(seed)
    labels = np.append([0, 1, 2], rng.choice(3, n - 3, p=[0.2, 0.15, 0.65]))
    drawn = 0.75 * rng.dirichlet([1, 1, 1], n) + 0.25 * np.eye(3)[labels]
    rounded = drawn.round(digits)
    rounded[:, 2] = 1 - rounded[:, :2].sum(axis=1)  # the three still sum to 1
    return labels, rounded.clip(0, 1)


def by_name(found: list[curves.Curve]) -> dict[str, curves.Curve]:
    return {curve.name: curve for curve in found}


def decisions(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, tuple]:
    """Truth and score behind each curve that scikit-learn can draw, too."""
    truths = np.eye(3)[labels]
    pairs = {name: (truths[:, k], probabilities[:, k]) for k, name in enumerate(CLASSES)}
    return pairs | {"micro": (truths.ravel(), probabilities.ravel())}


# --- the curve itself ---


@pytest.mark.parametrize("digits", [2, 9], ids=["ties", "no ties"])
def test_roc_against_scikit_learn(digits):
    labels, probabilities = study(digits=digits)
    found = by_name(curves.roc_curves(labels, probabilities, 20))
    for name, (truth, score) in decisions(labels, probabilities).items():
        x, y, _ = roc_curve(truth, score, drop_intermediate=False)
        np.testing.assert_allclose(found[name].x, x, rtol=0, atol=1e-12)
        np.testing.assert_allclose(found[name].y, y, rtol=0, atol=1e-12)
        assert found[name].area == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
        assert found[name].prevalence == pytest.approx(truth.mean())
    macro = roc_auc_score(np.eye(3)[labels], probabilities, average="macro")
    assert found["macro"].area == pytest.approx(macro, abs=1e-12)


@pytest.mark.parametrize("digits", [2, 9], ids=["ties", "no ties"])
def test_precision_recall_against_scikit_learn(digits):
    labels, probabilities = study(digits=digits)
    found = by_name(curves.precision_recall_curves(labels, probabilities, 20))
    for name, (truth, score) in decisions(labels, probabilities).items():
        precision, recall, _ = precision_recall_curve(truth, score)
        # Theirs falls and ends in a point (0, 1) that no threshold has; ours rises from the left.
        curve = found[name]
        np.testing.assert_allclose(curve.x[1:], recall[-2::-1], rtol=0, atol=1e-12)
        np.testing.assert_allclose(curve.y[1:], precision[-2::-1], rtol=0, atol=1e-12)
        assert (curve.x[0], curve.y[0]) == (0, curve.y[1])
        assert curve.area == pytest.approx(average_precision_score(truth, score), abs=1e-12)
        # The area under the steps that are drawn is the average precision that is printed.
        assert curve.area == pytest.approx(np.diff(curve.x) @ curve.y[1:], abs=1e-12)
    macro = average_precision_score(np.eye(3)[labels], probabilities, average="macro")
    assert found["macro"].area == pytest.approx(macro, abs=1e-12)


def test_macro_is_the_mean_of_the_classes_on_the_grid():
    _, probabilities = study(60)
    labels = np.arange(60) % 3  # 40 negatives each: all rates k / 40 lie on the grid
    found = by_name(curves.roc_curves(labels, probabilities, 20))
    # Just right of each place, so that a vertical piece counts at its upper end.
    places = curves.GRID[:-1] + 1e-12
    heights = [np.interp(places, found[name].x, found[name].y) for name in CLASSES]
    np.testing.assert_array_equal(found["macro"].x, curves.GRID)
    np.testing.assert_allclose(found["macro"].y[:-1], np.mean(heights, axis=0), atol=1e-9)
    assert found["macro"].y[-1] == 1


# --- bands ---


def drawn(labels: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The images of each resample."""
    weights = resampling.bootstrap(lambda weights: weights, labels, resamples, seed)
    return np.stack([np.repeat(np.arange(len(labels)), row.astype(int)) for row in weights])


def check_band(found: curves.Curve, heights: list, areas: list) -> None:
    """The band holds the middle 95 % of what each resample gave, the interval is their spread."""
    low, high = np.quantile(heights, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(found.low, low, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.high, high, rtol=0, atol=1e-9)
    spread = np.std(areas, ddof=1) / (found.area * (1 - found.area))
    odds = found.area / (1 - found.area) * np.exp(1.959963984540054 * spread * np.array([-1, 1]))
    assert tuple(found.interval) == pytest.approx(odds / (1 + odds), abs=1e-9)


@pytest.mark.parametrize("name", [*CLASSES, "micro"])
def test_roc_band_against_a_loop_of_scikit_learn(name):
    labels, probabilities = study(60)
    found = by_name(curves.roc_curves(labels, probabilities, 80, seed=4))[name]
    heights, areas = [], []
    for images in drawn(labels, 80, 4):
        truth, score = decisions(labels[images], probabilities[images])[name]
        x, y, _ = roc_curve(truth, score, drop_intermediate=False)
        # Just right of each place, so that a vertical piece counts at its upper end.
        heights.append(np.interp(curves.GRID + 1e-12, x, y))
        areas.append(roc_auc_score(truth, score))
    check_band(found, heights, areas)


@pytest.mark.parametrize("name", [*CLASSES, "micro"])
def test_precision_band_against_a_loop_of_scikit_learn(name):
    labels, probabilities = study(60)
    found = by_name(curves.precision_recall_curves(labels, probabilities, 80, seed=4))[name]
    heights, areas = [], []
    for images in drawn(labels, 80, 4):
        truth, score = decisions(labels[images], probabilities[images])[name]
        precision, recall, _ = precision_recall_curve(truth, score)
        # The highest threshold that reaches the recall, at recall 0 the highest that finds any.
        reach = [max(place - 1e-9, 1e-9) for place in curves.GRID]
        heights.append([precision[np.flatnonzero(recall >= place)[-1]] for place in reach])
        areas.append(average_precision_score(truth, score))
    check_band(found, heights, areas)


@pytest.mark.parametrize("perfect", [False, True])
def test_the_intervals_are_those_of_the_scores_to_the_last_bit(perfect):
    labels, probabilities = study(200)
    if perfect:  # areas of 1
        probabilities = np.eye(3)[labels]
    found = by_name(curves.roc_curves(labels, probabilities))
    scores = conventions.classification_scores(labels, probabilities)
    for name in CLASSES:
        area = scores["coursework"][name]["auc"]
        assert (found[name].area, *found[name].interval) == tuple(area.values())
        assert found[name].interval.low < found[name].area
    if perfect:
        lows = [found[name].interval.low for name in CLASSES]
        assert found["macro"].interval.low == pytest.approx(np.mean(lows), abs=1e-15)
        # All images have one decision that is positive, and two that are negative.
        assert found["micro"].interval == hanley_mcneil(1, 200, 200)


# --- what is not there ---


@pytest.mark.parametrize("function", BOTH)
def test_a_missing_class_has_no_curve(function):
    labels, probabilities = study()
    kept = labels != 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = by_name(function(labels[kept], probabilities[kept], 30))
    assert list(found) == [*CLASSES, "micro", "macro"]
    for name in (KERATOSIS, "macro"):
        assert math.isnan(found[name].area)
        assert np.isnan(found[name].interval).all()
        assert [len(part) for part in found[name][2:7]] == [0] * 5
    assert found[KERATOSIS].prevalence == 0
    for name in (MELANOMA, BENIGN, "micro"):
        assert 0.5 < found[name].area < 1
        assert len(found[name].low) == len(found[name].grid) == len(curves.GRID)


@pytest.mark.parametrize("function", BOTH)
def test_one_class_only(function):
    labels, probabilities = study()
    only = labels == 2
    found = by_name(function(labels[only], probabilities[only], 30))
    assert [name for name in found if not math.isnan(found[name].area)] == ["micro"]
    (alone,) = function(labels[only], probabilities[only, :1], 30)
    assert (alone.name, len(alone.x)) == (MELANOMA, 0)


@pytest.mark.parametrize("function", BOTH)
def test_melanoma_alone(function):
    labels, probabilities = study()
    (alone,) = function(labels, probabilities[:, :1], 30)
    among = function(labels, probabilities, 30)[0]
    for one, other in zip(alone, among, strict=True):
        np.testing.assert_array_equal(one, other)
