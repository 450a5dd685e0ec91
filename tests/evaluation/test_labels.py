"""Scores: countable by hand, then scikit-learn as referee, then identities, then the edges."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as referee

from utils import evaluation
from utils.data.splits import CLASSES
from utils.evaluation.counts import Counts, accuracy, count, counts_above, sensitivity, specificity
from utils.evaluation.labels import auc, official

MELANOMA, KERATOSIS, BENIGN = CLASSES

# Six images, two of each class. Most probable: M, SK (0.5 against 0.45), SK, B, B, M.
LABELS = np.array([0, 0, 1, 1, 2, 2])
PROBABILITIES = np.array(
    [
        [0.75, 0.25, 0.00],
        [0.45, 0.50, 0.05],
        [0.25, 0.75, 0.00],
        [0.00, 0.25, 0.75],
        [0.25, 0.25, 0.50],
        [0.50, 0.25, 0.25],
    ]
)


def drawn(n: int = 300, seed: int = 0, digits: int = 17) -> tuple[np.ndarray, np.ndarray]:
    """Labels with 1/5, 1/5, 3/5 of the classes and probabilities; few digits make many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=[0.2, 0.2, 0.6])
    probabilities = rng.dirichlet([1, 1, 1], n) / 2 + np.eye(3)[labels] / 4 + 1 / 12
    if digits < 17:
        probabilities[:, :2] = np.floor(10**digits * probabilities[:, :2]) / 10**digits
        probabilities[:, 2] = 1 - probabilities[:, 0] - probabilities[:, 1]
    return labels, np.clip(probabilities, 0, 1)


# --- by hand ---


def test_counts_by_hand():
    truth, prediction = [1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0]
    counts = count(truth, prediction)
    assert counts == Counts(tp=2, fp=1, fn=1, tn=4)
    assert accuracy(counts) == 6 / 8
    assert sensitivity(counts) == 2 / 3
    assert specificity(counts) == 4 / 5
    # The first image three times, the last two not at all.
    assert count(truth, prediction, [3, 1, 1, 1, 1, 1, 0, 0]) == Counts(4, 1, 1, 2)


def test_counts_per_image_by_hand():
    truth = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], dtype=bool)
    prediction = np.array([[1, 0, 0, 0], [0, 0, 0, 1]], dtype=bool)
    counts = count(truth, prediction)
    assert [cell.tolist() for cell in counts] == [[1, 0], [0, 1], [1, 0], [2, 3]]
    assert accuracy(counts).tolist() == [3 / 4, 3 / 4]
    # The second image has no lesion: undefined, or perfect as the official segmentation has it.
    np.testing.assert_equal(sensitivity(counts), [1 / 2, math.nan])
    assert sensitivity(counts, empty=1.0).tolist() == [1 / 2, 1.0]
    assert specificity(counts, empty=1.0).tolist() == [1.0, 3 / 4]


def test_counts_above_several_thresholds():
    counts = counts_above([1, 1, 1, 0, 0], [0.9, 0.5, 0.2, 0.6, 0.5], [0.5, 0.1])
    assert [cell.tolist() for cell in counts] == [[1, 3], [1, 2], [2, 0], [1, 0]]


def test_auc_by_hand():
    # Positives 3, 2, negatives 1, 2: pairs 3>1, 3>2, 2>1, 2=2 give 3.5 of 4.
    assert auc([1, 1, 0, 0], [3, 2, 1, 2]) == 3.5 / 4
    assert auc([1, 0, 1, 0], [4, 3, 2, 1]) == 3 / 4
    assert auc([0, 0, 1, 1], [1, 2, 3, 4]) == 1
    assert auc([1, 1, 0, 0], [1, 2, 3, 4]) == 0
    assert auc([0, 1, 0, 1], [5, 5, 5, 5]) == 0.5
    # The tied negative of the first case counted three times: 1 + 3 + 1 + 3 / 2 = 6.5 of 8.
    assert auc([1, 1, 0, 0], [3, 2, 1, 2], weights=[1, 1, 1, 3]) == 6.5 / 8
    both = auc([1, 1, 0, 0], [3, 2, 1, 2], weights=[[1, 1, 1, 1], [1, 1, 1, 3]])
    assert both.tolist() == [3.5 / 4, 6.5 / 8]


