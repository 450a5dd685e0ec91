"""ROC and precision-recall curves with bootstrap bands over images.

A band is pointwise, not simultaneous: at each point of the grid it holds 95 % of the resampled
curves. Resamples and intervals of AUCs are those of the score file (stratified by class). Averages
and bands are vertical, at fixed false-positive rates: Fawcett, "An introduction to ROC analysis",
2006, section 8 (https://doi.org/10.1016/j.patrec.2005.10.010).

micro pools the decisions of all classes, so each image counts as often as there are classes; its
decisions are resampled together. macro is the mean over the classes: in ISIC 2017 benign included,
so not the mean AUC of the challenge, which averages melanoma and seborrheic keratosis.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from utils.data.names import CLASSES
from utils.evaluation.counts import Number
from utils.evaluation.intervals import LEVEL, Interval
from utils.evaluation.labels import auc, checked
from utils.evaluation.resampling import area_interval, auc_interval, bootstrap, mean_area_interval

GRID = np.linspace(0, 1, 201)
GRID.flags.writeable = False
_NONE = np.array([])


class Curve(NamedTuple):
    """A curve and its band; where a class is missing, empty arrays and an area of nan."""

    name: str  # of a class, or "micro" or "macro"
    prevalence: float  # share of positives, the precision of chance
    x: np.ndarray = _NONE  # (p,) rising: false-positive rate, or recall
    y: np.ndarray = _NONE  # (p,) true-positive rate, or precision
    grid: np.ndarray = _NONE  # (g,) x of the band
    low: np.ndarray = _NONE  # (g,)
    high: np.ndarray = _NONE  # (g,)
    area: float = math.nan  # AUC, or average precision
    interval: Interval = Interval(math.nan, math.nan)  # of the area


class _Kind(NamedTuple):
    """How ROC and precision-recall differ."""

    points: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # tp, fp to x, y
    at: Callable[[np.ndarray, np.ndarray], np.ndarray]  # points x, y (p,) to y on GRID
    area: Callable[..., Number]  # from truth, score, weights
    interval: Callable[..., Interval]  # from an area, resampled areas, numbers of images


def roc_curves(
    labels: ArrayLike,
    probabilities: ArrayLike,
    resamples: int = 2000,
    seed: int = 0,
    classes: Sequence[str] = CLASSES,
) -> list[Curve]:
    """True- against false-positive rate: each class against the rest, then micro and macro.

    classes are C names, labels (n,) in 0..C-1, probabilities (n, C), or (n, 1): then class 0
    (melanoma) alone. A class without positives or negatives has no curve, and then there is no
    macro curve. Two classes have neither micro nor macro: their curves mirror each other.
    ValueError as in `labels.checked` and `bootstrap`.
    """
    kind = _Kind(_roc_points, _roc_at, auc, auc_interval)
    return _curves(kind, labels, probabilities, resamples, seed, classes)


def precision_recall_curves(
    labels: ArrayLike,
    probabilities: ArrayLike,
    resamples: int = 2000,
    seed: int = 0,
    classes: Sequence[str] = CLASSES,
) -> list[Curve]:
    """Precision against recall, otherwise as `roc_curves`; the area is the average precision.

    Points are joined by steps, not slopes: a recall has the precision of the next point to the
    right (draw "steps-pre"; Davis and Goadrich, ICML 2006, explain why). Resamples keep the
    prevalence, on which precision depends.
    """
    kind = _Kind(_precision_points, _precision_at, average_precision, _precision_interval)
    return _curves(kind, labels, probabilities, resamples, seed, classes)


def average_precision(
    truth: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None
) -> Number:
    """Precision averaged over the recall that each lower threshold adds (scikit-learn's AP).

    truth (n,) bool with at least one True, score (n,), weights (n,) or (R, n).

    >>> precision = average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]))
    >>> round(float(precision), 4)  # (1 + 2/3) / 2
    0.8333
    """
    recall, precision = _precision_points(*cumulated(truth, score, weights))
    return (np.diff(recall, axis=-1) * precision[..., 1:]).sum(axis=-1)


def _curves(
    kind: _Kind,
    labels: ArrayLike,
    probabilities: ArrayLike,
    resamples: int,
    seed: int,
    classes: Sequence[str],
) -> list[Curve]:
    labels, probabilities = checked(labels, probabilities, len(classes))
    names = classes[: probabilities.shape[1]]
    truths = labels[:, None] == np.arange(len(names))  # (n, classes)
    decisions = dict(zip(names, zip(truths.T, probabilities.T, strict=True), strict=True))
    if len(names) > 2:
        decisions["micro"] = truths.ravel(), probabilities.ravel()
    curves, profiles = {}, {}
    for name, (truth, score) in decisions.items():
        curves[name] = Curve(name, float(truth.mean()))
        if truth.all() or not truth.any():
            continue
        profiles[name] = _profiles(kind, truth, score, labels, resamples, seed)
        images = truth.reshape(len(labels), -1)  # with a positive decision, and with a negative one
        both = int(images.any(axis=1).sum()), int((~images).any(axis=1).sum())
        area, areas = float(profiles[name][0, -1]), profiles[name][1:, -1]
        interval = kind.interval(area, areas, *both)
        points = kind.points(*cumulated(truth, score))
        curves[name] = _drawn(curves[name], *points, profiles[name], interval)
    if len(names) > 2:
        curves["macro"] = Curve("macro", float(truths.mean()))
        if profiles.keys() >= set(names):
            mean = np.mean([profiles[name] for name in names], axis=0)
            parts = [curves[name].area for name in names], [curves[name].interval for name in names]
            interval = mean_area_interval(float(mean[0, -1]), mean[1:, -1], *parts)
            curves["macro"] = _drawn(curves["macro"], GRID, mean[0, :-1], mean, interval)
    return list(curves.values())


def _precision_interval(value: float, values: np.ndarray, *_: int) -> Interval:
    return area_interval(value, values)  # where it is 1 there is no better formula


def _profiles(
    kind: _Kind, truth: np.ndarray, score: np.ndarray, labels: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """y on GRID, then the area, for the original images and each resample: (1 + R, g + 1).

    truth and score hold one decision per image, or (micro) those of each image in a row.
    """
    decisions = len(truth) // len(labels)

    def profile(weights: np.ndarray) -> np.ndarray:
        weights = np.repeat(weights, decisions, axis=1)
        points = kind.points(*cumulated(truth, score, weights))
        heights = np.stack([kind.at(x, y) for x, y in zip(*points, strict=True)])
        return np.column_stack([heights, kind.area(truth, score, weights)])

    own = profile(np.ones((1, len(labels))))
    return np.vstack([own, bootstrap(profile, labels, resamples, seed)])


def _drawn(
    curve: Curve, x: np.ndarray, y: np.ndarray, profiles: np.ndarray, interval: Interval
) -> Curve:
    low, high = np.quantile(profiles[1:, :-1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Curve(*curve[:2], x, y, GRID, low, high, float(profiles[0, -1]), interval)


def cumulated(
    truth: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives as the threshold falls past each distinct score: (…, scores)."""
    weights = np.ones(len(truth)) if weights is None else weights
    order = np.argsort(-score, kind="stable")
    ranked, truth, weights = score[order], truth[order], weights[..., order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of each group of ties
    true, false = weights * truth, weights * ~truth
    return true.cumsum(axis=-1)[..., last], false.cumsum(axis=-1)[..., last]


def _roc_points(tp: np.ndarray, fp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = (_from_zero(counts / counts[..., -1:]) for counts in (fp, tp))
    return x, y


def _roc_at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.interp(GRID, x, y)  # where the curve is vertical: its upper end


def _precision_points(tp: np.ndarray, fp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    called = tp + fp
    # A resample may lack the images with the highest scores: nothing is positive there.
    precision = np.divide(tp, called, out=np.zeros_like(tp), where=called > 0)
    recall = _from_zero(tp / tp[..., -1:])
    return recall, np.concatenate([precision[..., :1], precision], axis=-1)


def _precision_at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # The first point with this recall, up to rounding; at 0 the first with any.
    rounding = 1e-12
    return y[np.searchsorted(x, np.maximum(GRID - rounding, rounding))]


def _from_zero(values: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros_like(values[..., :1]), values], axis=-1)
