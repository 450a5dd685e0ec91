"""Intervals: against a loop, against scipy and formulas, then what they must do as n grows."""

import json
import math
import time
import tracemalloc

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from utils.data.splits import CLASSES
from utils.evaluation import conventions, resampling, score_tables
from utils.evaluation.intervals import hanley_mcneil
from utils.evaluation.labels import auc, coursework, official

MELANOMA, KERATOSIS, BENIGN = CLASSES


def study(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n images with the class shares of the ISIC 2017 test set, and probabilities."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=[0.195, 0.15, 0.655])
    return labels, 0.6 * rng.dirichlet([1, 1, 1], n) + 0.4 * np.eye(3)[labels]


def multiplicities(strata, resamples=2000, seed=0) -> np.ndarray:
    return resampling.bootstrap(lambda weights: weights, strata, resamples, seed)


# --- resampling ---


def test_resamples_by_hand():
    # Two images of one kind, one of another: the lone one is drawn once, always.
    weights = multiplicities([7, 7, 9], resamples=400)
    assert weights.shape == (400, 3)
    assert set(map(tuple, weights)) == {(0, 2, 1), (1, 1, 1), (2, 0, 1)}
    # Of the four ways to draw two of two, one is (0, 2) and two are (1, 1).
    assert np.mean(weights[:, 0] == 1) == pytest.approx(1 / 2, abs=0.08)


def test_strata_keep_their_size():
    strata = np.array([0, 2, 2, 1, 0, 2, 2, 1, 2, 2])
    weights = multiplicities(strata)
    for value, size in enumerate([2, 2, 6]):
        assert (weights[:, strata == value].sum(axis=1) == size).all()
    plain = multiplicities(np.zeros(10))
    assert (plain.sum(axis=1) == 10).all()
    assert len(np.unique(plain[:, strata == 0].sum(axis=1))) > 2


def test_multiplicities_are_multinomial():
    n = 50
    weights = multiplicities(np.zeros(n), resamples=20_000)
    # Mean 1, variance 1 - 1/n, covariance -1/n (within five standard errors).
    assert weights.mean(axis=0) == pytest.approx(np.ones(n), abs=5 / math.sqrt(20_000))
    covariance = np.cov(weights.T)
    assert np.diag(covariance) == pytest.approx(np.full(n, 1 - 1 / n), abs=0.08)
    assert covariance[~np.eye(n, dtype=bool)].mean() == pytest.approx(-1 / n, abs=1e-3)


def test_equals_a_loop_over_the_same_images():
    labels, probabilities = study(40)
    truth, score = labels == 0, probabilities[:, 0]
    values = resampling.bootstrap(lambda weights: auc(truth, score, weights), truth, 200, seed=5)
    loop = []
    for weights in multiplicities(truth, 200, seed=5):
        drawn = np.repeat(np.arange(40), weights.astype(int))
        loop.append(roc_auc_score(truth[drawn], score[drawn]))
    np.testing.assert_allclose(values, loop, rtol=0, atol=1e-12)
    low, high = resampling.percentile_interval(values)
    assert (low, high) == pytest.approx(np.percentile(loop, [2.5, 97.5]), abs=1e-12)


def test_chunks_change_nothing(monkeypatch):
    strata = np.array([0] * 7 + [1] * 5)
    whole = multiplicities(strata, 100)
    monkeypatch.setattr(resampling, "CHUNK", 36)  # three resamples at once, then a single last one
    np.testing.assert_array_equal(multiplicities(strata, 100), whole)
    monkeypatch.setattr(resampling, "CHUNK", 1)
    np.testing.assert_array_equal(multiplicities(strata, 100), whole)


def test_repeats_from_the_seed():
    strata = np.zeros(30)
    np.testing.assert_array_equal(multiplicities(strata, 50), multiplicities(strata, 50))
    assert (multiplicities(strata, 50) != multiplicities(strata, 50, seed=1)).any()
    # More resamples begin with the same ones.
    np.testing.assert_array_equal(multiplicities(strata, 80)[:50], multiplicities(strata, 50))


def test_memory_is_bounded():
    truth = np.arange(20_000) % 5 == 0
    score = np.random.default_rng(0).random(20_000)
    tracemalloc.start()
    resampling.bootstrap(lambda weights: auc(truth, score, weights), truth, 200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 200 resamples of 20 000 images would be 32 MB an array; a chunk is 8 MB, and a few are alive.
    assert peak < 80e6


def test_ten_thousand_resamples_take_seconds():
    labels, probabilities = study(600)
    truth, score = labels == 0, probabilities[:, 0]
    start = time.process_time()
    resampling.bootstrap(lambda weights: auc(truth, score, weights), truth, 10_000)
    assert time.process_time() - start < 10


# --- p values ---


def test_p_values_by_hand():
    # Of 19 resamples two lie below 0: 2 (2 + 1) / (19 + 1).
    assert resampling.bootstrap_p_value([-2, -1, *range(1, 18)]) == pytest.approx(0.3)
    # None does: small, and never 0.
    assert resampling.bootstrap_p_value(np.arange(1, 20)) == pytest.approx(0.1)
    assert resampling.bootstrap_p_value(-np.arange(1.0, 1000.0)) == pytest.approx(0.002)
    # At 0 itself they are on both sides.
    assert resampling.bootstrap_p_value([0, 0, 0]) == 1
    assert resampling.bootstrap_p_value([0, *range(1, 19)]) == pytest.approx(0.2)
    # Undefined ones are left out.
    assert resampling.bootstrap_p_value([math.nan, *range(1, 20)]) == pytest.approx(0.1)
    assert math.isnan(resampling.bootstrap_p_value([math.nan]))


def test_p_value_against_the_normal_formula():
    # A mean that lies two standard errors above 0.
    values = np.random.default_rng(0).normal(size=400)
    values = (values - values.mean()) / values.std() + 2 / math.sqrt(400)
    resampled = resampling.bootstrap(
        lambda weights: weights @ values / len(values), np.zeros(400), resamples=20_000
    )
    expected = scipy.stats.norm.sf(2) * 2
    assert resampling.bootstrap_p_value(resampled) == pytest.approx(expected, rel=0.1)


def test_p_value_and_interval_say_the_same():
    rng = np.random.default_rng(0)
    for shift in np.linspace(1.5, 2.5, 41):
        resampled = rng.normal(shift, 1, 1000)
        low, _ = resampling.percentile_interval(resampled)
        if abs(low) > 0.05:
            assert (resampling.bootstrap_p_value(resampled) < 0.05) == (low > 0)


# --- intervals ---


def test_percentiles_by_hand():
    # Of 0 .. 40, one value is cut at each end for 95 %, ten for 50 %.
    assert tuple(resampling.percentile_interval(np.arange(41))) == pytest.approx((1, 39))
    assert tuple(resampling.percentile_interval(np.arange(41), level=0.5)) == (10, 30)
    # Undefined resamples are left out.
    some = [math.nan, *range(41), math.nan]
    assert tuple(resampling.percentile_interval(some)) == pytest.approx((1, 39))
    np.testing.assert_equal(tuple(resampling.percentile_interval([math.nan])), (math.nan, math.nan))


def test_area_interval_by_hand():
    # A standard error of 0.01 at 0.9 is one of 0.01 / 0.09 on the logit scale.
    values = 0.9 + 0.01 * np.array([-1, 1]) / math.sqrt(2)
    low, high = resampling.area_interval(0.9, values)
    for end, sign in ((low, -1), (high, 1)):
        odds = 9 * math.exp(sign * 1.959964 * 0.01 / 0.09)
        assert end == pytest.approx(odds / (1 + odds), abs=1e-7)
    assert resampling.area_interval(1.0, [1.0, 1.0]) == (1, 1)
    assert np.isnan(resampling.area_interval(math.nan, [math.nan])).all()


def test_interval_against_scipy():
    values = np.random.default_rng(0).gamma(2.0, size=80)
    resampled = resampling.bootstrap(
        lambda weights: weights @ values / len(values), np.zeros(80), resamples=20_000
    )
    ours = resampling.percentile_interval(resampled)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert tuple(ours) == pytest.approx(tuple(theirs), abs=0.02)


def test_auc_interval_against_scipy():
    labels, probabilities = study(200)
    truth, score = labels == 0, probabilities[:, 0]
    resampled = resampling.bootstrap(
        lambda weights: auc(truth, score, weights), truth, resamples=4000
    )
    ours = resampling.percentile_interval(resampled)

    def area(above: np.ndarray, below: np.ndarray) -> float:
        return np.mean(above[:, None] > below)

    theirs = scipy.stats.bootstrap(
        (score[truth], score[~truth]),
        area,
        n_resamples=4000,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert tuple(ours) == pytest.approx(tuple(theirs), abs=0.006)


def test_narrower_with_more_images():
    widths = []
    for n in (100, 400, 1600):
        scores = conventions.classification_scores(*study(n), resamples=500)
        area = scores["official"][MELANOMA]["auc"]
        widths.append(area["high"] - area["low"])
    # Four times the images, half the width, give or take the draw.
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.4)
    assert widths[1] / widths[2] == pytest.approx(2, rel=0.4)


def test_covers_the_truth():
    # Normal scores one standard deviation apart: the true area is Phi(1 / sqrt 2) = 0.760.
    truth = np.arange(120) < 40
    expected = scipy.stats.norm.cdf(1 / math.sqrt(2))
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        score = rng.normal(size=120) + truth
        values = resampling.bootstrap(
            lambda weights, score=score: auc(truth, score, weights), truth, 400, seed
        )
        low, high = resampling.area_interval(auc(truth, score), values)
        covered += low <= expected <= high
    assert 0.90 <= covered / 200 <= 0.99


# --- the scores of a run ---


def leaves(tree: dict, path: tuple = ()) -> dict[tuple, dict]:
    if "value" in tree:
        return {path: tree}
    return {key: leaf for name in tree for key, leaf in leaves(tree[name], (*path, name)).items()}


def test_scores_layout_and_values():
    labels, probabilities = study(300)
    scores = conventions.classification_scores(labels, probabilities, resamples=200, seed=3)
    assert list(scores) == ["n", "counts", "resamples", "seed", "level", "official", "coursework"]
    assert scores["n"] == 300
    assert scores["counts"] == {name: int((labels == i).sum()) for i, name in enumerate(CLASSES)}
    assert (scores["resamples"], scores["seed"], scores["level"]) == (200, 3, 0.95)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    for convention, function in (("official", official), ("coursework", coursework)):
        expected = function(labels, probabilities)
        assert list(scores[convention]) == list(expected)
        for path, leaf in leaves(scores[convention]).items():
            value = expected[path[0]] if len(path) == 1 else expected[path[0]][path[1]]
            assert list(leaf) == ["value", "low", "high"]
            assert {type(number) for number in leaf.values()} == {float}
            assert leaf["value"] == value
            assert leaf["low"] < value < leaf["high"]


def test_scores_repeat():
    labels, probabilities = study(100)
    first = conventions.classification_scores(labels, probabilities, 100)
    assert conventions.classification_scores(labels, probabilities, 100) == first
    assert conventions.classification_scores(labels, probabilities, 100, seed=1) != first


def test_areas_are_stratified():
    labels, probabilities = study(80)
    found = conventions.classification_scores(labels, probabilities, 300, seed=2)
    melanoma = labels == 0
    values = resampling.bootstrap(
        lambda weights: auc(melanoma, probabilities[:, 0], weights), labels, 300, 2
    )
    area = resampling.area_interval(auc(melanoma, probabilities[:, 0]), values)
    leaf = found["official"][MELANOMA]["auc"]
    assert (leaf["low"], leaf["high"]) == tuple(area)


def test_shares_have_wilson_intervals():
    labels, probabilities = study(150)
    found = conventions.classification_scores(labels, probabilities, 20)
    answers = {
        "official": [column > 0.5 for column in probabilities.T],
        "coursework": [probabilities.argmax(axis=1) == index for index in range(3)],
    }
    for convention, each in answers.items():
        for name in found[convention].keys() & set(CLASSES):
            index = CLASSES.index(name)
            truth, yes = labels == index, each[index]
            for metric, right in {
                "accuracy": yes == truth,
                "sensitivity": yes[truth],
                "specificity": ~yes[~truth],
            }.items():
                leaf = found[convention][name][metric]
                expected = proportion_confint(right.sum(), len(right), method="wilson")
                assert leaf["value"] == pytest.approx(right.mean(), abs=1e-12)
                assert (leaf["low"], leaf["high"]) == pytest.approx(expected, abs=1e-12)
    right = probabilities.argmax(axis=1) == labels
    overall = found["coursework"]["accuracy"]
    expected = proportion_confint(right.sum(), 150, method="wilson")
    assert (overall["low"], overall["high"]) == pytest.approx(expected, abs=1e-12)


def test_no_share_is_without_width():
    # All right, all six of them: that is no certainty.
    labels = np.array([0, 0, 1, 1, 2, 2])
    found = conventions.classification_scores(labels, np.eye(3)[labels], 20)
    leaf = found["official"][MELANOMA]["sensitivity"]
    assert (leaf["value"], leaf["high"]) == (1, 1)
    assert leaf["low"] < 0.4


def test_no_area_is_without_width():
    # Melanomas are told apart wholly, keratoses not at all; nothing of it is certain.
    labels = np.array([0, 0, 1, 1, 2, 2])
    probabilities = np.array([[0.8, 0.1, 0.1], [0, 0, 1], [0, 0.5, 0.5]])[labels]
    areas = conventions.classification_scores(labels, probabilities, 20)["official"]
    first, second = areas[MELANOMA]["auc"], areas[KERATOSIS]["auc"]
    assert first == {"value": 1, **hanley_mcneil(1, 2, 4)._asdict()}
    assert second == {"value": 0, **hanley_mcneil(0, 2, 4)._asdict()}
    assert first["low"] < 0.7
    mean = areas["mean_auc"]
    assert mean["value"] == 0.5
    for end in ("low", "high"):
        assert mean[end] == pytest.approx((first[end] + second[end]) / 2, abs=1e-15)


def test_melanoma_alone():
    labels, probabilities = study(100)
    scores = conventions.classification_scores(labels, probabilities[:, :1], 100)
    assert list(scores["official"]) == list(scores["coursework"]) == [MELANOMA]
    assert sum(scores["counts"].values()) == 100
    assert score_tables.label_table(scores).shape == (2, 4)


def test_a_missing_class_is_none():
    labels, probabilities = [0, 0, 2, 2], np.full((4, 3), 1 / 3)
    scores = conventions.classification_scores(labels, probabilities, 50)
    undefined = {"value": None, "low": None, "high": None}
    assert scores["official"][KERATOSIS]["auc"] == undefined
    assert scores["official"][KERATOSIS]["sensitivity"] == undefined
    assert scores["official"]["mean_auc"] == undefined
    assert scores["official"][MELANOMA]["auc"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    json.dumps(scores, allow_nan=False)
    cells = score_tables.label_table(scores)
    assert cells.loc[("official (score > 0.5)", "seborrheic keratosis"), "AUC"] == "undefined"


def test_table():
    labels, probabilities = study(200)
    scores = conventions.classification_scores(labels, probabilities, 100)
    cells = score_tables.label_table(scores, digits=2)
    assert list(cells.columns) == ["AUC", "ACC", "SE", "SP"]
    names = ["melanoma", "seborrheic keratosis"]
    assert list(cells.index) == [
        *(("official (score > 0.5)", name) for name in (*names, "mean")),
        *(("coursework (argmax)", name) for name in (*names, "benign", "all classes")),
    ]
    mean = scores["official"]["mean_auc"]
    assert cells.loc[("official (score > 0.5)", "mean")].tolist() == [
        f"{mean['value']:.2f} [{mean['low']:.2f}, {mean['high']:.2f}]",
        "",
        "",
        "",
    ]
    assert cells.loc[("coursework (argmax)", "all classes")].tolist()[::2] == ["", ""]
    # The table is made from the file as well as from the scores in memory.
    assert score_tables.label_table(json.loads(json.dumps(scores)), digits=2).equals(cells)


@pytest.mark.parametrize(
    ("strata", "resamples", "message"),
    [
        ([], 10, r"strata have shape \(0,\); expected \(n,\)"),
        (np.zeros((2, 2)), 10, r"strata have shape \(2, 2\)"),
        ([0, 1], 0, "resamples is 0; expected at least 1"),
    ],
)
def test_bootstrap_refuses(strata, resamples, message):
    with pytest.raises(ValueError, match=message):
        resampling.bootstrap(lambda weights: weights, strata, resamples)


def test_scores_refuse_what_the_metrics_refuse():
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        conventions.classification_scores([0], [[2.0, -1.0, 0.0]])
