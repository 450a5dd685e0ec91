"""Intervals of the scores of masks: against a loop and scipy, and what the score file holds."""

import json
import math
import time

import numpy as np
import pytest
import scipy.stats

from utils.evaluation import conventions, paired, score_tables
from utils.evaluation.counts import Counts, count
from utils.evaluation.masks import METRICS, coursework, lesion_pooled, official, per_image
from utils.evaluation.resampling import bootstrap, percentile_interval

FUNCTIONS = {"official": official, "coursework": coursework, "lesion": lesion_pooled}


def study(n: int = 60, seed: int = 0, wrong: float = 0.1) -> Counts:
    """Counts of n images of 400 pixels, with lesions and errors of very different size."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, 400)) < rng.uniform(0.05, 0.6, (n, 1))
    errors = np.random.default_rng(seed + 1).random((n, 400)) < rng.uniform(0, 2 * wrong, (n, 1))
    return count(truth, truth ^ errors)


def taken(counts: Counts, rows: np.ndarray) -> Counts:
    return Counts(*(np.asarray(cell)[rows] for cell in counts))


# --- the scores of a run ---


def test_layout_and_values():
    counts = study()
    scores = conventions.segmentation_scores(counts, resamples=200, seed=3)
    assert list(scores) == ["n", "resamples", "seed", "level", *FUNCTIONS]
    assert [scores[key] for key in ("n", "resamples", "seed", "level")] == [60, 200, 3, 0.95]
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    for convention, function in FUNCTIONS.items():
        expected = function(counts)
        assert list(scores[convention]) == list(expected)
        for metric, leaf in scores[convention].items():
            assert list(leaf) == ["value", "low", "high"]
            assert {type(number) for number in leaf.values()} == {float}
            assert leaf["value"] == expected[metric]
            assert leaf["low"] < leaf["value"] < leaf["high"]
    assert "threshold_jaccard" not in scores["lesion"]


def test_intervals_equal_a_loop_over_the_same_images():
    counts = study(25)
    scores = conventions.segmentation_scores(counts, resamples=150, seed=5)
    weights = bootstrap(lambda weights: weights, np.zeros(25), 150, seed=5).astype(int)
    drawn = [taken(counts, np.repeat(np.arange(25), row)) for row in weights]
    for convention, function in FUNCTIONS.items():
        loop = [function(one) for one in drawn]
        for metric, leaf in scores[convention].items():
            value = leaf["value"]  # on the logit scale, by the delta method
            reach = np.std([one[metric] for one in loop], ddof=1) / (value * (1 - value))
            around = scipy.stats.norm(scipy.special.logit(value), reach)
            expected = scipy.special.expit(around.interval(0.95))
            assert (leaf["low"], leaf["high"]) == pytest.approx(expected, abs=1e-12)


def test_intervals_against_scipy():
    counts = study(80)
    found = conventions.segmentation_scores(counts, resamples=10_000)
    cells = np.stack(counts)

    def pooled(rows: np.ndarray) -> float:
        tp, fp, fn, _ = cells[:, rows].sum(axis=1)
        return tp / (tp + fp + fn)

    options = {"method": "percentile", "rng": np.random.default_rng(1)}
    mean = scipy.stats.bootstrap(
        (per_image(counts)["jaccard"],), np.mean, n_resamples=10_000, **options
    ).confidence_interval
    pot = scipy.stats.bootstrap(
        (np.arange(80),), pooled, n_resamples=4000, vectorized=False, **options
    ).confidence_interval
    for convention, theirs in (("official", mean), ("lesion", pot)):
        ours = found[convention]["jaccard"]
        assert (ours["low"], ours["high"]) == pytest.approx(tuple(theirs), abs=0.004)
        assert ours["high"] - ours["low"] > 0.05


def test_narrower_with_more_images():
    widths = []
    for n in (50, 200, 800):
        overlap = conventions.segmentation_scores(study(n), resamples=500)["official"]["jaccard"]
        widths.append(overlap["high"] - overlap["low"])
    # Four times the images, half the width, give or take the draw.
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.4)
    assert widths[1] / widths[2] == pytest.approx(2, rel=0.4)


def test_repeats_from_the_seed():
    counts = study()
    first = conventions.segmentation_scores(counts, 100)
    assert conventions.segmentation_scores(counts, 100) == first
    assert conventions.segmentation_scores(counts, 100, seed=1) != first


def test_ten_thousand_resamples_take_seconds():
    counts = study(600)
    start = time.process_time()
    bootstrap(lambda weights: official(counts, weights)["jaccard"], np.zeros(600), 10_000)
    assert time.process_time() - start < 2


def test_undefined_is_none():
    # Neither the truth nor the prediction has a lesion in any image.
    empty = Counts(tp=[0], fp=[0], fn=[0], tn=[9])
    scores = conventions.segmentation_scores(empty, 20)
    undefined = {"value": None, "low": None, "high": None}
    for convention in ("coursework", "lesion"):
        assert scores[convention]["sensitivity"] == undefined
        assert scores[convention]["jaccard"] == scores[convention]["dice"] == undefined
        assert scores[convention]["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert all(scores["official"][metric]["value"] == 1 for metric in METRICS)
    json.dumps(scores, allow_nan=False)
    assert score_tables.mask_table(scores).loc["JSI"].tolist()[1:] == ["undefined", "undefined"]


def test_table():
    scores = conventions.segmentation_scores(study(), 100)
    cells = score_tables.mask_table(scores, digits=2)
    assert list(cells.index) == ["ACC", "SE", "SP", "JSI", "DSC", "TJI"]
    assert [name.split()[0] for name in cells.columns] == ["official", "coursework", "lesion"]
    leaf = scores["coursework"]["dice"]
    expected = f"{leaf['value']:.2f} [{leaf['low']:.2f}, {leaf['high']:.2f}]"
    assert cells.loc["DSC"].iloc[1] == expected
    assert cells.loc["TJI"].iloc[2] == ""
    assert (cells.iloc[:, :2] != "").all(axis=None)
    # The table is made from the file as well as from the scores in memory.
    assert score_tables.mask_table(json.loads(json.dumps(scores)), digits=2).equals(cells)
    assert len(score_tables.mask_table(scores).loc["ACC"].iloc[0]) == len("0.900 [0.800, 0.950]")


def test_scores_refuse_what_the_metrics_and_the_bootstrap_refuse():
    with pytest.raises(ValueError, match="one entry an image"):
        conventions.segmentation_scores(Counts([], [], [], []))
    with pytest.raises(ValueError, match="resamples is 0; expected at least 1"):
        conventions.segmentation_scores(study(), resamples=0)


# --- two runs ---


def pair(n: int = 60) -> tuple[Counts, Counts]:
    """Two answers to the same masks: where the first is wrong the second is, and in some more."""
    rng = np.random.default_rng(7)
    truth = rng.random((n, 400)) < rng.uniform(0.05, 0.6, (n, 1))
    errors = rng.random((n, 400)) < rng.uniform(0, 0.3, (n, 1))
    more = rng.random((n, 400)) < 0.01
    return count(truth, truth ^ errors), count(truth, truth ^ (errors | more))


def unclear(n: int = 200) -> tuple[Counts, Counts]:
    """Two answers to the same masks, the first a little better, each wrong in other places."""
    rng = np.random.default_rng(7)
    truth = rng.random((n, 400)) < rng.uniform(0.05, 0.6, (n, 1))
    errors = rng.random((2, n, 400)) < rng.uniform(0, [[[0.27]], [[0.3]]], (2, n, 1))
    return count(truth, truth ^ errors[0]), count(truth, truth ^ errors[1])


def test_difference_by_hand():
    # Jaccards 4/5 and 1/5 against 2/5 and 2/6.
    first = Counts(tp=[4, 1], fp=[1, 2], fn=[0, 2], tn=[5, 5])
    second = Counts(tp=[2, 2], fp=[1, 3], fn=[2, 1], tn=[5, 4])
    found = paired.jaccard_difference(first, second, resamples=4000)
    assert (found.first, found.second) == pytest.approx((1 / 2, 11 / 30))
    assert found.value == pytest.approx(1 / 2 - 11 / 30)
    assert found.each == (found.value,)
    # Of four ways to draw two images one is twice the first, one twice the second.
    assert (found.low, found.high) == pytest.approx((1 / 5 - 1 / 3, 4 / 5 - 2 / 5))


def test_difference_equals_a_loop_over_the_same_images():
    first, second = pair(25)
    found = paired.jaccard_difference(first, second, resamples=150, seed=5)
    weights = bootstrap(lambda weights: weights, np.zeros(25), 150, seed=5).astype(int)
    loop = []
    for row in weights:
        rows = np.repeat(np.arange(25), row)
        scores = [official(taken(one, rows))["jaccard"] for one in (first, second)]
        loop.append(scores[0] - scores[1])
    assert (found.low, found.high) == pytest.approx(tuple(percentile_interval(loop)), abs=1e-12)


def test_difference_is_paired():
    first, second = pair()
    found = paired.jaccard_difference(first, second)
    assert 0 < found.low < found.value < found.high
    # By themselves the runs are far less sure, for hard images are hard for both.
    alone = conventions.segmentation_scores(first)["official"]["jaccard"]
    assert found.high - found.low < 0.4 * (alone["high"] - alone["low"])
    turned = paired.jaccard_difference(second, first)
    assert (turned.value, turned.low, turned.high) == pytest.approx(
        (-found.value, -found.high, -found.low)
    )
    # And as sure as the formula for the mean of a difference has it.
    gains = per_image(first)["jaccard"] - per_image(second)["jaccard"]
    half = 1.96 * gains.std() / math.sqrt(len(gains))
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_a_run_does_not_differ_from_itself():
    found = paired.jaccard_difference(study(), study())
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert found.p_value == 1


def test_p_value_of_a_difference():
    first, second = pair(25)
    # So clear that no resample turns it round: the smallest p that 150 resamples can give.
    assert paired.jaccard_difference(first, second, 150).p_value == pytest.approx(2 / 151)
    found = paired.jaccard_difference(*unclear(), resamples=4000)
    gains = [per_image(one)["jaccard"] for one in unclear()]
    expected = scipy.stats.ttest_rel(*gains).pvalue
    assert 0.02 < expected < 0.5
    assert found.p_value == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (Counts([1], [0], [0], [3]), "2 images against 1; expected the same ones"),
        (Counts([1, 1], [0, 0], [0, 0], [3, 3]), r"truth differs in 1 of 2 images \(first: 1\)"),
        (Counts([1, 2], [0, 0], [0, 0], [6, 2]), "expected the same masks, at the same size"),
        (Counts([2, 2], [0, 0], [0, 0], [3, 2]), r"truth differs in 1 of 2 images \(first: 0\)"),
        (Counts([1], [0], [0], [-3]), "no counts in 1 of 1 images"),
    ],
)
def test_difference_refuses(second, message):
    first = Counts([1, 2], [0, 0], [0, 0], [3, 2])
    with pytest.raises(ValueError, match=message):
        paired.jaccard_difference(first, second)
