"""Every score in every convention, with its interval: the content of a run's score file.

The intervals are about other images of the same kind, so images are resampled, never pixels: those
of one image are not independent. AUCs, and all scores of masks, get a bootstrap on the logit scale
(`resampling`). Accuracy, sensitivity and specificity of labels are shares of images and get
Wilson's interval: near 0 and 1 a bootstrap is too narrow, and at 0 and 1 it has no width. The
interval of the balanced accuracy, a mean of sensitivities, follows from theirs (MOVER).

The scores of a classifier:

    {"n": int, "counts": {class: int}, "resamples": int, "seed": int, "level": 0.95,
     "official": {"melanoma": METRICS, "seborrheic_keratosis": METRICS, "mean_auc": SCORE},
     "coursework": {"melanoma": METRICS, "seborrheic_keratosis": METRICS, "benign": METRICS,
                    "accuracy": SCORE}}

METRICS is {"auc", "accuracy", "sensitivity", "specificity"}, each a SCORE, and SCORE is
{"value", "low", "high"}, each a float, or None where undefined. For a network with melanoma alone
both conventions have only "melanoma". Where the classes are not ISIC 2017's, both are replaced by

     "one_vs_rest": {class: METRICS of each, "accuracy": SCORE, "mean_auc": SCORE,
                     "balanced_accuracy": SCORE}

Those of a segmenter:

    {"n": int, "resamples": int, "seed": int, "level": 0.95,
     "official": {metric: SCORE}, "coursework": {metric: SCORE}, "lesion": {metric: SCORE}}

metric is one of `masks.METRICS`, without threshold_jaccard in "lesion".
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from utils.data.names import CLASSES
from utils.evaluation import labels, masks
from utils.evaluation.counts import Counts, Number
from utils.evaluation.intervals import LEVEL, Interval, mean_of_shares, wilson
from utils.evaluation.resampling import area_interval, auc_interval, bootstrap, mean_area_interval

LABELS: dict[str, Callable[..., labels.Scores]] = {  # of ISIC 2017's classes
    "official": labels.official,
    "coursework": labels.coursework,
}
MASKS = {
    "official": masks.official,
    "coursework": masks.coursework,
    "lesion": masks.lesion_pooled,
}

MEANS = {"mean_auc": "auc", "balanced_accuracy": "sensitivity"}  # over classes, and of what

Key = tuple[str, ...]  # ("official", "melanoma", "auc")


def of_labels(classes: Sequence[str]) -> dict[str, Callable[..., labels.Scores]]:
    """The conventions of a set's classes: functions of truth, probabilities and weights."""
    main = labels.scheme(classes).main
    return LABELS if main in LABELS else {main: partial(labels.one_vs_rest, classes=classes)}


def classification_scores(
    truth: ArrayLike,
    probabilities: ArrayLike,
    resamples: int = 2000,
    seed: int = 0,
    classes: Sequence[str] = CLASSES,
) -> dict[str, Any]:
    """The scores of a classifier as described above, ready for json.dumps.

    classes are those of the set, truth (n,) in 0..C-1, probabilities (n, C), or (n, 1) for class 0
    (melanoma) alone; ValueError otherwise.
    """
    truth, probabilities = labels.checked(truth, probabilities, len(classes))
    functions = of_labels(classes)
    values = flat_scores(truth, probabilities, None, functions)
    areas = [path for path in values if path[-1] in ("auc", "mean_auc")]

    def statistic(weights: np.ndarray) -> np.ndarray:
        resampled = flat_scores(truth, probabilities, weights, functions)
        return np.stack([resampled[path] for path in areas], axis=-1)

    columns = dict(zip(areas, bootstrap(statistic, truth, resamples, seed).T, strict=True))
    numbers = np.bincount(truth, minlength=len(classes)).tolist()
    counts, n = dict(zip(classes, numbers, strict=True)), len(truth)
    intervals: dict[Key, Interval] = {}
    for path, value in values.items():
        positives = counts.get(path[-2], 0)
        if path[-1] in MEANS:  # they follow their parts
            parts = [one for one in values if one[0] == path[0] and one[2:] == (MEANS[path[-1]],)]
            each = [values[part] for part in parts], [intervals[part] for part in parts]
            of_areas = path in columns
            intervals[path] = (
                mean_area_interval(value, columns[path], *each)
                if of_areas
                else mean_of_shares(*each)
            )
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
    functions: Mapping[str, Callable[..., labels.Scores]] = LABELS,
) -> dict[Key, Number]:
    """Every score of a classifier by its path; truth and probabilities from `labels.checked`.

    functions as `of_labels` gives them. weights (n,) give numbers, (r, n) arrays (r,).
    """
    given = (truth, probabilities, weights)
    return flattened({name: function(*given) for name, function in functions.items()})


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

    For an AUC and a mean over classes these: they compare classes, whatever their frequency.
    Otherwise none: among the next n patients the frequencies vary, too.
    """
    return truth if path[-1] in ("auc", *MEANS) else np.zeros_like(truth)


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