def test_official_by_hand():
    scores = official(LABELS, PROBABILITIES)
    # Melanoma: 0.75 0.45 against 0.25 0 0.25 0.5; of 8 pairs 0.45 loses one. Only 0.75 is > 0.5.
    assert scores[MELANOMA] == {
        "auc": 7 / 8,
        "accuracy": 5 / 6,
        "sensitivity": 1 / 2,
        "specificity": 1.0,
    }
    # Keratosis: 0.75 0.25 against 0.25 0.5 0.25 0.25; 4 + 3 ties / 2 = 5.5. Only 0.75 is > 0.5.
    assert scores[KERATOSIS] == {
        "auc": 5.5 / 8,
        "accuracy": 5 / 6,
        "sensitivity": 1 / 2,
        "specificity": 1.0,
    }
    assert scores["mean_auc"] == (7 / 8 + 5.5 / 8) / 2
    assert list(scores) == [MELANOMA, KERATOSIS, "mean_auc"]


def test_coursework_by_hand():
    scores = evaluation.labels.coursework(LABELS, PROBABILITIES)
    assert list(scores) == [MELANOMA, KERATOSIS, BENIGN, "accuracy"]
    # Each class: one found, one missed, one false alarm, three left alone.
    for name in CLASSES:
        rates = [scores[name][key] for key in ("accuracy", "sensitivity", "specificity")]
        assert rates == [4 / 6, 1 / 2, 3 / 4]
    assert scores["accuracy"] == 3 / 6
    # Benign: 0.5 0.25 against 0 0.05 0 0.75; 3 + 3 of 8.
    assert [scores[name]["auc"] for name in CLASSES] == [7 / 8, 5.5 / 8, 6 / 8]


def test_a_half_is_negative_in_official_and_positive_in_coursework():
    labels, probabilities = [0, 2, 0, 2], [[0.5], [0.5], [0.75], [0.25]]
    strict, most_probable = (
        official(labels, probabilities),
        evaluation.labels.coursework(labels, probabilities),
    )
    assert list(strict) == list(most_probable) == [MELANOMA]
    assert strict[MELANOMA]["sensitivity"] == 1 / 2
    assert strict[MELANOMA]["specificity"] == 1.0
    assert most_probable[MELANOMA]["sensitivity"] == 1.0
    assert most_probable[MELANOMA]["specificity"] == 1 / 2
    assert strict[MELANOMA]["auc"] == most_probable[MELANOMA]["auc"] == 3.5 / 4
    just_above = np.nextafter(0.5, 1)
    assert official([0, 2], [[just_above], [0.5]])[MELANOMA]["accuracy"] == 1.0


# --- scikit-learn as referee ---


@pytest.mark.parametrize("digits", [17, 2, 1])
@pytest.mark.parametrize("seed", range(5))
def test_official_against_scikit_learn(seed, digits):
    labels, probabilities = drawn(seed=seed, digits=digits)
    scores = official(labels, probabilities)
    for index, name in enumerate(CLASSES[:2]):
        truth, score = labels == index, probabilities[:, index]
        _compare(scores[name], truth, score > 0.5, score)
    areas = [referee.roc_auc_score(labels == i, probabilities[:, i]) for i in (0, 1)]
    assert scores["mean_auc"] == pytest.approx(np.mean(areas), abs=1e-12)


@pytest.mark.parametrize("digits", [17, 2, 1])
@pytest.mark.parametrize("seed", range(5))
def test_coursework_against_scikit_learn(seed, digits):
    labels, probabilities = drawn(seed=seed, digits=digits)
    scores = evaluation.labels.coursework(labels, probabilities)
    predicted = probabilities.argmax(axis=1)
    for index, name in enumerate(CLASSES):
        _compare(scores[name], labels == index, predicted == index, probabilities[:, index])
    expected = referee.accuracy_score(labels, predicted)
    assert scores["accuracy"] == pytest.approx(expected, abs=1e-12)
    np.testing.assert_array_equal(
        evaluation.labels.confusion_matrix(labels, predicted, 3),
        referee.confusion_matrix(labels, predicted),
    )


