"""How sure a score is: intervals over images, for what other images of the same kind would give.

AUCs: bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993), as many images of
each class in each resample; its standard error is taken to the logit scale, because percentiles are
too low near 1 (`area_interval`), and at 0 and 1 themselves, where no resample differs, the formula
of Hanley and McNeil stands in. Accuracy, sensitivity and specificity are shares of images, and get
Wilson's interval: a bootstrap is too narrow for them near 0 and 1, and without any width at 0 and 1
themselves.
A resample is a row of multiplicities, how often each image was drawn, and scores take those as
weights: no image is copied, and thousands of resamples are scored in one call.

What scores-<split>.json holds, made by `classification_scores`:

    {"n": int, "counts": {class: int}, "resamples": int, "seed": int, "level": 0.95,
     "official": {"melanoma": METRICS, "seborrheic_keratosis": METRICS, "mean_auc": SCORE},
     "coursework": {"melanoma": METRICS, "seborrheic_keratosis": METRICS, "benign": METRICS,
                    "accuracy": SCORE}}

METRICS is {"auc", "accuracy", "sensitivity", "specificity"}, each a SCORE, and SCORE is
{"value", "low", "high"}, each a float, or None where undefined. For the network that knows
melanoma alone both conventions hold "melanoma" and nothing else.
"""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from utils.data.splits import CLASSES
from utils.evaluation.counts import Number
from utils.evaluation.intervals import LEVEL, Interval, wilson
from utils.evaluation.labels import Scores, checked, coursework, official
from utils.evaluation.resampling import auc_interval, bootstrap, mean_area_interval

METRICS = {"auc": "AUC", "accuracy": "ACC", "sensitivity": "SE", "specificity": "SP"}
CONVENTIONS = {"official": "official (score > 0.5)", "coursework": "coursework (argmax)"}
_FUNCTIONS = {"official": official, "coursework": coursework}

Key = tuple[str, ...]  # ("official", "melanoma", "auc")


def classification_scores(
    labels: ArrayLike, probabilities: ArrayLike, resamples: int = 2000, seed: int = 0
) -> dict:
    """The content of scores-<split>.json, as laid out above, ready for json.dumps.

    labels (n,) in 0..2, probabilities (n, 3), or (n, 1) for melanoma alone; ValueError otherwise.
    """
    labels, probabilities = checked(labels, probabilities)
    values = flat_scores(labels, probabilities)
    intervals = _area_intervals(labels, probabilities, resamples, seed)
    intervals |= _share_intervals(labels, values)
    counts = np.bincount(labels, minlength=len(CLASSES)).tolist()
    scores = {
        "n": len(labels),
        "counts": dict(zip(CLASSES, counts, strict=True)),
        "resamples": resamples,
        "seed": seed,
        "level": LEVEL,
    }
    return scores | _nested(values, intervals)


def flat_scores(
    labels: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray | None = None,
    conventions: Iterable[str] = tuple(CONVENTIONS),
) -> dict[Key, Number]:
    """Every score of the conventions by its path; labels and probabilities as `checked` gives.

    weights (n,) give numbers, (r, n) arrays (r,), as in `evaluation.labels`.
    """
    flat = {}
    for convention in conventions:
        entries: Scores = _FUNCTIONS[convention](labels, probabilities, weights)
        for name, entry in entries.items():
            if isinstance(entry, dict):
                flat |= {(convention, name, metric): value for metric, value in entry.items()}
            else:
                flat[convention, name] = entry
    return flat


def strata_of(path: Key, labels: np.ndarray) -> np.ndarray:
    """What the resamples behind a score, or a difference of scores, keep: (n,), see `bootstrap`.

    Behind an AUC the number of images per class: it compares classes, and says nothing on how
    frequent they are. The rest takes what comes, as the next n patients would.
    """
    return labels if _is_area(path) else np.zeros_like(labels)


def table(scores: dict, digits: int = 3) -> pd.DataFrame:
    """What `classification_scores` returned, to look at: cells "value [low, high]".

    Rows are (convention, class), columns AUC, ACC, SE, SP. "mean" and "all classes" hold the one
    score that is not a class's; a score that a row does not have is "", one undefined "undefined".
    """
    rows = {}
    for convention, title in CONVENTIONS.items():
        for name, entry in scores[convention].items():
            if name in CLASSES:
                rows[title, name.replace("_", " ")] = entry
            elif name == "mean_auc":
                rows[title, "mean"] = {"auc": entry}
            else:
                rows[title, "all classes"] = {"accuracy": entry}
    cells = [[cell(row.get(metric), digits) for metric in METRICS] for row in rows.values()]
    index = pd.MultiIndex.from_tuples(rows, names=["convention", "class"])
    return pd.DataFrame(cells, index=index, columns=list(METRICS.values()))


def _is_area(path: Key) -> bool:
    return path[-1].endswith("auc")


def _area_intervals(
    labels: np.ndarray, probabilities: np.ndarray, resamples: int, seed: int
) -> dict[Key, Interval]:
    """Of every AUC, all from the same resamples."""
    own = {p: value for p, value in flat_scores(labels, probabilities).items() if _is_area(p)}
    paths = list(own)

    def statistic(weights: np.ndarray) -> np.ndarray:
        resampled = flat_scores(labels, probabilities, weights)
        return np.stack([resampled[path] for path in paths], axis=-1)

    columns = bootstrap(statistic, strata_of(paths[0], labels), resamples, seed).T
    found: dict[Key, Interval] = {}
    for path, column in zip(paths, columns, strict=True):  # a mean stands after its parts
        if path[-1] == "mean_auc":
            parts = [other for other in found if other[0] == path[0]]
            each = [own[other] for other in parts], [found[other] for other in parts]
            found[path] = mean_area_interval(own[path], column, *each)
        else:
            positives = int((labels == CLASSES.index(path[1])).sum())
            found[path] = auc_interval(own[path], column, positives, len(labels) - positives)
    return found


def _share_intervals(labels: np.ndarray, values: dict[Key, float]) -> dict[Key, Interval]:
    """Of every score that is a share of images: of all, of a class, or of the rest."""
    intervals = {}
    for path, value in values.items():
        if _is_area(path):
            continue
        *_, name, metric = path  # ("coursework", "accuracy") is about all images as well
        n = len(labels)
        if metric != "accuracy":
            positives = int((labels == CLASSES.index(name)).sum())
            n = positives if metric == "sensitivity" else n - positives
        intervals[path] = wilson(round(value * n) if n else 0, n)
    return intervals


def _nested(values: dict[Key, float], intervals: dict[Key, Interval]) -> dict:
    tree: dict = {}
    for path, value in values.items():
        branch = tree
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        numbers = {"value": value} | intervals[path]._asdict()
        # JSON knows no nan.
        branch[path[-1]] = {k: None if math.isnan(v) else float(v) for k, v in numbers.items()}
    return tree


def cell(score: dict[str, float | None] | None, digits: int) -> str:
    """A SCORE as "value [low, high]"; "" for none, "undefined" for one without a value."""
    if score is None:
        return ""
    if score["value"] is None:
        return "undefined"
    value, low, high = (f"{score[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
