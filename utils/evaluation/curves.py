"""ROC and precision-recall curves with bootstrap bands over images, and operating points.

A band is pointwise: at each place of the grid it holds 95 % of the resampled curves. It is not
simultaneous: that the whole true curve lies inside is less likely than 95 %. Resamples are those
behind an AUC in a score file (as many images of each class as there are), and the
interval of an AUC is the very one in scores-<split>.json. Averages and bands are vertical, at fixed
false-positive rates: Fawcett, "An introduction to ROC analysis", 2006, section 8
(https://doi.org/10.1016/j.patrec.2005.10.010).

micro pools the decisions of all classes, so that an image counts three times; the three go into a
resample together. macro is the plain mean over the classes, benign included: it is not the mean AUC
of the challenge, which is that of melanoma and seborrheic keratosis.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from utils.data.splits import CLASSES
from utils.evaluation.counts import Counts, Number, accuracy, count, sensitivity, specificity
from utils.evaluation.intervals import LEVEL, Interval
from utils.evaluation.labels import auc, checked
from utils.evaluation.resampling import area_interval, auc_interval, bootstrap, mean_area_interval

GRID = np.linspace(0, 1, 201)
GRID.flags.writeable = False
_NONE = np.array([])
_NOWHERE = Interval(math.nan, math.nan)


class Curve(NamedTuple):
    """A curve and its band. Where a class is missing there is none: empty arrays, area nan."""

    name: str  # one of `data.splits.CLASSES`, "micro" or "macro"
    x: np.ndarray  # (p,) rising: false-positive rate, or recall
    y: np.ndarray  # (p,) true-positive rate, or precision
    grid: np.ndarray  # (g,) where the band is known
    low: np.ndarray  # (g,)
    high: np.ndarray  # (g,)
    area: float  # AUC, or average precision
    interval: Interval  # of the area
    prevalence: float  # share of positives, the precision that chance reaches


class OperatingPoints(NamedTuple):
    """What a threshold does: numbers for one threshold, arrays (t,) for several."""

    threshold: Number
    counts: Counts  # tp, fp, fn, tn
    sensitivity: Number
    specificity: Number
    accuracy: Number


class _Kind(NamedTuple):
    """What tells ROC from precision-recall."""

    points: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # tp, fp to x, y
    at: Callable[[np.ndarray, np.ndarray], np.ndarray]  # points x, y (p,) to y on GRID
    area: Callable[..., Number]  # of truth, score, weights
    interval: Callable[..., Interval]  # of an area, resampled ones, numbers of images


def roc_curves(
    labels: ArrayLike, probabilities: ArrayLike, resamples: int = 2000, seed: int = 0
) -> list[Curve]:
    """True- against false-positive rate: each class against the rest, then micro and macro.

    labels (n,) in 0..2, probabilities (n, 3), or (n, 1): then melanoma alone. A class with no
    image, or with all of them, has no curve; nor has macro then. ValueError as in
    `evaluation.checked`, or for no resamples.
    """
    kind = _Kind(_roc_points, _roc_at, auc, auc_interval)
    return _curves(kind, labels, probabilities, resamples, seed)


def precision_recall_curves(
    labels: ArrayLike, probabilities: ArrayLike, resamples: int = 2000, seed: int = 0
) -> list[Curve]:
    """Precision against recall, else as `roc_curves`; the area is the average precision.

    Steps, not slopes, lie between the points: a recall has the precision of the next point to the
    right (so draw "steps-pre"; Davis and Goadrich, ICML 2006, say why). Resamples keep the
    prevalence, on which precision depends.
    """
    kind = _Kind(_precision_points, _precision_at, average_precision, _precision_interval)
    return _curves(kind, labels, probabilities, resamples, seed)


def average_precision(
    truth: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None
) -> Number:
    """Precision, averaged over the recall that each lower threshold adds (scikit-learn's AP).

    truth (n,) bool with at least one True, score (n,), weights (n,) or (R, n) as in `evaluation`.

    >>> precision = average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]))
    >>> round(float(precision), 4)  # (1 + 2/3) / 2
    0.8333
    """
    recall, precision = _precision_points(*cumulated(truth, score, weights))
    return (np.diff(recall, axis=-1) * precision[..., 1:]).sum(axis=-1)


def operating_points(truth: ArrayLike, score: ArrayLike, threshold: ArrayLike) -> OperatingPoints:
    """Counts and rates where positive means score > threshold, strictly, as the challenge has it.

    truth (n,) of 0/1, score (n,), threshold a number or (t,). A rate of nothing is nan.
    """
    threshold = np.asarray(threshold, dtype=float)
    positive = np.asarray(score) > threshold[..., None]
    counts = count(np.broadcast_to(truth, positive.shape), positive)
    rates = sensitivity(counts), specificity(counts), accuracy(counts)
    return OperatingPoints(threshold if threshold.ndim else threshold.item(), counts, *rates)


def _curves(
    kind: _Kind, labels: ArrayLike, probabilities: ArrayLike, resamples: int, seed: int
) -> list[Curve]:
    labels, probabilities = checked(labels, probabilities)
    names = CLASSES[: probabilities.shape[1]]
    truths = labels[:, None] == np.arange(len(names))  # (n, classes)
    decisions = dict(zip(names, zip(truths.T, probabilities.T, strict=True), strict=True))
    if len(names) > 1:
        decisions["micro"] = truths.ravel(), probabilities.ravel()
    curves, profiles, intervals = [], {}, {}
    for name, (truth, score) in decisions.items():
        if truth.all() or not truth.any():
            curves.append(_curve(name, truth.mean()))
            continue
        points = kind.points(*cumulated(truth, score))
        profiles[name] = _profiles(kind, truth, score, labels, resamples, seed)
        area, areas = float(profiles[name][0, -1]), profiles[name][1:, -1]
        intervals[name] = kind.interval(area, areas, *_images_of_each(truth, len(labels)))
        curves.append(_curve(name, truth.mean(), *points, profiles[name], intervals[name]))
    if len(names) > 1:
        macro = _macro(profiles, intervals, names) if profiles.keys() >= set(names) else ()
        curves.append(_curve("macro", truths.mean(), *macro))
    return curves


def _macro(
    profiles: dict[str, np.ndarray], intervals: dict[str, Interval], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Interval]:
    """The mean over the classes: x, y, profiles, interval of the area."""
    mean = np.mean([profiles[name] for name in names], axis=0)
    areas = [float(profiles[name][0, -1]) for name in names]
    each = [intervals[name] for name in names]
    interval = mean_area_interval(float(mean[0, -1]), mean[1:, -1], areas, each)
    return GRID, mean[0, :-1], mean, interval


def _images_of_each(truth: np.ndarray, n: int) -> tuple[int, int]:
    """How many of n images have a positive decision, and how many a negative one."""
    images = truth.reshape(n, -1)
    return int(images.any(axis=1).sum()), int((~images).any(axis=1).sum())


def _precision_interval(value: float, values: np.ndarray, *_: int) -> Interval:
    return area_interval(value, values)  # no formula knows better where it is 1


def _profiles(
    kind: _Kind, truth: np.ndarray, score: np.ndarray, labels: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """y on GRID, then the area, of the images as they are and of each resample: (1 + R, g + 1).

    truth and score hold one decision an image, or (micro) one a class, those of an image in a row.
    """
    decisions = len(truth) // len(labels)

    def profile(weights: np.ndarray) -> np.ndarray:
        weights = np.repeat(weights, decisions, axis=1)
        points = kind.points(*cumulated(truth, score, weights))
        heights = np.stack([kind.at(x, y) for x, y in zip(*points, strict=True)])
        return np.column_stack([heights, kind.area(truth, score, weights)])

    own = profile(np.ones((1, len(labels))))
    return np.vstack([own, bootstrap(profile, labels, resamples, seed)])


def _curve(
    name: str,
    prevalence: float,
    x: np.ndarray = _NONE,
    y: np.ndarray = _NONE,
    profiles: np.ndarray | None = None,
    interval: Interval = _NOWHERE,
) -> Curve:
    if profiles is None:
        return Curve(name, x, y, _NONE, _NONE, _NONE, math.nan, interval, float(prevalence))
    own, resampled = profiles[0], profiles[1:]
    low, high = np.quantile(resampled[:, :-1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Curve(name, x, y, GRID, low, high, float(own[-1]), interval, float(prevalence))


def cumulated(
    truth: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives as the threshold falls past each distinct score: (…, scores)."""
    weights = np.ones(len(truth)) if weights is None else weights
    order = np.argsort(-score, kind="stable")
    ranked, truth, weights = score[order], truth[order], weights[..., order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of each group of equals
    true, false = weights * truth, weights * ~truth
    return true.cumsum(axis=-1)[..., last], false.cumsum(axis=-1)[..., last]


def _roc_points(tp: np.ndarray, fp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = (_from_zero(counts / counts[..., -1:]) for counts in (fp, tp))
    return x, y


def _roc_at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.interp(GRID, x, y)  # where the curve is vertical: its upper end


def _precision_points(tp: np.ndarray, fp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    called = tp + fp
    # A resample may lack the images with the highest scores: nothing is called positive there.
    precision = np.divide(tp, called, out=np.zeros_like(tp), where=called > 0)
    recall = _from_zero(tp / tp[..., -1:])
    return recall, np.concatenate([precision[..., :1], precision], axis=-1)


def _precision_at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # The first point with this recall, however it was rounded; at 0 the first that has any.
    rounding = 1e-12
    return y[np.searchsorted(x, np.maximum(GRID - rounding, rounding))]


def _from_zero(values: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros_like(values[..., :1]), values], axis=-1)