def _compare(scores, truth, prediction, score):
    expected = {
        "auc": referee.roc_auc_score(truth, score),
        "accuracy": referee.accuracy_score(truth, prediction),
        "sensitivity": referee.recall_score(truth, prediction),
        "specificity": referee.recall_score(truth, prediction, pos_label=0),
    }
    assert scores == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("digits", [17, 1])
def test_weights_against_scikit_learn(digits):
    labels, probabilities = drawn(digits=digits)
    truth, score = labels == 0, probabilities[:, 0]
    rng = np.random.default_rng(3)
    weights = rng.integers(0, 4, (7, len(labels)))
    areas, counts = auc(truth, score, weights), count(truth, score > 0.5, weights)
    for row, multiplicities in enumerate(weights):
        expected = referee.roc_auc_score(truth, score, sample_weight=multiplicities)
        assert areas[row] == pytest.approx(expected, abs=1e-12)
        assert auc(truth, score, multiplicities) == areas[row]
        matrix = referee.confusion_matrix(truth, score > 0.5, sample_weight=multiplicities)
        assert [cell[row] for cell in counts] == [
            matrix[1, 1],
            matrix[0, 1],
            matrix[1, 0],
            matrix[0, 0],
        ]


@pytest.mark.parametrize("convention", [official, evaluation.labels.coursework])
@pytest.mark.parametrize("columns", [1, 3])
def test_weights_are_multiplicities(convention, columns):
    labels, probabilities = drawn(n=60)
    probabilities = probabilities[:, :columns]
    weights = np.random.default_rng(1).integers(0, 3, (4, 60))
    weighted = convention(labels, probabilities, weights)
    for row, multiplicities in enumerate(weights):
        copies = np.repeat(np.arange(60), multiplicities)
        expected = convention(labels[copies], probabilities[copies])
        assert weighted.keys() == expected.keys()
        for name, entry in expected.items():
            if isinstance(entry, dict):
                found = {metric: value[row] for metric, value in weighted[name].items()}
            else:
                found = weighted[name][row]
            assert found == pytest.approx(entry, abs=1e-12)


# --- identities ---

# Sixteenths: few enough for ties, and exact under the maps below.
SAMPLES = st.lists(
    st.tuples(st.booleans(), st.integers(0, 16).map(lambda k: k / 16)), min_size=2, max_size=40
).filter(lambda pairs: len({truth for truth, _ in pairs}) == 2)


@settings(deadline=None)
@given(SAMPLES)
def test_auc_is_the_share_of_pairs(samples):
    truth, score = map(np.array, zip(*samples, strict=True))
    above = score[truth][:, None] - score[~truth]
    assert auc(truth, score) == pytest.approx(np.mean((np.sign(above) + 1) / 2), abs=1e-12)


# --- degenerate cases ---


def test_one_class_is_undefined():
    assert math.isnan(auc([1, 1], [0.1, 0.2]))
    assert math.isnan(auc([0, 0], [0.1, 0.2]))
    np.testing.assert_equal(
        auc([0, 1], [0.1, 0.2], [[1, 1], [2, 0], [0, 2]]), [1, math.nan, math.nan]
    )
    scores = official([0, 0], [[0.75, 0.25, 0.0], [0.25, 0.75, 0.0]])
    assert scores[MELANOMA] == pytest.approx(
        {"auc": math.nan, "accuracy": 0.5, "sensitivity": 0.5, "specificity": math.nan}, nan_ok=True
    )
    assert scores[KERATOSIS] == pytest.approx(
        {"auc": math.nan, "accuracy": 0.5, "sensitivity": math.nan, "specificity": 0.5}, nan_ok=True
    )
    assert math.isnan(scores["mean_auc"])
    assert evaluation.labels.coursework([0], [[1.0, 0.0, 0.0]])["accuracy"] == 1.0


