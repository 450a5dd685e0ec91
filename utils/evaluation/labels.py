"""Scores of labels: from probabilities to counts, and from counts to numbers.

Conventions that must never be mixed; every score names its own. Where the classes are ISIC 2017's:

- `official`: the ISIC 2017 challenge, part 3 (https://arxiv.org/abs/1710.05006; the organisers'
  scorer is https://github.com/ImageMarkup/isic-challenge-scoring). Melanoma and seborrheic
  keratosis are two separate binary tasks, positive means score > 0.5, ranked by the mean AUC.
- `coursework`: the most probable of the three classes, then each class against the rest.

Where they are others, `one_vs_rest` alone: as `coursework`, with the means over all classes.
`scheme` is the one place that tells the two apart. `weights` are those of `counts`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from utils.data.names import CLASSES, NO_CLASS
from utils.data.own import MOST
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
    positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)
    negative = negative[np.argsort(score[negative])]
    # The weight of the first 0, 1, 2, ... negatives from the lowest score on.
    lowest = np.zeros((*weights.shape[:-1], len(negative) + 1))
    np.cumsum(weights.take(negative, axis=-1), axis=-1, out=lowest[..., 1:])
    below = np.searchsorted(score[negative], score[positive])
    up_to = np.searchsorted(score[negative], score[positive], side="right")  # ties, too
    wins = (lowest.take(below, axis=-1) + lowest.take(up_to, axis=-1)) / 2  # (..., positives)
    positives = weights.take(positive, axis=-1)
    pairs = positives.sum(axis=-1) * lowest[..., -1]
    return ratio((positives * wins).sum(axis=-1), pairs, UNDEFINED)


class Scheme(NamedTuple):
    """What is scored of some classes."""

    main: str  # the convention that ranks runs, and that a summary shows
    ranked: tuple[str, ...]  # the classes whose AUCs it shows, and means
    asked: tuple[str, ...]  # those that get thresholds; of another set class 0 alone


def scheme(classes: Sequence[str]) -> Scheme:
    """That of the classes of a set, or of a table of predictions.

    A table of one logit has a column for the first class alone, so not for all that are named.
    """
    names = tuple(classes)
    if names in (CLASSES, CLASSES[:1]):
        return Scheme("official", OFFICIAL_CLASSES, OFFICIAL_CLASSES)
    return Scheme("one_vs_rest", names, names[:1])


def classes_in(table: pd.DataFrame) -> list[str]:
    """The classes that a table of predictions has columns for; of one logit the first alone."""
    return [name for name in map(str, table.columns) if name not in NO_CLASS]


def set_classes(table: pd.DataFrame, classes: Sequence[str] | None = None) -> Sequence[str]:
    """The classes of the set that a table of predictions is about, which its labels number.

    classes, where they are given. A table of one logit names the first alone: ISIC 2017's then.
    """
    names = classes_in(table)
    return classes or (names if len(names) > 1 else CLASSES)


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
    labels, probabilities = checked(labels, probabilities, len(CLASSES))
    columns = probabilities[:, : len(OFFICIAL_CLASSES)]
    # Strictly above, as in the official scorer: 0.5 itself is negative.
    scores = _each_class(labels, columns, columns > 0.5, weights, CLASSES)
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
    labels, probabilities = checked(labels, probabilities, len(CLASSES))
    return _most_probable(labels, probabilities, weights, CLASSES)


def one_vs_rest(
    labels: ArrayLike,
    probabilities: ArrayLike,
    weights: ArrayLike | None = None,
    classes: Sequence[str] = CLASSES,
) -> Scores:
    """The scores of any classes, {class: {auc, …}, accuracy, mean_auc, balanced_accuracy}.

    labels (n,) in 0..C-1, probabilities (n, C), a column a class; otherwise as in `coursework`.
    mean_auc is the macro AUC, balanced_accuracy the mean of the sensitivities.
    """
    labels, probabilities = checked(labels, probabilities, len(classes))
    scores = _most_probable(labels, probabilities, weights, classes)
    if "accuracy" in scores:
        each = [scores[name] for name in classes]
        scores["mean_auc"] = sum(one["auc"] for one in each) / len(each)
        scores["balanced_accuracy"] = sum(one["sensitivity"] for one in each) / len(each)
    return scores


def epoch_scores(
    labels: ArrayLike,
    probabilities: ArrayLike,
    weights: ArrayLike | None = None,
    classes: Sequence[str] = CLASSES,
) -> dict[str, Number]:
    """The AUCs an epoch is judged by: auc_melanoma; with three classes also the other and the mean.

    With one logit of class 0 (melanoma) its accuracy, too, where 0.5 is that class. Of other
    classes than ISIC 2017's all AUCs and their mean. Arguments as in `one_vs_rest`; nan where a
    class is missing.

    >>> epoch_scores([0, 0, 1], [[0.7], [0.2], [0.4]])  # one of two pairs is in the right order
    {'auc_melanoma': 0.5, 'accuracy_melanoma': 0.6666666666666666}
    """
    labels, probabilities = checked(labels, probabilities, len(classes))
    ranked = scheme(classes).ranked[: probabilities.shape[1]]
    scores = {
        f"auc_{name}": auc(labels == number, probabilities[:, number], weights)
        for number, name in enumerate(ranked)
    }
    if len(scores) > 1:
        scores["auc_mean"] = sum(scores.values()) / len(scores)
    else:
        cells = count(labels == 0, probabilities[:, 0] >= 0.5, weights)
        scores[f"accuracy_{ranked[0]}"] = accuracy(cells)
    return scores


def checked(
    labels: ArrayLike, probabilities: ArrayLike, classes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) int64 in 0..C-1, probabilities (n, C) or (n, 1) float64, or ValueError.

    classes is C; by default as many as there are columns. Probabilities are finite, in [0, 1], and
    several of them sum to 1 within 1e-3. Beside a single column, that of class 0 against the rest,
    labels may be any of `MOST` classes.
    """
    probabilities = np.asarray(probabilities, dtype=float)
    columns = probabilities.shape[1] if probabilities.ndim == 2 else 0
    if columns not in (classes or columns or None, 1):
        raise ValueError(
            f"probabilities have shape {probabilities.shape}; expected (n, {classes or 'C'}) or "
            "(n, 1)"
        )
    labels = _labels("labels", labels, columns if columns > 1 else MOST)
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


