"""Are probabilities calibrated? Reliability, calibration error, Brier score, temperature.

Of the images with a probability of 0.2 for melanoma, one in five should be one. Two scores measure
how far off that is:

- expected calibration error: images in bins of their probability, |mean probability - observed
  share| of each bin, weighted by its images (Naeini et al., AAAI 2015; Guo et al., ICML 2017,
  https://arxiv.org/abs/1706.04599). It is never 0 for a finite number of images: `chance_level` is
  what perfect probabilities would get.
- Brier score: the mean squared distance of the probabilities from the outcomes (Brier, 1950).

Temperature scaling (Guo et al., section 4.2) divides the logits by one number T, which is fitted on
images other than those reported. Averaged probabilities of several views have no logits: their
logarithms stand in, which for one view are the logits up to a constant that a softmax ignores. For
the single logit of melanoma it is log(p / (1 - p)).
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from utils.evaluation.counts import UNDEFINED, ratio, refuse, truth_and_score
from utils.evaluation.intervals import wilson
from utils.evaluation.labels import checked

BINS = 10
EVEN = np.linspace(0, 1, BINS + 1)  # edges of equal width
COLDEST, HOTTEST = 0.05, 20.0  # bounds of the search for T
# Probabilities come from float32: 0 stands for anything below its least positive number, 1 for
# anything within half its last step of 1. Values in between are not changed.
_LEAST = float(np.finfo(np.float32).smallest_subnormal)
GAP = 2.0**-25


def reliability(truth: ArrayLike, probability: ArrayLike, equal_mass: bool = False) -> pd.DataFrame:
    """Observed outcomes in each of `BINS` bins of predicted probabilities, empty ones included.

    truth (n,) of 0/1, probability (n,) in [0, 1]. Columns: low, high (the bin is (low, high], the
    first includes its low end), n, mean_probability, positives, observed (their share),
    observed_low, observed_high (95 % Wilson interval); nan in an empty bin. Bins have equal width
    on [0, 1], or with equal_mass edges at quantiles. ValueError for other shapes or values, and for
    no images.
    """
    truth, probability = _binary(truth, probability)
    edges = np.quantile(probability, EVEN) if equal_mass else EVEN
    place = np.searchsorted(edges[1:-1], probability)
    count = np.bincount(place, minlength=BINS)
    positives = np.bincount(place, weights=truth, minlength=BINS)
    mass = np.bincount(place, weights=probability, minlength=BINS)
    low, high = wilson(positives, count)
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "n": count,
            "mean_probability": ratio(mass, count, UNDEFINED),
            "positives": positives.astype(int),
            "observed": ratio(positives, count, UNDEFINED),
            "observed_low": low,
            "observed_high": high,
        }
    )


def expected_calibration_error(
    truth: ArrayLike, probability: ArrayLike, equal_mass: bool = False
) -> float:
    """Sum over the bins of n_bin / n · |mean probability - observed share|, in [0, 1].

    Arguments and errors as in `reliability`.

    >>> expected_calibration_error([0, 1, 1, 1], [0.5, 0.5, 0.75, 0.75])  # half of |0.75 - 1|
    0.125
    """
    table = reliability(truth, probability, equal_mass)
    apart = (table["mean_probability"] - table["observed"]).abs()
    return float((apart * table["n"]).sum() / table["n"].sum())  # an empty bin adds nothing


def chance_level(probability: np.ndarray) -> float:
    """The expected calibration error that perfect probabilities (n,) would have on these images.

    The mean over 1000 draws of outcomes from the probabilities themselves (Bröcker and Smith, 2007,
    draw bars for single bins that way). A measured error of this size means nothing.
    """
    place = np.searchsorted(EVEN[1:-1], probability)
    outcomes = np.random.default_rng(0).random((1000, len(probability))) < probability
    surplus = (outcomes - probability) @ np.eye(BINS)[place]  # (draws, bins)
    return float(np.abs(surplus).sum(axis=1).mean() / len(probability))


def squared_errors(labels: ArrayLike, probabilities: ArrayLike) -> np.ndarray:
    """Squared distance of each image's probabilities from the truth, (n,); the mean is Brier's.

    labels (n,) of 0/1 with probabilities (n,) of 1: in [0, 1]. labels (n,) in 0..C-1 with
    probabilities (n, C): summed over the classes, as Brier did, so in [0, 2]. ValueError for other
    shapes or values.

    >>> squared_errors([1, 0], [0.5, 0.25]).tolist()
    [0.25, 0.0625]
    """
    if np.ndim(probabilities) == 1:
        truth, probability = _binary(labels, probabilities)
        return (probability - truth) ** 2
    labels, probabilities = checked(labels, probabilities)
    truth = labels[:, None] == np.arange(probabilities.shape[1])
    return ((probabilities - truth) ** 2).sum(axis=1)


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean of -log of the probability given to the truth, >= 0; also called the NLL.

    labels (n,) in 0..C-1, probabilities (n, C), or (n, 1) for class 0 (melanoma) against the rest.
    0 counts as the least positive float32. ValueError for other shapes or values.

    >>> round(log_loss([0, 1], [[0.5], [0.5]]), 4)  # ln 2
    0.6931
    """
    labels, probabilities = checked(labels, probabilities)
    return _loss(labels, logits_of(probabilities))


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """The T with the least log loss on these images; between `COLDEST` and `HOTTEST`.

    Above 1 the network was overconfident, below 1 underconfident. Arguments as in `log_loss`. The
    loss is convex in 1 / T, so there is one minimum; T at a bound means that the images do not
    determine it (all answers right, say).
    """
    labels, probabilities = checked(labels, probabilities)
    logits = logits_of(probabilities)
    minimum = minimize_scalar(
        lambda log_t: _loss(labels, logits / np.exp(log_t)),
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(minimum.x))


def scale(probabilities: ArrayLike, temperature: float) -> np.ndarray:
    """The probabilities (n, C) or (n, 1) at another temperature, > 0.

    The most probable class stays the same; so does the order of the images by a single column,
    while by one of several it may change a little. ValueError for a temperature that is not finite
    and above 0.

    >>> scale([[0.9, 0.1]], temperature=2.0).round(3).tolist()  # 9 to 1 becomes 3 to 1
    [[0.75, 0.25]]
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature is {temperature}; expected a finite number above 0")
    probabilities = np.asarray(probabilities, dtype=float)
    return softmax(logits_of(probabilities) / temperature)[:, : probabilities.shape[1]]


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms (n, C) of probabilities; of one column those of p and of 1 - p, (n, 2)."""
    if probabilities.shape[1] == 1:
        rest = np.maximum(1 - probabilities, GAP)
        return np.log(np.hstack([np.maximum(probabilities, _LEAST), rest]))
    return np.log(np.maximum(probabilities, _LEAST))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, C), of sum 1, of logits (n, C)."""
    return np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


def _loss(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean log loss; of two columns the second is the rest, whatever its label."""
    own = logits[np.arange(len(labels)), np.minimum(labels, logits.shape[1] - 1)]
    return float((np.logaddexp.reduce(logits, axis=1) - own).mean())


def _binary(truth: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    truth, probability = truth_and_score(truth, probability, "probability")
    outside = (probability < 0) | (probability > 1)
    refuse(outside, "probability: outside [0, 1]", "expected probabilities")
    return truth, probability
