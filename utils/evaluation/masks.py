"""Scores of masks: from counts of pixels, one entry per image, to numbers.

Three conventions that must never be mixed; every score names its own:

- `official`: the ISIC challenge, part 1 (2017: https://arxiv.org/abs/1710.05006; the organisers'
  scorer is https://github.com/ImageMarkup/isic-challenge-scoring). Each image is scored at its
  mask's own size, then the mean over images. The ranking was by the mean Jaccard in 2017, by the
  mean threshold-Jaccard in 2018.
- `coursework`: the pixels of all images pooled, then Jaccard and Dice averaged over background and
  lesion. The background is large and easy: Jaccard is about 0.1 above that of the lesion.
- `lesion_pooled`: the pixels of all images pooled, lesion only.

`Counts` are of pixels, the lesion being positive: tp, fp, fn, tn, (n,) each. They are summed in
float64, exact up to 9e15; 600 images of 30 million pixels are 1.8e10. `weights` as in `counts`.
"""

import numpy as np
from numpy.typing import ArrayLike

from utils.evaluation.counts import (
    UNDEFINED,
    Counts,
    Number,
    accuracy,
    check_shapes,
    image_weights,
    number,
    rates,
    refuse,
)

TABLE_NAMES = {
    "accuracy": "ACC",
    "sensitivity": "SE",
    "specificity": "SP",
    "jaccard": "JSI",
    "dice": "DSC",
    "threshold_jaccard": "TJI",
}
METRICS = tuple(TABLE_NAMES)
THRESHOLD = 0.65  # of the Jaccard: below it an image counts as failed
PERFECT = 1.0  # the official value of a ratio with denominator 0


def jaccard(counts: Counts, empty: float = UNDEFINED) -> Number:
    """tp / (tp + fp + fn), in [0, 1]; `empty` where neither truth nor prediction has a lesion.

    >>> jaccard(Counts(tp=4, fp=1, fn=3, tn=9))
    0.5
    """
    # Accuracy without the true negatives.
    return accuracy(counts._replace(tn=0), empty)


def dice(counts: Counts, empty: float = UNDEFINED) -> Number:
    """2 tp / (2 tp + fp + fn), in [0, 1]; `empty` as in `jaccard`.

    >>> dice(Counts(tp=3, fp=1, fn=1, tn=9))
    0.75
    """
    return accuracy(Counts(2 * counts.tp, counts.fp, counts.fn, 0), empty)


def threshold_jaccard(counts: Counts, empty: float = UNDEFINED) -> Number:
    """The Jaccard where it is at least 0.65, else 0; `empty` as in `jaccard`.

    >>> threshold_jaccard(Counts(tp=13, fp=3, fn=4, tn=0)), threshold_jaccard(Counts(12, 4, 4, 0))
    (0.65, 0.0)
    """
    value = jaccard(counts, empty)
    return value * (value >= THRESHOLD)


def per_image(counts: Counts) -> dict[str, Number]:
    """The official METRICS of each image, (n,) each.

    Jaccard and Dice: without a lesion in the truth 1 if none is predicted, otherwise 0.
    Sensitivity: 1 without a lesion in the truth; specificity: 1 without background there.
    ValueError where counts are not arrays (n,) of finite numbers >= 0, n >= 1, or where an image
    has no pixels.
    """
    counts = checked(counts)
    return rates(counts, PERFECT) | {
        "jaccard": jaccard(counts, PERFECT),
        "dice": dice(counts, PERFECT),
        "threshold_jaccard": threshold_jaccard(counts, PERFECT),
    }


def official(counts: Counts, weights: ArrayLike | None = None) -> dict[str, Number]:
    """The mean over images of each metric in `per_image`, in [0, 1]; never undefined.

    weights (n,) or (R, n). ValueError as there, and for weights that are negative, not finite or 0
    for every image.

    >>> scores = official(Counts(tp=[4, 1], fp=[1, 2], fn=[0, 2], tn=[5, 5]))
    >>> scores["jaccard"], scores["threshold_jaccard"]  # of 4/5 and 1/5
    (0.5, 0.4)
    """
    values = per_image(counts)
    weights = _weights(weights, counts)
    return {metric: _mean(value, weights) for metric, value in values.items()}


def coursework(counts: Counts, weights: ArrayLike | None = None) -> dict[str, Number]:
    """The coursework's METRICS of pooled pixels, in [0, 1]; arguments and errors as in `official`.

    Jaccard and Dice are the mean of background and lesion; accuracy, sensitivity and specificity
    are the lesion's. nan where a denominator is 0.

    The threshold-Jaccard is the mean over images and both classes of the thresholded Jaccard; a
    class that is missing from an image is perfect, as in `per_image`. It is `mTJI` in the
    coursework's code: of pooled pixels it would be the Jaccard itself, or half of the background's
    for a lesion below 0.65, and it prints neither (.6784 beside a Jaccard of .7525, lesion alone
    .638).

    >>> round(coursework(Counts(tp=[4], fp=[1], fn=[0], tn=[5]))["jaccard"], 4)  # of 4/5 and 5/6
    0.8167
    """
    counts = checked(counts)
    weights = _weights(weights, counts)
    lesion = _pooled(counts, weights)
    rest = _background(lesion)
    each = [threshold_jaccard(one, PERFECT) for one in (counts, _background(counts))]
    return rates(lesion) | {
        "jaccard": (jaccard(lesion) + jaccard(rest)) / 2,
        "dice": (dice(lesion) + dice(rest)) / 2,
        "threshold_jaccard": _mean(sum(each) / 2, weights),
    }


def lesion_pooled(counts: Counts, weights: ArrayLike | None = None) -> dict[str, Number]:
    """METRICS of the lesion from pooled pixels, in [0, 1]; arguments and nan as in `coursework`.

    Without threshold_jaccard, which is about single images.

    >>> counts = Counts(tp=[4, 1], fp=[1, 2], fn=[0, 2], tn=[5, 5])
    >>> lesion_pooled(counts)["jaccard"]  # 5 of 10 pixels
    0.5
    """
    counts = checked(counts)
    lesion = _pooled(counts, _weights(weights, counts))
    return rates(lesion) | {"jaccard": jaccard(lesion), "dice": dice(lesion)}


def checked(counts: Counts) -> Counts:
    """Counts of float64 arrays (n,), n >= 1, or ValueError as in `per_image`."""
    counts = Counts(*(np.asarray(cell, dtype=np.float64) for cell in counts))
    check_shapes(**counts._asdict())
    table = np.stack(counts)
    cure = "expected {}. Count the mask again."
    valid = (np.isfinite(table) & (table >= 0)).all(axis=0)
    refuse(~valid, "invalid counts", cure.format("numbers of pixels >= 0"))
    refuse(table.sum(axis=0) == 0, "no pixels", cure.format("at least one pixel per image"))
    return counts


def _background(counts: Counts) -> Counts:
    """The same pixels with the background as positive."""
    return Counts(tp=counts.tn, fp=counts.fn, fn=counts.fp, tn=counts.tp)


def _pooled(counts: Counts, weights: np.ndarray) -> Counts:
    """The pixels of all images pooled: four numbers, or four arrays (R,)."""
    return Counts(*(weights @ cell for cell in counts))


def _mean(values: np.ndarray, weights: np.ndarray) -> Number:
    return number(weights @ values / weights.sum(axis=-1))


def _weights(weights: ArrayLike | None, counts: Counts) -> np.ndarray:
    weights = image_weights(weights, np.shape(counts.tp))
    if not weights.any(axis=-1).all():
        raise ValueError("weights are 0 for every image; expected some above 0")
    return weights
