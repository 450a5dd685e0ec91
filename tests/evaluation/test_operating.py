"""Thresholds and net benefit by hand, against scikit-learn, and by what must hold."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_curve
from statsmodels.stats.proportion import proportion_confint

from utils.evaluation import operating

TRUTH = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
SCORE = np.array([0.9, 0.8, 0.6, 0.2, 0.7, 0.5, 0.3, 0.1, 0.1, 0.0])


def study(n: int = 300, seed: int = 0, digits: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores with ties: so few digits."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.25
    return truth, (1 / (1 + np.exp(-rng.normal(1.2 * truth - 0.6, 1)))).round(digits)


# --- thresholds ---


def test_rounding_costs_no_sensitivity():
    ten = np.append(np.linspace(0.5, 0.95, 10), 0.1)  # 9 of 10, rounding or not
    assert operating.sensitive_threshold([1] * 10 + [0], ten) == pytest.approx(0.525)


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_are_those_of_scikit_learn(seed):
    truth, score = study(seed=seed)
    fpr, tpr, thresholds = roc_curve(truth, score, drop_intermediate=False)
    # scikit-learn's positive is "at least": ours lies between its threshold and the next lower.
    for chosen, best in (
        (
            operating.youden_threshold(truth, score),
            np.flatnonzero(tpr - fpr > (tpr - fpr).max() - 1e-9)[-1],
        ),
        (operating.sensitive_threshold(truth, score), np.argmax(tpr >= 0.9 - 1e-9)),
    ):
        assert thresholds[best + 1] <= chosen < thresholds[best]
        np.testing.assert_array_equal(score > chosen, score >= thresholds[best])


def test_a_threshold_below_all_scores_calls_everything_positive():
    for score in ([0.0, 0.5], [0.2, 0.5], [-1.0, 0.5]):
        threshold = operating.sensitive_threshold([1, 0], score)
        assert (np.array(score) > threshold).all()
    one_apart = np.nextafter(0.5, 1)
    assert operating.youden_threshold([0, 1], [0.5, one_apart]) == 0.5


@pytest.mark.parametrize("truth", [[1, 1], [0, 0], [], [1]])
def test_a_missing_class_is_refused(truth):
    words = rf"{sum(truth)} positives among {len(truth)} images.* positives and neg|\(0,\).*n >= 1"
    for choose in (operating.youden_threshold, operating.roc_table, operating.read_off):
        with pytest.raises(ValueError, match=words):
            choose(truth, [0.5] * len(truth))


# --- what a threshold does ---


def test_judged_by_hand_and_by_statsmodels():
    found = operating.judged(TRUTH, SCORE, 0.55)
    assert [found[key] for key in ("n", "tp", "fp", "fn", "tn")] == [10, 3, 1, 1, 5]
    for rate, right, of in (
        ("sensitivity", 3, 4), ("specificity", 5, 6), ("ppv", 3, 4), ("npv", 5, 6),
    ):  # fmt: skip
        assert found[rate] == pytest.approx(right / of)
        interval = found[f"{rate}_low"], found[f"{rate}_high"]
        assert interval == pytest.approx(proportion_confint(right, of, method="wilson"))


def test_a_rate_of_nothing_is_undefined():
    found = operating.judged([0, 0], [0.1, 0.2], 0.5)
    assert np.isnan([found[key] for key in ("sensitivity", "ppv", "ppv_low", "ppv_high")]).all()
    assert (found["specificity"], found["npv"]) == (1, 1)


# --- read off the ROC ---


def test_roc_is_that_of_scikit_learn():
    truth, score = study()
    table = operating.roc_table(truth, score)
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    np.testing.assert_allclose(table["false_positive_rate"], fpr)
    np.testing.assert_allclose(table["sensitivity"], tpr)


def test_rates_at_fixed_ones_are_those_of_scikit_learn():
    truth, score = study()
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    table = operating.read_off(truth, score, 200).set_index(["rate", "at"])
    for fixed in operating.FIXED:
        best = tpr[1 - fpr >= fixed - 1e-12].max()
        found = table.loc[("sensitivity", f"specificity {fixed}")]
        assert found["value"] == pytest.approx(best)
        assert found["low"] < best < found["high"]
        best = (1 - fpr)[tpr >= fixed - 1e-12].max()
        assert table.loc[("specificity", f"sensitivity {fixed}"), "value"] == pytest.approx(best)
    assert (table["low"] <= table["high"]).all()


def test_a_perfect_score_reaches_everything():
    table = operating.read_off([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 50)
    assert (table[["value", "high"]] == 1).to_numpy().all()
    # The bootstrap of two images that are all found has no width; two images are no certainty.
    assert table["low"].tolist() == pytest.approx(
        [proportion_confint(2, 2, method="wilson")[0]] * 6
    )


# --- decision curve ---


def test_net_benefit_by_hand():
    # t = 0.5: a false alarm weighs 1. Positive from 0.5 on: 3 found, 2 false alarms, of 10.
    table = operating.decision_curve(TRUTH, SCORE, 50).set_index("threshold")
    assert table.loc[0.5, "model"] == pytest.approx((3 - 2) / 10)
    assert table.loc[0.5, "treat_all"] == pytest.approx((4 - 6) / 10)
    # t = 0.2: a quarter. All four found, three false alarms.
    assert table.loc[0.2, "model"] == pytest.approx((4 - 3 / 4) / 10)
    assert table.loc[0.2, "treat_all"] == pytest.approx((4 - 6 / 4) / 10)
    assert (table["treat_none"] == 0).all()
    assert ((table["low"] <= table["model"]) & (table["model"] <= table["high"])).all()


def test_net_benefit_against_counts_at_every_threshold():
    truth, probability = study()
    for line in operating.decision_curve(truth, probability, 20).itertuples():
        tn, fp, fn, tp = confusion_matrix(truth, probability >= line.threshold).ravel()
        weight = line.threshold / (1 - line.threshold)
        assert line.model == pytest.approx((tp - fp * weight) / (tn + fp + fn + tp))
