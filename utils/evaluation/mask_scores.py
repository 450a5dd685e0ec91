"""How sure the scores of masks are: bootstrap intervals over images, in all three conventions.

They are taken on the logit scale (`resampling.area_interval`): most images have a specificity
near 1 and few a low one, and percentiles of such means are too narrow.

What scores-<split>.json holds of a segmentation run, made by `segmentation_scores`:

    {"n": int, "resamples": int, "seed": int, "level": 0.95,
     "official": {metric: SCORE}, "coursework": {metric: SCORE}, "lesion": {metric: SCORE}}

metric is one of `evaluation.masks.METRICS`, without threshold_jaccard in "lesion", and SCORE is
{"value", "low", "high"}, each a float, or None where undefined. An image is the unit that is drawn,
never a pixel: the pixels of one image are right or wrong together.
"""

import math

import numpy as np
import pandas as pd

from utils.evaluation.counts import Counts, Number
from utils.evaluation.intervals import LEVEL
from utils.evaluation.label_scores import cell
from utils.evaluation.masks import (
    METRICS,
    TABLE_NAMES,
    checked,
    coursework,
    lesion_pooled,
    official,
)
from utils.evaluation.resampling import (
    area_interval,
    bootstrap,
)

CONVENTIONS = {
    "official": "official (mean of images)",
    "coursework": "coursework (pooled, with background)",
    "lesion": "lesion (pooled)",
}
_FUNCTIONS = {"official": official, "coursework": coursework, "lesion": lesion_pooled}


def segmentation_scores(counts: Counts, resamples: int = 2000, seed: int = 0) -> dict:
    """The content of scores-<split>.json, as laid out above, ready for json.dumps.

    counts (n,) each, one entry an image; all scores come from the same resamples. Raises ValueError
    as `evaluation.masks.per_image` and `evaluation.resampling.bootstrap`.
    """
    counts = checked(counts)
    n = len(counts.tp)
    scores: dict = {"n": n, "resamples": resamples, "seed": seed, "level": LEVEL}
    values = _flat(counts)
    columns = bootstrap(
        lambda weights: np.stack(list(_flat(counts, weights).values()), axis=-1),
        np.zeros(n),
        resamples,
        seed,
    ).T
    for (path, value), column in zip(values.items(), columns, strict=True):
        numbers = {"value": value} | area_interval(value, column)._asdict()
        # JSON knows no nan.
        score = {key: None if math.isnan(v) else float(v) for key, v in numbers.items()}
        scores.setdefault(path[0], {})[path[1]] = score
    return scores


def table(scores: dict, digits: int = 3) -> pd.DataFrame:
    """What `segmentation_scores` returned, to look at: cells "value [low, high]".

    Columns are the conventions, rows ACC, SE, SP, JSI, DSC, TJI; a score that a convention does not
    have is "", one undefined "undefined".
    """
    columns = {
        title: [cell(scores[name].get(metric), digits) for metric in METRICS]
        for name, title in CONVENTIONS.items()
    }
    return pd.DataFrame(columns, index=[TABLE_NAMES[metric] for metric in METRICS])


def _flat(counts: Counts, weights: np.ndarray | None = None) -> dict[tuple[str, str], Number]:
    """Every score by (convention, metric)."""
    return {
        (name, metric): value
        for name, function in _FUNCTIONS.items()
        for metric, value in function(counts, weights).items()
    }
