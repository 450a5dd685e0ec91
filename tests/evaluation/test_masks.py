"""Scores of masks: published rows, then scikit-learn as referee, then identities and edges."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
from sklearn import metrics as referee

from utils.evaluation.counts import Counts, count
from utils.evaluation.masks import (
    METRICS,
    coursework,
    dice,
    jaccard,
    lesion_pooled,
    official,
    per_image,
    threshold_jaccard,
)

CONVENTIONS = [official, coursework, lesion_pooled]

# Three images of 10 pixels: one good, one bad, one without a lesion in which two are predicted.
COUNTS = Counts(tp=[4, 1, 0], fp=[1, 2, 2], fn=[0, 2, 0], tn=[5, 5, 8])


def drawn(n: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Masks (n, 60) and answers that agree in nine of ten pixels, with some of either class."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, 60)) < rng.uniform(0.1, 0.9, (n, 1))
    truth[:, 0], truth[:, 1] = True, False
    return truth, truth ^ (rng.random((n, 60)) < 0.1)


def test_threshold_by_hand():
    # 13 of 20 is exactly 0.65 and stays, as do 26 of 40 and 65 of 100; one pixel less does not.
    at = Counts(tp=np.array([13, 26, 65]), fp=np.array([3, 14, 0]), fn=np.array([4, 0, 35]), tn=1)
    assert threshold_jaccard(at).tolist() == [0.65, 0.65, 0.65]
    below = at._replace(tp=at.tp - 1, fp=at.fp + 1)
    assert threshold_jaccard(below).tolist() == [0, 0, 0]
    # Of large masks the least step is small, and none of it is forgiven.
    assert threshold_jaccard(Counts(649_999_999, 0, 350_000_001, 0)) == 0
    assert threshold_jaccard(Counts(650_000_001, 0, 349_999_999, 0)) == 0.650000001


# --- the coursework's printed rows ---

# ACC, SE, SP, JSI, DSC, TJI of the five segmentation rows, to four digits; then the Jaccard and
# Dice of the pooled lesion alone that follow from them.
PUBLISHED = {
    "UNet": ((0.8924, 0.6872, 0.9705, 0.7525, 0.8539, 0.6784), (0.638, 0.779)),
    "Dense-UNet": ((0.9215, 0.8224, 0.9593, 0.8207, 0.8995, 0.7420), (0.743, 0.853)),
    "Dense-UNet pretrained": ((0.9335, 0.8452, 0.9672, 0.8457, 0.9150, 0.7875), (0.778, 0.875)),
    "Res-UNet": ((0.9222, 0.7765, 0.9778, 0.8174, 0.8972, 0.7447), (0.734, 0.847)),
    "ARL-UNet": ((0.9220, 0.7795, 0.9764, 0.8173, 0.8972, 0.7413), (0.734, 0.847)),
}
HALF_DIGIT = 5e-5


def solved(accuracy: float, sensitivity: float, specificity: float) -> Counts:
    """Counts of one image, 1e12 pixels, that have these three: ACC = pi SE + (1 - pi) SP."""
    share = (specificity - accuracy) / (specificity - sensitivity)
    found, left = share * sensitivity, (1 - share) * specificity
    cells = found, 1 - share - left, share - found, left
    return Counts(*([round(1e12 * cell)] for cell in cells))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_rows_follow_from_their_own_rates(name):
    (*rates, jsi, dsc, tji), lesion_alone = PUBLISHED[name]
    scores, lesion = coursework(solved(*rates)), lesion_pooled(solved(*rates))
    assert [scores[m] for m in METRICS[:3]] == pytest.approx(rates, abs=1e-10)
    # Each printed rate stands for anything within half a digit: what can follow from them?
    corners = [
        coursework(solved(*(np.array(rates) + HALF_DIGIT * np.array(signs))))
        for signs in itertools.product((-1, 1), repeat=3)
    ]
    for metric, printed in (("jaccard", jsi), ("dice", dsc)):
        possible = [corner[metric] for corner in corners]
        assert min(possible) - HALF_DIGIT <= printed <= max(possible) + HALF_DIGIT
        assert max(possible) - min(possible) < 6e-4  # narrow enough to mean something
        assert scores[metric] == pytest.approx(printed, abs=2e-4)
        assert lesion[metric] < printed - 0.03
    assert (lesion["jaccard"], lesion["dice"]) == pytest.approx(lesion_alone, abs=7e-4)
    # The threshold-Jaccard is not one of pooled pixels, which is what this one "image" has.
    assert abs(scores["threshold_jaccard"] - tji) > 0.05


# --- scikit-learn as referee ---


def rates(truth: np.ndarray, answer: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": referee.accuracy_score(truth, answer),
        "sensitivity": referee.recall_score(truth, answer),
        "specificity": referee.recall_score(truth, answer, pos_label=0),
        "jaccard": referee.jaccard_score(truth, answer),
        "dice": referee.f1_score(truth, answer),
    }


@pytest.mark.parametrize("seed", range(5))
def test_every_convention_against_scikit_learn(seed):
    truth, answer = drawn(seed=seed)
    counts, pixels = count(truth, answer), (truth.ravel(), answer.ravel())
    close = partial(pytest.approx, rel=0, abs=1e-12)
    scores = per_image(counts)
    for i, pair in enumerate(zip(truth, answer, strict=True)):
        overlap = referee.jaccard_score(*pair)
        expected = rates(*pair) | {"threshold_jaccard": overlap if overlap >= 0.65 else 0.0}
        assert {m: scores[m][i] for m in METRICS} == close(expected)
    assert official(counts) == close({m: np.mean(values) for m, values in scores.items()})
    assert lesion_pooled(counts) == close(rates(*pixels))
    each = [referee.jaccard_score(*pair, average=None) for pair in zip(truth, answer, strict=True)]
    both = {
        "jaccard": referee.jaccard_score(*pixels, average="macro"),
        "dice": referee.f1_score(*pixels, average="macro"),
        "threshold_jaccard": np.mean([np.where(pair >= 0.65, pair, 0) for pair in each]),
    }
    assert coursework(counts) == close(rates(*pixels) | both)
    assert (tuple(coursework(counts)), tuple(lesion_pooled(counts))) == (METRICS, METRICS[:-1])


# --- identities ---


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_weights_are_multiplicities(convention):
    counts = count(*drawn())
    weights = np.random.default_rng(1).integers(0, 3, (5, 12))
    weighted = convention(counts, weights)
    for row, multiplicities in enumerate(weights):
        copies = np.repeat(np.arange(12), multiplicities)
        expected = convention(Counts(*(cell[copies] for cell in counts)))
        assert {m: v[row] for m, v in weighted.items()} == pytest.approx(expected, abs=1e-12)
        assert convention(counts, multiplicities) == pytest.approx(expected, abs=1e-12)


# --- degenerate cases, types ---


def test_a_score_of_nothing_is_undefined_when_pooled():
    empty = Counts(tp=[0, 0], fp=[0, 0], fn=[0, 0], tn=[9, 9])
    for convention in (coursework, lesion_pooled):
        scores = convention(empty)
        assert math.isnan(scores["sensitivity"])
        assert math.isnan(scores["jaccard"])
        assert math.isnan(scores["dice"])
        assert scores["accuracy"] == scores["specificity"] == 1
    assert coursework(empty)["threshold_jaccard"] == 1
    assert set(official(empty).values()) == {1.0}


def test_empty_is_undefined_unless_said():
    nothing = Counts(0, 0, 0, 5)
    for metric in (jaccard, dice, threshold_jaccard):
        assert math.isnan(metric(nothing))
        assert metric(nothing, empty=1.0) == 1.0


def test_the_whole_test_split_at_its_largest_is_exact():
    # 600 images of 30 million pixels: more than 32 bits hold, and every pixel counts.
    n, size = 600, 30_000_000
    counts = Counts(*(np.full(n, cell) for cell in (size // 3, 1, 0, size - size // 3 - 1)))
    assert lesion_pooled(counts)["jaccard"] == (n * 10**7) / (n * (10**7 + 1))
    counts.fp[0] = 0
    assert lesion_pooled(counts)["jaccard"] == (n * 10**7) / (n * (10**7 + 1) - 1)
    # Plain integers, as `count` gives them, do as well.
    assert lesion_pooled(Counts([10**15], [1], [0], [0]))["jaccard"] == 10**15 / (10**15 + 1)


# --- what is refused ---


@pytest.mark.parametrize("function", [per_image, *CONVENTIONS])
@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (Counts(1, 0, 0, 1), r"the shapes are tp \(\), .*; expected \(n,\) each"),
        (Counts([], [], [], []), "one entry per image"),
        (Counts([1, 1], [0], [0], [1]), r"tp \(2,\), fp \(1,\), fn \(1,\), tn \(1,\)"),
        (Counts([1, -1], [0, 0], [0, 0], [1, 1]), r"invalid counts in 1 of 2 images \(first: 1\)"),
        (Counts([math.nan], [0], [0], [1]), "expected numbers of pixels >= 0"),
        (Counts([0] * 9, [0] * 9, [0] * 9, [0] * 9), r"no pixels in 9 .*: 0, 1, 2, 3, 4\)"),
    ],
)
def test_counts_that_are_refused(function, counts, message):
    with pytest.raises(ValueError, match=message):
        function(counts)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1], r"weights have shape \(2,\) for images \(3,\); expected \(n,\) or \(R, n\)"),
        ([1, -1, 1], "weights hold negative, nan or infinite values"),
        ([[1, 1, 1], [0, 0, 0]], "0 for every image"),
    ],
)
def test_weights_that_are_refused(convention, weights, message):
    with pytest.raises(ValueError, match=message):
        convention(COUNTS, weights)