def test_empty_counts():
    nothing = Counts(0, 0, 0, 0)
    for metric in (accuracy, sensitivity, specificity):
        assert math.isnan(metric(nothing))
        assert metric(nothing, empty=1.0) == 1.0


# --- what is refused ---

ROW = [0.5, 0.25, 0.25]


@pytest.mark.parametrize("convention", [official, evaluation.labels.coursework])
@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [ROW], "2 labels for 1 rows of probabilities"),
        ([], np.zeros((0, 3)), "at least one"),
        ([0], ROW, r"probabilities have shape \(3,\); expected \(n, 3\) or \(n, 1\)"),
        ([0], [[0.5, 0.5]], r"probabilities have shape \(1, 2\)"),
        ([[0]], [ROW], r"labels: shape \(1, 1\); expected \(n,\)"),
        (
            [0, 3],
            [ROW, ROW],
            r"labels: not a class number in 1 of 2 images \(first: 1\); expected 0 .. 2",
        ),
        ([-1], [ROW], "expected 0 .. 2"),
        ([0.5], [ROW], "expected 0 .. 2"),
        ([math.nan], [ROW], "expected 0 .. 2"),
        ([0, 0], [ROW, [math.nan, 0.5, 0.5]], r"nan or infinite in 1 of 2 images \(first: 1\)"),
        ([0], [[math.inf, 0.0, 0.0]], "nan or infinite"),
        ([0], [[math.nan]], "nan or infinite"),
        ([0], [[1.25, -0.25, 0.0]], r"outside \[0, 1\] in 1 of 1 images .* softmax or sigmoid"),
        ([0], [[-0.1]], r"outside \[0, 1\]"),
        (
            [0] * 9,
            [[0.5, 0.25, 0.252]] * 9,
            r"do not sum to 1 in 9 of 9 images \(first: 0, 1, 2, 3, 4\)",
        ),
    ],
)
def test_scores_refuse(convention, labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        convention(labels, probabilities)


def test_rounded_probabilities_pass():
    assert official([0], [[0.3333, 0.3333, 0.3333]])[MELANOMA]["accuracy"] == 0.0


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (count, ([0, 1], [0, 1, 1]), r"truth has shape \(2,\) and prediction \(3,\)"),
        (count, ([0, 2], [0, 1]), "truth holds values other than 0 and 1"),
        (count, ([0, 1], [0, 0.5]), "prediction holds values other than 0 and 1; threshold"),
        (count, ([0, 1], [0, 1], [1, 1, 1]), r"weights have shape \(3,\) for images \(2,\)"),
        (count, ([[0, 1]], [[0, 1]], [1, 1]), r"weights have shape \(2,\) for images \(1, 2\)"),
        (auc, ([0, 1], [0, 1, 1]), r"truth \(2,\), score \(3,\); expected"),
        (auc, ([], []), r"expected \(n,\) each, .* n >= 1"),
        (auc, ([0, 1], [0, math.nan]), r"score: nan or infinite in 1 of 2 images \(first: 1\)"),
        (auc, ([0, 1], [0, 1], [1, -1]), "weights hold negative, nan or infinite"),
        (auc, ([0, 1], [0, 1], [1, math.nan]), "weights hold negative, nan or infinite"),
        (auc, ([0, 1], [0, 1], np.ones((1, 1, 2))), r"expected \(n,\) or \(R, n\)"),
        (
            evaluation.labels.confusion_matrix,
            ([0, 1], [0], 2),
            r"truth \(2,\), prediction \(1,\)",
        ),
        (
            evaluation.labels.confusion_matrix,
            ([0, 2], [0, 1], 2),
            r"truth: not a class number.*0 .. 1",
        ),
        (
            evaluation.labels.confusion_matrix,
            ([0, 1], [0, -1], 2),
            "prediction: not a class number",
        ),
    ],
)
def test_parts_refuse(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