def _most_probable(
    labels: np.ndarray,
    probabilities: np.ndarray,
    weights: ArrayLike | None,
    classes: Sequence[str],
) -> Scores:
    """Each class against the rest, the most probable one being the answer; and the accuracy."""
    predicted = both_answers(probabilities).argmax(axis=1)
    answers = predicted[:, None] == np.arange(probabilities.shape[1])
    scores = _each_class(labels, probabilities, answers, weights, classes)
    if len(scores) > 1:
        right = predicted == labels
        scores["accuracy"] = accuracy(count(np.ones_like(right), right, weights))
    return scores


def _each_class(
    labels: np.ndarray,
    columns: np.ndarray,
    answers: np.ndarray,
    weights: ArrayLike | None,
    classes: Sequence[str],
) -> Scores:
    """Each class against the rest: probabilities (n, k), and whether that class was the answer."""
    scores: Scores = {}
    for index, (score, answer) in enumerate(zip(columns.T, answers.T, strict=True)):
        truth = labels == index
        area = {"auc": auc(truth, score, weights)}
        scores[classes[index]] = area | rates(count(truth, answer, weights))
    return scores


def _labels(name: str, values: ArrayLike, classes: int) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"{name}: shape {values.shape}; expected (n,) class numbers")
    wrong = ~np.isin(values, np.arange(classes))
    refuse(wrong, f"{name}: not a class number", f"expected 0 .. {classes - 1}")
    return values.astype(np.int64)
