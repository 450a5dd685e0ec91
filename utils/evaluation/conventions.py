"""Every score in every convention, with its interval: the content of a run's score file.

The intervals are about other images of the same kind, so images are resampled, never pixels: those
of one image are not independent. AUCs, and all scores of masks, get a bootstrap on the logit scale
(`resampling`). Accuracy, sensitivity and specificity of labels are shares of images and get
Wilson's interval: near 0 and 1 a bootstrap is too narrow, and at 0 and 1 it has no width.

The scores of a classifier:

    {"n": int, "counts": {class: int}, "resamples": int, "seed": int, "level": 0.95,
     "official": {"melanoma": METRICS, "seborrheic_keratosis": METRICS, "mean_auc": SCORE},
     "coursework": {"melanoma": METRICS, "seborrheic_keratosis": METRICS, "benign": METRICS,
                    "accuracy": SCORE}}

METRICS is {"auc", "accuracy", "sensitivity", "specificity"}, each a SCORE, and SCORE is
{"value", "low", "high"}, each a float, or None where undefined. For a network with melanoma alone
both conventions have only "melanoma". Those of a segmenter:

    {"n": int, "resamples": int, "seed": int, "level": 0.95,
     "official": {metric: SCORE}, "coursework": {metric: SCORE}, "lesion": {metric: SCORE}}

metric is one of `masks.METRICS`, without threshold_jaccard in "lesion".
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from utils.data.splits import CLASSES
from utils.evaluation import labels, masks
from utils.evaluation.counts import Counts, Number
from utils.evaluation.intervals import LEVEL, Interval, wilson
from utils.evaluation.resampling import area_interval, auc_interval, bootstrap, mean_area_interval

LABELS = {"official": labels.official, "coursework": labels.coursework}
MASKS = {
    "official": masks.official,
    "coursework": masks.coursework,
    "lesion": masks.lesion_pooled,
}

Key = tuple[str, ...]  # ("official", "melanoma", "auc")


def classification_scores(
    truth: ArrayLike, probabilities: ArrayLike, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """The scores of a classifier as described above, ready for json.dumps.

    truth (n,) in 0..2, probabilities (n, 3), or (n, 1) for melanoma alone; ValueError otherwise.
    """
    truth, probabilities = labels.checked(truth, probabilities)
    values = flat_scores(truth, probabilities)
    areas = [path for path in values if _is_area(path)]

    def statistic(weights: np.ndarray) -> np.ndarray:
        resampled = flat_scores(truth, probabilities, weights)
        return np.stack([resampled[path] for path in areas], axis=-1)

    columns = dict(zip(areas, bootstrap(statistic, truth, resamples, seed).T, strict=True))
    numbers = np.bincount(truth, minlength=len(CLASSES)).tolist()
    counts, n = dict(zip(CLASSES, numbers, strict=True)), len(truth)
    intervals: dict[Key, Interval] = {}
    for path, value in values.items():
        positives = counts.get(path[-2], 0)
        if path[-1] == "mean_auc":  # it follows its parts
            parts = [part for part in areas if part[0] == path[0] and part != path]
            each = [values[part] for part in parts], [intervals[part] for part in parts]
            intervals[path] = mean_area_interval(value, columns[path], *each)
        elif path[-1] == "auc":
            intervals[path] = auc_interval(value, columns[path], positives, n - positives)
        else:  # a share of all images, of a class or of the rest
            of = {"sensitivity": positives, "specificity": n - positives}.get(path[-1], n)
            intervals[path] = wilson(round(value * of) if of else 0, of)
    about = {"n": n, "counts": counts, "resamples": resamples, "seed": seed, "level": LEVEL}
    return about | _nested(values, intervals)


def segmentation_scores(
    counts: Counts, resamples: int = 2000, seed: int = 0, seen: Counts | None = None
) -> dict[str, Any]:
    """The scores of a segmenter as described above, ready for json.dumps.

    counts (n,) each, one entry per image; all scores share the resamples. seen: those of the pixels
    that the network saw, which alone count where pixels are pooled. ValueError as in
    `masks.per_image` and `resampling.bootstrap`.
    """
    counts = masks.checked(counts)
    pooled = counts if seen is None else masks.checked(seen)
    of = {name: counts if name == "official" else pooled for name in MASKS}
    n = len(counts.tp)

    def flat(weights: np.ndarray | None = None) -> dict[Key, Number]:
        return flattened({name: scores(of[name], weights) for name, scores in MASKS.items()})

    def statistic(weights: np.ndarray) -> np.ndarray:
        return np.stack(list(flat(weights).values()), axis=-1)

    values, columns = flat(), bootstrap(statistic, np.zeros(n), resamples, seed).T
    pairs = zip(values.items(), columns, strict=True)
    intervals = {path: area_interval(value, column) for (path, value), column in pairs}
    about = {"n": n, "resamples": resamples, "seed": seed, "level": LEVEL}
    return about | _nested(values, intervals)


def flat_scores(
    truth: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray | None = None,
    conventions: Iterable[str] = tuple(LABELS),
) -> dict[Key, Number]:
    """Every score of a classifier by its path; truth and probabilities from `labels.checked`.

    weights (n,) give numbers, (r, n) arrays (r,).
    """
    return flattened({name: LABELS[name](truth, probabilities, weights) for name in conventions})


def flattened(scores: Mapping[str, Any], path: Key = ()) -> dict[Key, Any]:
    """Each number of nested scores, or each SCORE of a score file, by its path.

    >>> flattened({"official": {"melanoma": {"auc": 0.5}, "mean_auc": {"value": 0.75}}})
    {('official', 'melanoma', 'auc'): 0.5, ('official', 'mean_auc'): {'value': 0.75}}
    """
    flat: dict[Key, Any] = {}
    for name, entry in scores.items():
        nested = isinstance(entry, Mapping) and "value" not in entry
        flat |= flattened(entry, (*path, name)) if nested else {(*path, name): entry}
    return flat


def strata_of(path: Key, truth: np.ndarray) -> np.ndarray:
    """The strata (n,) of the resamples for a score, or a difference of scores, see `bootstrap`.

    For an AUC the classes: it compares them, whatever their frequency. Otherwise none: among the
    next n patients the frequencies vary, too.
    """
    return truth if _is_area(path) else np.zeros_like(truth)


def _is_area(path: Key) -> bool:
    return path[-1].endswith("auc")


def _nested(values: Mapping[Key, Number], intervals: Mapping[Key, Interval]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in values.items():
        branch = tree
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        numbers = {"value": value} | intervals[path]._asdict()
        # JSON has no nan.
        branch[path[-1]] = {k: None if math.isnan(v) else float(v) for k, v in numbers.items()}
    return tree
