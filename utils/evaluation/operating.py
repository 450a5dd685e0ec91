"""Thresholds: chosen on some images, judged on others; and the net benefit of decisions.

A threshold turns a probability into a decision. It is chosen on other images than the reported
ones, to which it is applied: chosen and judged on the same images it would flatter. Values read
off the reported ROC (`read_off`) only summarise the curve, as its area does.

Positive means score > threshold, strictly, as in the challenge; only the decision curve uses "at
least", as in its paper.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from utils.evaluation.counts import (
    UNDEFINED,
    Counts,
    counts_above,
    ratio,
    sensitivity,
    specificity,
    truth_and_score,
)
from utils.evaluation.curves import cumulated
from utils.evaluation.intervals import wilson
from utils.evaluation.resampling import bootstrap, percentile_interval

LEAST_SENSITIVITY = 0.9
FIXED = (0.8, 0.9, 0.95)  # sensitivities and specificities at which the ROC is read
PREFERENCES = np.arange(1, 61) / 100  # threshold probabilities of the decision curve
_ROUNDING = 1e-12  # 9 of 10 positives are a sensitivity of 0.9 despite rounding


def youden_threshold(truth: ArrayLike, score: ArrayLike) -> float:
    """The threshold with the largest sensitivity + specificity - 1 (Youden, Cancer 1950).

    truth (n,) of 0/1, score (n,). It is half-way between two scores; ties go to the lowest, which
    finds more positives. ValueError where a class is missing.

    >>> youden_threshold([0, 1, 0, 1], [0.25, 0.5, 0.75, 1.0])  # the lower of two equally good
    0.375
    """
    thresholds, sensitivities, specificities = _choices(truth, score)
    index = sensitivities + specificities
    return float(thresholds[np.flatnonzero(index >= index.max() - _ROUNDING)[-1]])


def sensitive_threshold(
    truth: ArrayLike, score: ArrayLike, least: float = LEAST_SENSITIVITY
) -> float:
    """The highest threshold whose sensitivity is at least `least`: the fewest false alarms.

    Otherwise as `youden_threshold`; least in [0, 1].

    >>> sensitive_threshold([0, 1, 1], [0.25, 0.5, 1.0], least=0.5)
    0.75
    """
    thresholds, sensitivities, _ = _choices(truth, score)
    return float(thresholds[np.flatnonzero(sensitivities >= least - _ROUNDING)[0]])


RULES: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "Youden's index": youden_threshold,
    f"sensitivity at least {LEAST_SENSITIVITY}": sensitive_threshold,
    "0.5, as the challenge": lambda truth, score: 0.5,  # noqa: ARG005
}


def judged(truth: ArrayLike, score: ArrayLike, threshold: float) -> dict[str, float]:
    """Counts at a threshold, and four rates with their 95 % Wilson intervals.

    truth (n,) of 0/1, score (n,). Keys n, tp, fp, fn, tn, then sensitivity, specificity, ppv, npv,
    each followed by <rate>_low and <rate>_high; nan where undefined. ppv and npv, the shares of
    positive and of negative answers that are right, depend on the prevalence.

    >>> result = judged([1, 1, 0, 0], [0.9, 0.2, 0.6, 0.1], threshold=0.5)
    >>> result["sensitivity"], result["ppv"]
    (0.5, 0.5)
    """
    counts = counts_above(truth, score, threshold)
    tp, fp, fn, tn = counts
    result = {"n": sum(counts), **counts._asdict()}
    for rate, right, of in (
        ("sensitivity", tp, tp + fn),
        ("specificity", tn, tn + fp),
        ("ppv", tp, tp + fp),
        ("npv", tn, tn + fn),
    ):
        result[rate] = ratio(right, of, UNDEFINED)
        result[f"{rate}_low"], result[f"{rate}_high"] = wilson(right, of)
    return result


def roc_table(truth: ArrayLike, score: ArrayLike) -> pd.DataFrame:
    """The points of the ROC: false_positive_rate and sensitivity, from (0, 0) to (1, 1)."""
    truth, score = _both_classes(truth, score)
    tp, fp = cumulated(truth, score)
    rates = {"false_positive_rate": fp / fp[-1], "sensitivity": tp / tp[-1]}
    return pd.DataFrame({name: np.append(0.0, rate) for name, rate in rates.items()})


def read_off(
    truth: ArrayLike, score: ArrayLike, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Sensitivity at fixed specificities and the reverse, read off the ROC of these images.

    The best of any threshold while the other rate is at least the fixed one. Columns rate, at
    ("specificity 0.9"), value, low, high (bootstrap over images, stratified by class; Wilson's
    where that has no width). truth (n,) of 0/1, score (n,); ValueError where a class is missing.
    """
    truth, score = _both_classes(truth, score)

    def values(weights: np.ndarray) -> np.ndarray:
        tp, fp = cumulated(truth, score, weights)
        both = tp / tp[:, -1:], 1 - fp / fp[:, -1:]
        best = [_best(*rates, fixed) for rates in (both, both[::-1]) for fixed in FIXED]
        return np.stack(best, axis=-1)

    own = values(np.ones((1, len(truth))))[0]
    sides = (("sensitivity", "specificity"), ("specificity", "sensitivity"))
    lines = [(rate, f"{other} {fixed}") for rate, other in sides for fixed in FIXED]
    table = pd.DataFrame(lines, columns=["rate", "at"]).assign(value=own)
    ends = [percentile_interval(one) for one in bootstrap(values, truth, resamples, seed).T]
    images = np.repeat([truth.sum(), (~truth).sum()], len(FIXED))
    by_formula = np.transpose(wilson(np.round(own * images), images))
    flat = [[low == high] for low, high in ends]  # from few images, not from certainty
    table[["low", "high"]] = np.where(flat, by_formula, ends)
    return table


