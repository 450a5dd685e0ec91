"""Counts of right and wrong answers, and the rates computed from them.

Truth comes before prediction everywhere. `weights` say how often each image counts: (n,) gives
numbers, (R, n) gives R values at once, which makes the bootstrap fast.

The empty case is decided here, once: a ratio with denominator 0 is `empty`. In classification that
is undefined (nan); the official segmentation scores call it perfect: pass empty=1.0.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

UNDEFINED = math.nan

Number = Any  # a float, or an array with one value per image or resample, as the input is shaped


class Counts(NamedTuple):
    """True and false positives and negatives: four numbers, or four arrays of one shape."""

    tp: Number
    fp: Number
    fn: Number
    tn: Number


def count(truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None) -> Counts:
    """Counts over the last axis of two arrays of 0/1 of the same shape.

    (n,) gives numbers, (N, pixels) gives (N,). With weights (n,) or (R, n) both inputs are (n,).
    ValueError for other shapes or values.

    >>> count(truth=[1, 1, 1, 0, 0], prediction=[1, 1, 0, 1, 0])
    Counts(tp=2, fp=1, fn=1, tn=1)
    """
    truth, prediction = flags("truth", truth), flags("prediction", prediction)
    if truth.shape != prediction.shape:
        raise ValueError(
            f"truth has shape {truth.shape} and prediction {prediction.shape}; expected the same"
        )
    cells = [truth & prediction, ~truth & prediction, truth & ~prediction, ~truth & ~prediction]
    if weights is None:
        return Counts(*(number(cell.sum(axis=-1)) for cell in cells))
    weights = image_weights(weights, truth.shape)
    return Counts(*(number(weights @ cell.astype(float)) for cell in cells))


def counts_above(truth: ArrayLike, score: ArrayLike, threshold: ArrayLike) -> Counts:
    """Counts where positive means score > threshold, strictly, as in the challenge.

    truth (n,) of 0/1, score (n,), threshold a number or (t,), which gives (t,).

    >>> counts_above([1, 1, 0, 0], [0.9, 0.5, 0.6, 0.1], threshold=0.5)  # 0.5 itself is negative
    Counts(tp=1, fp=1, fn=1, tn=1)
    """
    positive = np.asarray(score) > np.asarray(threshold)[..., None]
    return count(np.broadcast_to(truth, positive.shape), positive)


def counts_of(table: pd.DataFrame, prefix: str = "") -> Counts:
    """The four columns of counts of a table as arrays (n,); prefix is that of their names."""
    return Counts(*(table[prefix + name].to_numpy(dtype=float) for name in Counts._fields))


def accuracy(counts: Counts, empty: float = UNDEFINED) -> Number:
    """Share of right answers, in [0, 1]; `empty` where nothing was counted.

    >>> accuracy(Counts(tp=2, fp=1, fn=1, tn=6))
    0.8
    """
    return ratio(counts.tp + counts.tn, sum(counts), empty)


def sensitivity(counts: Counts, empty: float = UNDEFINED) -> Number:
    """Share of the positives that were found, in [0, 1]; `empty` where there are none.

    >>> sensitivity(Counts(tp=3, fp=1, fn=1, tn=6))
    0.75
    """
    return ratio(counts.tp, counts.tp + counts.fn, empty)


def specificity(counts: Counts, empty: float = UNDEFINED) -> Number:
    """Share of the negatives that were recognised, in [0, 1]; `empty` where there are none.

    >>> specificity(Counts(tp=3, fp=1, fn=1, tn=4))
    0.8
    >>> specificity(Counts(tp=3, fp=0, fn=1, tn=0))
    nan
    """
    return ratio(counts.tn, counts.tn + counts.fp, empty)


def rates(counts: Counts, empty: float = UNDEFINED) -> dict[str, Number]:
    """Accuracy, sensitivity and specificity by name."""
    return {
        "accuracy": accuracy(counts, empty),
        "sensitivity": sensitivity(counts, empty),
        "specificity": specificity(counts, empty),
    }


def ratio(numerator: Number, denominator: Number, empty: float) -> Number:
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    result = np.full(denominator.shape, empty)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return number(result)


def number(value: np.ndarray) -> Number:
    return value.item() if np.ndim(value) == 0 else value


def flags(name: str, values: ArrayLike) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype != bool and not np.isin(values, (0, 1)).all():
        raise ValueError(f"{name} holds values other than 0 and 1; threshold it first")
    return values.astype(bool)


def truth_and_score(
    truth: ArrayLike, score: ArrayLike, name: str = "score"
) -> tuple[np.ndarray, np.ndarray]:
    """Truth (n,) bool and score (n,) float64, n >= 1; ValueError for other shapes or values."""
    truth, score = flags("truth", truth), np.asarray(score, dtype=float)
    check_shapes(**{"truth": truth, name: score})
    refuse(~np.isfinite(score), f"{name}: nan or infinite", "expected finite numbers")
    return truth, score


def image_weights(weights: ArrayLike | None, images: tuple[int, ...]) -> np.ndarray:
    """Weights (n,) or (R, n) of images (n,), all 1 for None; ValueError for invalid ones."""
    weights = np.ones(images) if weights is None else np.asarray(weights, dtype=float)
    if len(images) != 1 or weights.ndim not in (1, 2) or weights.shape[-1:] != images:
        raise ValueError(
            f"weights have shape {weights.shape} for images {images}; "
            "expected (n,) or (R, n) for (n,)"
        )
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError("weights hold negative, nan or infinite values; expected finite ones >= 0")
    return weights


def check_shapes(**arrays: np.ndarray) -> None:
    """ValueError unless all arrays are (n,) with one n >= 1."""
    shapes = [values.shape for values in arrays.values()]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1 or shapes[0] == (0,):
        each = ", ".join(f"{name} {shape}" for name, shape in zip(arrays, shapes, strict=True))
        raise ValueError(f"the shapes are {each}; expected (n,) each, one entry per image, n >= 1")


def refuse(bad: ArrayLike, problem: str, cure: str) -> None:
    """ValueError that names up to five positions where `bad` (n,) is true, if there are any."""
    bad = np.atleast_1d(bad)
    places = np.flatnonzero(bad)
    if len(places):
        first = ", ".join(map(str, places[:5]))
        raise ValueError(
            f"{problem} in {len(places)} of {len(bad)} images (first: {first}); {cure}"
        )
