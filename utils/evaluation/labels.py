"""Scores of labels: from probabilities to counts, and from counts to numbers.

Two conventions that must never be mixed; every score names its own:

- `official`: the ISIC 2017 challenge, part 3 (https://arxiv.org/abs/1710.05006; the organisers'
  scorer is https://github.com/ImageMarkup/isic-challenge-scoring). Melanoma and seborrheic
  keratosis are two separate binary tasks, positive means score > 0.5, ranked by the mean AUC.
- `coursework`: the most probable of the three classes, then each class against the rest.

`weights` are those of `counts`.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from utils.data.splits import CLASSES
from utils.evaluation.counts import (
    UNDEFINED,
    Number,
    accuracy,
    check_shapes,
    count,
    image_weights,
    rates,
    ratio,
    refuse,
    truth_and_score,
)

OFFICIAL_CLASSES = CLASSES[:2]  # the challenge has no task for benign

Scores = dict[str, Number | dict[str, Number]]


def auc(truth: ArrayLike, score: ArrayLike, weights: ArrayLike | None = None) -> Number:
    """Area under the ROC curve: the chance that a positive scores above a negative.

    By ranks (Mann-Whitney), so a tie counts half. truth (n,) of 0/1, score (n,) finite,
    weights (n,) or (R, n). nan where only one class has weight; ValueError for invalid input.

    >>> auc([1, 1, 0, 0], [3, 2, 1, 2])  # 3 > 1, 3 > 2, 2 > 1, and a tie: 3.5 of 4 pairs
    0.875
    """
    truth, score = truth_and_score(truth, score)
    weights = image_weights(weights, truth.shape)
    order = np.argsort(score)
    ranked, truth, weights = score[order], truth[order], weights[..., order]
    # One group per distinct score, so that ties share a group.
    first = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    positives = np.add.reduceat(weights * truth, first, axis=-1)  # (..., groups)
    negatives = np.add.reduceat(weights * ~truth, first, axis=-1)
    below = np.cumsum(negatives, axis=-1) - negatives / 2
    pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
    return ratio((positives * below).sum(axis=-1), pairs, UNDEFINED)


def classes_in(table: pd.DataFrame) -> list[str]:
    """The classes that a table of predictions has columns for, in the order of CLASSES."""
    return [name for name in CLASSES if name in table.columns]


def both_answers(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities (n, C), C >= 2: a single column p (n, 1), melanoma's, becomes p and 1 - p.

    >>> both_answers(np.array([[0.75]])).tolist()
    [[0.75, 0.25]]
    """
    if probabilities.shape[1] > 1:
        return probabilities
    return np.hstack([probabilities, 1 - probabilities])


def confusion_matrix(truth: ArrayLike, prediction: ArrayLike, classes: int) -> np.ndarray:
    """How often class i (row, truth) was predicted as j (column): (classes, classes) int64.

    truth and prediction (n,) hold 0 .. classes - 1; ValueError otherwise.

    >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 0], classes=3).tolist()
    [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    """
    truth, prediction = _labels("truth", truth, classes), _labels("prediction", prediction, classes)
    check_shapes(truth=truth, prediction=prediction)
    cells = np.bincount(truth * classes + prediction, minlength=classes**2)
    return cells.reshape(classes, classes)


def official(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None
) -> Scores:
    """The challenge's scores: {class: {auc, accuracy, sensitivity, specificity}, mean_auc}.

    labels (n,) in 0..2, probabilities (n, 3); or (n, 1) of melanoma: then melanoma alone, and no
    mean_auc. nan where a class is missing. ValueError as in `checked`.
    """
    labels, probabilities = checked(labels, probabilities)
    columns = probabilities[:, : len(OFFICIAL_CLASSES)]
    # Strictly above, as in the official scorer: 0.5 itself is negative.
    scores = _each_class(labels, columns, columns > 0.5, weights)
    if len(scores) == len(OFFICIAL_CLASSES):
        scores["mean_auc"] = sum(scores[name]["auc"] for name in OFFICIAL_CLASSES) / len(scores)
    return scores


