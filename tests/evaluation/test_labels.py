"""Scores of labels: scikit-learn as referee, then identities, then the edges."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as referee

from utils.data.splits import CLASSES
from utils.evaluation.counts import accuracy, count, counts_above, sensitivity, specificity
from utils.evaluation.labels import auc, confusion_matrix, coursework, official

MELANOMA, KERATOSIS, BENIGN = CLASSES


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


def test_a_half_is_negative_in_official_and_positive_in_coursework():
    labels, probabilities = [0, 2, 0, 2], [[0.5], [0.5], [0.75], [0.25]]
    strict, most_probable = official(labels, probabilities), coursework(labels, probabilities)
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
def test_both_conventions_against_scikit_learn(seed, digits):
    labels, probabilities = drawn(seed=seed, digits=digits)
    answer = probabilities.argmax(axis=1)
    strict, most_probable = official(labels, probabilities), coursework(labels, probabilities)
    assert [*strict] == [MELANOMA, KERATOSIS, "mean_auc"]
    assert [*most_probable] == [*CLASSES, "accuracy"]
    for index, name in enumerate(CLASSES):
        truth, score = labels == index, probabilities[:, index]
        for found, said in ((strict, score > 0.5), (most_probable, answer == index)):
            expected = {
                "auc": referee.roc_auc_score(truth, score),
                "accuracy": referee.accuracy_score(truth, said),
                "sensitivity": referee.recall_score(truth, said),
                "specificity": referee.recall_score(truth, said, pos_label=0),
            }
            assert found.get(name, expected) == pytest.approx(expected, abs=1e-12)
    areas = [referee.roc_auc_score(labels == i, probabilities[:, i]) for i in (0, 1)]
    assert strict["mean_auc"] == pytest.approx(np.mean(areas), abs=1e-12)
    expected = referee.accuracy_score(labels, answer)
    assert most_probable["accuracy"] == pytest.approx(expected, abs=1e-12)
    matrix = referee.confusion_matrix(labels, answer)
    np.testing.assert_array_equal(confusion_matrix(labels, answer, 3), matrix)


@pytest.mark.parametrize("convention", [official, coursework])
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
    assert coursework([0], [[1.0, 0.0, 0.0]])["accuracy"] == 1.0


# --- what is refused ---

ROW = [0.5, 0.25, 0.25]


@pytest.mark.parametrize("convention", [official, coursework])
@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [ROW], "2 labels for 1 rows of probabilities"),
        ([], np.zeros((0, 3)), "at least one"),
        ([0], ROW, r"probabilities have shape \(3,\); expected \(n, 3\) or \(n, 1\)"),
        ([[0]], [ROW], r"labels: shape \(1, 1\); expected \(n,\)"),
        ([0, 3], [ROW, ROW], r"not a class number in 1 of 2 .*\(first: 1\); expected 0 .. 2"),
        ([math.nan], [ROW], "expected 0 .. 2"),
        ([0, 0], [ROW, [math.nan, 0.5, 0.5]], r"nan or infinite in 1 of 2 images \(first: 1\)"),
        ([0], [[1.25, -0.25, 0.0]], r"outside \[0, 1\] in 1 of 1 images .* softmax or sigmoid"),
        ([0], [[-0.1]], r"outside \[0, 1\]"),
        ([0] * 9, [[0.5, 0.25, 0.252]] * 9, r"not sum to 1 in 9 of 9 .*: 0, 1, 2, 3, 4\)"),
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
        (auc, ([0, 1], [0, 1], np.ones((1, 1, 2))), r"expected \(n,\) or \(R, n\)"),
        (confusion_matrix, ([0, 1], [0], 2), r"truth \(2,\), prediction \(1,\)"),
        (confusion_matrix, ([0, 2], [0, 1], 2), "truth: not a class number.*0 .. 1"),
        (confusion_matrix, ([0, 1], [0, -1], 2), "prediction: not a class number"),
    ],
)
def test_parts_refuse(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