def decision_curve(
    truth: ArrayLike, probability: ArrayLike, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Net benefit of acting on the model, on everyone and on no one (Vickers and Elkin, 2006).

    Someone willing to remove (1 - t) / t harmless lesions per melanoma acts at probabilities of at
    least t: net benefit = TP / n - FP / n · t / (1 - t). Columns threshold (t, `PREFERENCES`),
    model, low, high (bootstrap over images, pointwise), treat_all, treat_none. truth (n,) of 0/1,
    probability (n,) in [0, 1], calibrated, since t is a probability.
    """
    truth, probability = np.asarray(truth, dtype=float), np.asarray(probability, dtype=float)
    harm = PREFERENCES / (1 - PREFERENCES)
    worth = truth[:, None] - (1 - truth)[:, None] * harm  # (n, t) of acting on an image
    gained = worth * (probability[:, None] >= PREFERENCES)
    resampled = bootstrap(lambda w: w @ gained / len(truth), np.zeros(len(truth)), resamples, seed)
    intervals = np.array([percentile_interval(column) for column in resampled.T])
    return pd.DataFrame(
        {
            "threshold": PREFERENCES,
            "model": gained.mean(axis=0),
            "low": intervals[:, 0],
            "high": intervals[:, 1],
            "treat_all": worth.mean(axis=0),
            "treat_none": 0.0,
        }
    )


def _choices(truth: ArrayLike, score: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Falling thresholds, one below each distinct score, with sensitivity and specificity."""
    truth, score = _both_classes(truth, score)
    levels = np.unique(score)[::-1]
    # Below the least score: half-way to 0, as for probabilities, or below any score.
    below = np.append(levels[1:], 0.0 if levels[-1] > 0 else levels[-1] - 1)
    middle = (levels + below) / 2
    tp, fp = cumulated(truth, score)
    thresholds = np.where(middle < levels, middle, below)  # no float may be in between
    counts = Counts(tp, fp, tp[-1] - tp, fp[-1] - fp)
    return thresholds, sensitivity(counts), specificity(counts)


def _best(rate: np.ndarray, other: np.ndarray, least: float) -> np.ndarray:
    """The largest rate (R, s) where the other is at least `least`; 0 where it never is."""
    return np.where(other >= least - _ROUNDING, rate, 0.0).max(axis=1)


def _both_classes(truth: ArrayLike, score: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    truth, score = truth_and_score(truth, score)
    if truth.all() or not truth.any():
        raise ValueError(
            f"{int(truth.sum())} positives among {len(truth)} images; expected both classes, "
            "positives and negatives: evaluate more images"
        )
    return truth, score