def coursework(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None
) -> Scores:
    """The coursework's scores: {class: {auc, accuracy, sensitivity, specificity}, accuracy}.

    Inputs and nan as in `official`, all three classes; the last `accuracy` is over all classes.
    With (n, 1) the answers are melanoma (p) or not (1 - p): melanoma alone, and no overall
    accuracy. Ties go to the first class, so p = 0.5 is melanoma here, unlike in `official`.
    """
    labels, probabilities = checked(labels, probabilities)
    predicted = both_answers(probabilities).argmax(axis=1)
    answers = predicted[:, None] == np.arange(probabilities.shape[1])
    scores = _each_class(labels, probabilities, answers, weights)
    if len(scores) == len(CLASSES):
        right = predicted == labels
        scores["accuracy"] = accuracy(count(np.ones_like(right), right, weights))
    return scores


def epoch_scores(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None
) -> dict[str, Number]:
    """The AUCs an epoch is judged by: auc_melanoma; with three classes also the other and the mean.

    With melanoma alone its accuracy, too, where 0.5 is melanoma. Arguments as in `official`; nan
    where a class is missing.

    >>> epoch_scores([0, 0, 1], [[0.7], [0.2], [0.4]])  # one of two pairs is in the right order
    {'auc_melanoma': 0.5, 'accuracy_melanoma': 0.6666666666666666}
    """
    labels, probabilities = checked(labels, probabilities)
    scores = {
        f"auc_{name}": auc(labels == number, probabilities[:, number], weights)
        for number, name in enumerate(OFFICIAL_CLASSES[: probabilities.shape[1]])
    }
    if len(scores) > 1:
        scores["auc_mean"] = sum(scores.values()) / len(scores)
    else:
        cells = count(labels == 0, probabilities[:, 0] >= 0.5, weights)
        scores["accuracy_melanoma"] = accuracy(cells)
    return scores


def checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) int64 in 0..2 and probabilities (n, 3) or (n, 1) float64, or ValueError.

    Probabilities are finite, in [0, 1], and three of them sum to 1 within 1e-3.
    """
    labels = _labels("labels", labels, len(CLASSES))
    probabilities = np.asarray(probabilities, dtype=float)
    if probabilities.ndim != 2 or probabilities.shape[1] not in (len(CLASSES), 1):
        raise ValueError(
            f"probabilities have shape {probabilities.shape}; expected (n, 3) or (n, 1)"
        )
    if len(labels) != len(probabilities) or len(labels) == 0:
        raise ValueError(
            f"{len(labels)} labels for {len(probabilities)} rows of probabilities; "
            "expected one label per row, and at least one"
        )
    cure = "give the softmax or sigmoid of the logits, computed in float32"
    refuse(~np.isfinite(probabilities).all(axis=1), "probabilities: nan or infinite", cure)
    outside = ((probabilities < 0) | (probabilities > 1)).any(axis=1)
    refuse(outside, "probabilities: outside [0, 1]", cure)
    if probabilities.shape[1] > 1:
        off = np.abs(probabilities.sum(axis=1) - 1) > 1e-3
        refuse(off, "probabilities: rows that do not sum to 1", cure)
    return labels, probabilities


def _each_class(
    labels: np.ndarray, columns: np.ndarray, answers: np.ndarray, weights: ArrayLike | None
) -> Scores:
    """Each class against the rest: probabilities (n, k), and whether that class was the answer."""
    scores: Scores = {}
    for index, (score, answer) in enumerate(zip(columns.T, answers.T, strict=True)):
        truth = labels == index
        area = {"auc": auc(truth, score, weights)}
        scores[CLASSES[index]] = area | rates(count(truth, answer, weights))
    return scores


def _labels(name: str, values: ArrayLike, classes: int) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"{name}: shape {values.shape}; expected (n,) class numbers")
    wrong = ~np.isin(values, np.arange(classes))
    refuse(wrong, f"{name}: not a class number", f"expected 0 .. {classes - 1}")
    return values.astype(np.int64)
