"""Do probabilities mean what they say? Reliability, calibration error, Brier score, temperature.

Of the images that are given 0.2 for melanoma, one in five should be one. Two scores say how far
that is from true:

- expected calibration error: images in bins of their probability, |mean probability - observed
  share| of each bin, weighted by its images (Naeini et al., AAAI 2015; Guo et al., ICML 2017,
  https://arxiv.org/abs/1706.04599). Bins of equal width by default, or of equal mass. It is never 0
  for a finite number of images: `chance_level` says what perfect probabilities would get.
- Brier score: the mean squared distance of the probabilities from what came true (Brier, 1950).

Temperature scaling (Guo et al., section 4.2) divides the logits by one number T, which is fitted on
other images than those that are judged. Where the probabilities of several views were averaged
there are no logits any more: their logarithms stand in, which for one view are the logits up to a
constant that a softmax does not see. For the single logit of melanoma it is log(p / (1 - p)).
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from utils.evaluation.intervals import wilson
from utils.evaluation.labels import checked

BINS = 10
STRATEGIES = ("width", "mass")
COLDEST, HOTTEST = 0.05, 20.0  # where the search for T ends
# Probabilities come from float32: 0 stands for less than its least number, 1 for what is closer
# to 1 than the half of its last step. Nothing in between is moved.
_LEAST = float(np.finfo(np.float32).smallest_subnormal)
_GAP = 2.0**-25


def reliability(
    truth: ArrayLike, probability: ArrayLike, bins: int = BINS, strategy: str = "width"
) -> pd.DataFrame:
    """What came true in each bin of predicted probabilities; a row a bin, empty ones included.

    truth (n,) of 0/1, probability (n,) in [0, 1]. Columns: low, high (the bin is (low, high], the
    first one holds its low end, too), n, mean_probability, positives, observed (their share),
    observed_low, observed_high (95 % Wilson interval); nan in an empty bin. strategy "width": bins
    of equal width on [0, 1]; "mass": edges at quantiles, so that each holds about as many images.
    ValueError for other strategies, shapes or values, and for no images.
    """
    truth, probability = _binary(truth, probability)
    edges = _edges(probability, bins, strategy)
    place = np.searchsorted(edges[1:-1], probability)
    count = np.bincount(place, minlength=bins)
    positives = np.bincount(place, weights=truth, minlength=bins)
    mass = np.bincount(place, weights=probability, minlength=bins)
    low, high = wilson(positives, count)
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "n": count,
            "mean_probability": _shares(mass, count),
            "positives": positives.astype(int),
            "observed": _shares(positives, count),
            "observed_low": low,
            "observed_high": high,
        }
    )


def expected_calibration_error(
    truth: ArrayLike, probability: ArrayLike, bins: int = BINS, strategy: str = "width"
) -> float:
    """Sum over the bins of n_bin / n · |mean probability - observed share|, in [0, 1].

    Arguments and errors as `reliability`.

    >>> expected_calibration_error([0, 1, 1, 1], [0.5, 0.5, 0.75, 0.75])  # half of |0.75 - 1|
    0.125
    """
    table = reliability(truth, probability, bins, strategy)
    apart = (table["mean_probability"] - table["observed"]).abs()
    return float((apart * table["n"]).sum() / table["n"].sum())  # an empty bin counts nothing


def chance_level(
    probability: ArrayLike, bins: int = BINS, strategy: str = "width", draws: int = 1000
) -> float:
    """The expected calibration error that perfect probabilities would have on so many images.

    The mean over draws of outcomes from the probabilities (n,) themselves (Bröcker and Smith, 2007,
    draw bars for single bins that way). A measured error of this size is no sign of anything.
    """
    probability = _binary(np.zeros(len(np.atleast_1d(probability))), probability)[1]
    place = np.searchsorted(_edges(probability, bins, strategy)[1:-1], probability)
    outcomes = np.random.default_rng(0).random((draws, len(probability))) < probability
    surplus = (outcomes - probability) @ np.eye(bins)[place]  # (draws, bins)
    return float(np.abs(surplus).sum(axis=1).mean() / len(probability))


def squared_errors(labels: ArrayLike, probabilities: ArrayLike) -> np.ndarray:
    """Squared distance of each image's probabilities from the truth, (n,); the mean is Brier's.

    labels (n,) of 0/1 with probabilities (n,) of the 1: in [0, 1]. labels (n,) in 0..2 with
    probabilities (n, 3): the squares are summed over the classes, as Brier did, so it is in [0, 2].
    ValueError for other shapes or values.

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
    """Mean of -log of the probability that the truth was given, >= 0; also: the NLL.

    labels (n,) in 0..2, probabilities (n, 3), or (n, 1) for melanoma against the rest. 0 counts as
    the least probability of float32. ValueError for other shapes or values.

    >>> round(log_loss([0, 1], [[0.5], [0.5]]), 4)  # ln 2
    0.6931
    """
    labels, probabilities = checked(labels, probabilities)
    return float(_losses(_targets(labels, probabilities), _logits(probabilities)).mean())


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """The T that gives the least log loss on these images; between `COLDEST` and `HOTTEST`.

    Above 1 the network was overconfident, below 1 underconfident. Labels and probabilities as in
    `log_loss`. The loss is convex in 1 / T, so there is one minimum; T at an end of the range
    means that the images do not determine it (all answers right, say).
    """
    labels, probabilities = checked(labels, probabilities)
    targets, logits = _targets(labels, probabilities), _logits(probabilities)
    found = minimize_scalar(
        lambda log_t: _losses(targets, logits / np.exp(log_t)).mean(),
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def scale(probabilities: ArrayLike, temperature: float) -> np.ndarray:
    """The probabilities (n, 3) or (n, 1) at another temperature, > 0.

    The most probable class stays the same, and so does the order of the images where there is one
    column; with three columns the order of the images by one of them may change a little.
    ValueError for a temperature that is not above 0 and finite.

    >>> scale([[0.9, 0.1]], temperature=2.0).round(3).tolist()  # 9 to 1 becomes 3 to 1
    [[0.75, 0.25]]
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature is {temperature}; expected a finite number above 0")
    probabilities = np.asarray(probabilities, dtype=float)
    logits = _logits(probabilities) / temperature
    scaled = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    return scaled[:, : probabilities.shape[1]]


def _logits(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms (n, C); of one column those of p and of 1 - p, (n, 2)."""
    if probabilities.shape[1] == 1:
        rest = np.maximum(1 - probabilities, _GAP)
        return np.log(np.hstack([np.maximum(probabilities, _LEAST), rest]))
    return np.log(np.maximum(probabilities, _LEAST))


def _targets(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Which column of `_logits` is the truth: (n,)."""
    return (labels != 0).astype(int) if probabilities.shape[1] == 1 else labels


def _losses(targets: np.ndarray, logits: np.ndarray) -> np.ndarray:
    own = logits[np.arange(len(targets)), targets]
    return np.logaddexp.reduce(logits, axis=1) - own


def _edges(probability: np.ndarray, bins: int, strategy: str) -> np.ndarray:
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy is {strategy!r}; expected one of {', '.join(STRATEGIES)}")
    if bins < 1:
        raise ValueError(f"bins is {bins}; expected at least 1")
    even = np.linspace(0, 1, bins + 1)
    return even if strategy == "width" else np.quantile(probability, even)


def _binary(truth: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    truth, probability = np.asarray(truth, dtype=float), np.asarray(probability, dtype=float)
    if truth.ndim != 1 or truth.shape != probability.shape or len(truth) == 0:
        raise ValueError(
            f"truth has shape {truth.shape} and probability {probability.shape}; expected (n,) "
            "both, n >= 1"
        )
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("truth holds other values than 0 and 1; hold a class against the rest")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probability holds values outside [0, 1]; expected probabilities")
    return truth, probability


def _shares(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
