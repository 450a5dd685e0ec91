"""Every score in every convention, with its interval: what the score file of a run holds.

The intervals are about other images of the same kind; an image is the unit that is drawn. AUCs, and
all scores of masks, get a bootstrap on the logit scale (`resampling`): near 1 percentiles are too
low, and too narrow where most images score near 1 and few low. Pixels are never drawn: those of one
image are right or wrong together. Accuracy, sensitivity and specificity of labels are shares of
images, and get Wilson's interval: near 0 and 1 a bootstrap is too narrow for them, and at 0 and 1
it has no width at all.

The scores of a classifier:

    {"n": int, "counts": {class: int}, "resamples": int, "seed": int, "level": 0.95,
     "official": {"melanoma": METRICS, "seborrheic_keratosis": METRICS, "mean_auc": SCORE},
     "coursework": {"melanoma": METRICS, "seborrheic_keratosis": METRICS, "benign": METRICS,
                    "accuracy": SCORE}}

METRICS is {"auc", "accuracy", "sensitivity", "specificity"}, each a SCORE, and SCORE is
{"value", "low", "high"}, each a float, or None where undefined. For the network that knows
melanoma alone both conventions hold "melanoma" and nothing else. Those of a segmenter:

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
    """The scores of a classifier as laid out above, ready for json.dumps.

    truth (n,) in 0..2, probabilities (n, 3), or (n, 1) for melanoma alone; ValueError otherwise.
    """
    truth, probabilities = labels.checked(truth, probabilities)
    values = flat_scores(truth, probabilities)
    intervals = _area_intervals(truth, probabilities, resamples, seed)
    intervals |= _share_intervals(truth, values)
    counts = np.bincount(truth, minlength=len(CLASSES)).tolist()
    about = {"n": len(truth), "counts": dict(zip(CLASSES, counts, strict=True))}
    about |= {"resamples": resamples, "seed": seed, "level": LEVEL}
    return about | _nested(values, intervals)


def segmentation_scores(counts: Counts, resamples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """The scores of a segmenter as laid out above, ready for json.dumps.

    counts (n,) each, one entry an image; all scores come from the same resamples. Raises ValueError
    as `masks.per_image` and `resampling.bootstrap`.
    """
    counts = masks.checked(counts)
    n = len(counts.tp)

    def flat(weights: np.ndarray | None = None) -> dict[Key, Number]:
        return {
            (convention, metric): value
            for convention, scores in MASKS.items()
            for metric, value in scores(counts, weights).items()
        }

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
    """Every score of a classifier by its path; truth and probabilities as `labels.checked` gives.

    weights (n,) give numbers, (r, n) arrays (r,), as in `evaluation.labels`.
    """
    flat: dict[Key, Number] = {}
    for convention in conventions:
        for name, entry in LABELS[convention](truth, probabilities, weights).items():
            if isinstance(entry, dict):
                flat |= {(convention, name, metric): value for metric, value in entry.items()}
            else:
                flat[convention, name] = entry
    return flat


def strata_of(path: Key, truth: np.ndarray) -> np.ndarray:
    """What the resamples behind a score, or a difference of scores, keep: (n,), see `bootstrap`.

    Behind an AUC the number of images per class: it compares classes, and says nothing on how
    frequent they are. The rest takes what comes, as the next n patients would.
    """
    return truth if _is_area(path) else np.zeros_like(truth)


def _is_area(path: Key) -> bool:
    return path[-1].endswith("auc")


def _area_intervals(
    truth: np.ndarray, probabilities: np.ndarray, resamples: int, seed: int
) -> dict[Key, Interval]:
    """Of every AUC, all from the same resamples."""
    own = {p: value for p, value in flat_scores(truth, probabilities).items() if _is_area(p)}
    paths = list(own)

    def statistic(weights: np.ndarray) -> np.ndarray:
        resampled = flat_scores(truth, probabilities, weights)
        return np.stack([resampled[path] for path in paths], axis=-1)

    columns = bootstrap(statistic, strata_of(paths[0], truth), resamples, seed).T
    intervals: dict[Key, Interval] = {}
    for path, column in zip(paths, columns, strict=True):  # a mean stands after its parts
        if path[-1] == "mean_auc":
            parts = [other for other in intervals if other[0] == path[0]]
            each = [own[other] for other in parts], [intervals[other] for other in parts]
            intervals[path] = mean_area_interval(own[path], column, *each)
        else:
            positives = int((truth == CLASSES.index(path[1])).sum())
            intervals[path] = auc_interval(own[path], column, positives, len(truth) - positives)
    return intervals


def _share_intervals(truth: np.ndarray, values: Mapping[Key, Number]) -> dict[Key, Interval]:
    """Of every score that is a share of images: of all, of a class, or of the rest."""
    intervals = {}
    for path, value in values.items():
        if _is_area(path):
            continue
        *_, name, metric = path  # ("coursework", "accuracy") is about all images as well
        n = len(truth)
        if metric != "accuracy":
            positives = int((truth == CLASSES.index(name)).sum())
            n = positives if metric == "sensitivity" else n - positives
        intervals[path] = wilson(round(value * n) if n else 0, n)
    return intervals


def _nested(values: Mapping[Key, Number], intervals: Mapping[Key, Interval]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in values.items():
        branch = tree
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        numbers = {"value": value} | intervals[path]._asdict()
        # JSON knows no nan.
        branch[path[-1]] = {k: None if math.isnan(v) else float(v) for k, v in numbers.items()}
    return tree
