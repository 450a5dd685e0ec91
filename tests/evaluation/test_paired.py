"""Paired differences: against a loop of scikit-learn, DeLong's formula, and what is refused."""

import math

import numpy as np
import pandas as pd
import pytest
from made_up import answered, taken
from sklearn.metrics import accuracy_score, roc_auc_score

from utils.data.splits import CLASSES
from utils.evaluation.counts import Counts
from utils.evaluation.masks import official
from utils.evaluation.paired import OtherImagesError, jaccard_difference, paired_difference
from utils.evaluation.resampling import bootstrap, bootstrap_p_value, percentile_interval
from utils.evaluation.significance import delong_test

MELANOMA = ("official", "melanoma", "auc")


def runs(n: int, count: int = 2, share: float = 0.6) -> list[pd.DataFrame]:
    """Predictions of as many runs for the same images, which some images are hard for in all."""
    rng = np.random.default_rng(0)
    labels = rng.choice(3, n, p=[0.195, 0.15, 0.655])
    common, tables = rng.dirichlet([1, 1, 1], n), []
    for number in range(count):
        own = rng.dirichlet([1, 1, 1], n)
        signal = 0.12 + 0.08 * (number % 2)
        mixed = (1 - signal) * (share * common + (1 - share) * own) + signal * np.eye(3)[labels]
        table = pd.DataFrame({"id": [f"ISIC_{k:07d}" for k in range(n)], "label": labels})
        tables.append(table.assign(**dict(zip(CLASSES, mixed.T, strict=True))))
    return tables


def resampled(strata: np.ndarray, resamples: int) -> list[np.ndarray]:
    weights = bootstrap(lambda weights: weights, strata, resamples)
    return [np.repeat(np.arange(len(strata)), row.astype(int)) for row in weights]


def melanoma_auc(table: pd.DataFrame, images: np.ndarray | slice = slice(None)) -> float:
    truth, score = (table["label"] == 0).to_numpy(), table["melanoma"].to_numpy()
    return roc_auc_score(truth[images], score[images])


def test_equals_a_loop_of_scikit_learn():
    first, second = runs(80)
    found = paired_difference(first, second, MELANOMA, resamples=60)
    loop = []
    for images in resampled(first["label"].to_numpy(), 60):
        loop.append(melanoma_auc(first, images) - melanoma_auc(second, images))
    assert found[1:3] == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=1e-12)
    assert found.first == pytest.approx(melanoma_auc(first), abs=1e-12)
    assert found.second == pytest.approx(melanoma_auc(second), abs=1e-12)
    assert found.value == pytest.approx(found.first - found.second, abs=1e-15)
    assert (found.firsts, found.seconds) == ((found.first,), (found.second,))
    assert found.p_value == bootstrap_p_value(loop)
    assert all(type(number) is float for number in (*found[:6], *found.firsts, *found.seconds))


def test_accuracy_takes_what_comes():
    # Not stratified, as in scores-<split>.json: the next patients bring other shares of classes.
    first, second = runs(80)
    found = paired_difference(first, second, ("coursework", "accuracy"), resamples=60)
    loop = []
    for images in resampled(np.zeros(80), 60):
        right = [
            accuracy_score(
                table["label"].iloc[images], table[list(CLASSES)].to_numpy()[images].argmax(axis=1)
            )
            for table in (first, second)
        ]
        loop.append(right[0] - right[1])
    assert found[1:3] == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=1e-12)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_against_delong(share):
    first, second = runs(500, share=share)
    found = paired_difference(first, second, MELANOMA, resamples=2000)
    formula = delong_test(first["label"] == 0, first["melanoma"], second["melanoma"])
    error = (formula.high - formula.low) / 3.92
    assert found.value == pytest.approx(formula.value, abs=1e-12)
    assert found.low == pytest.approx(formula.low, abs=0.15 * error)
    assert found.high == pytest.approx(formula.high, abs=0.15 * error)
    assert formula.p_value == pytest.approx(found.p_value, rel=0.3, abs=3e-3)


def test_a_run_against_itself_and_the_other_way_round():
    first, second = runs(60)
    nothing = paired_difference(first, first, resamples=50)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    assert nothing.p_value == 1
    one, other = (
        paired_difference(*pair, resamples=50) for pair in ((first, second), (second, first))
    )
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert one.p_value == other.p_value < 1


def test_several_seeds_are_averaged_and_share_the_images():
    tables = runs(80, count=6)
    firsts, seconds = tables[::2], tables[1::2]
    found = paired_difference(firsts, seconds, MELANOMA, resamples=40)
    each = [[melanoma_auc(table) for table in side] for side in (firsts, seconds)]
    assert (found.firsts, found.seconds) == tuple(pytest.approx(s, abs=1e-12) for s in each)
    assert found.value == pytest.approx(np.mean(each[0]) - np.mean(each[1]), abs=1e-12)
    assert found.spread == pytest.approx([np.std(side, ddof=1) for side in each])
    loop = []
    for images in resampled(firsts[0]["label"].to_numpy(), 40):
        areas = [melanoma_auc(table, images) for table in (*firsts, *seconds)]
        loop.append(np.mean(areas[:3]) - np.mean(areas[3:]))
    assert found[1:3] == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=1e-12)


def test_rows_are_aligned_by_id():
    first, second = runs(60)
    mixed = second.sample(frac=1, random_state=0).reset_index(drop=True)
    assert (mixed["id"] != second["id"]).any()
    in_order = paired_difference(first, second, resamples=50)
    assert paired_difference(first, mixed, resamples=50) == in_order


def test_melanoma_alone_against_three_classes():
    first, second = runs(60)
    alone = first[["id", "label", "melanoma"]]
    of_three = paired_difference(first, second, MELANOMA, 50)
    assert paired_difference(alone, second, MELANOMA, 50) == of_three
    with pytest.raises(ValueError, match=r"no score \('official', 'mean_auc'\) in one of the tab"):
        paired_difference(second, alone)


def test_a_missing_class_is_undefined():
    first, second = (table[table["label"] != 1] for table in runs(60))
    found = paired_difference(first, second, resamples=50)
    assert np.isnan([*found[:6], *found.firsts, *found.spread]).all()
    assert not math.isnan(paired_difference(first, second, MELANOMA, 50).low)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[:-1], r"only in one of them: ISIC_0000029\. .*same split"),
        (lambda table: table[:20], r"0000024 … \(10 in all\)"),
        (
            lambda table: table.assign(label=(table["label"] + (table.index == 3)) % 3),
            "different labels for ISIC_0000003; expected the same",
        ),
        (
            lambda table: pd.concat([table, table[:1]]),
            "duplicate ids in a table: ISIC_0000000; expected one row per image",
        ),
    ],
)
def test_tables_that_cannot_be_compared(change, message):
    first, second = runs(30)
    with pytest.raises(OtherImagesError, match=message):
        paired_difference(first, change(second))


@pytest.mark.parametrize(("many", "few"), [(2, 1), (0, 0)])
def test_unequal_numbers_of_seeds_are_refused(many, few):
    tables = runs(30)
    with pytest.raises(ValueError, match=f"{many} tables against {few}; expected the same seeds"):
        paired_difference(tables[:many], tables[:few])


# --- masks ---


def test_difference_of_jaccards_equals_a_loop_over_the_same_images():
    first, second = answered(25), answered(25, wrong=0.2)
    found = jaccard_difference(first, second, resamples=150, seed=5)
    weights = bootstrap(lambda weights: weights, np.zeros(25), 150, seed=5).astype(int)
    loop = []
    for row in weights:
        rows = np.repeat(np.arange(25), row)
        scores = [official(taken(one, rows))["jaccard"] for one in (first, second)]
        loop.append(scores[0] - scores[1])
    assert (found.low, found.high) == pytest.approx(tuple(percentile_interval(loop)), abs=1e-12)
    assert found.p_value == bootstrap_p_value(loop)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (Counts([1], [0], [0], [3]), "2 images against 1; expected the same ones"),
        (Counts([1, 1], [0, 0], [0, 0], [3, 3]), r"truth differs in 1 of 2 images \(first: 1\)"),
        (Counts([1, 2], [0, 0], [0, 0], [6, 2]), "expected the same masks, at the same size"),
        (Counts([1], [0], [0], [-3]), "invalid counts in 1 of 1 images"),
    ],
)
def test_difference_of_jaccards_refuses(second, message):
    first = Counts([1, 2], [0, 0], [0, 0], [3, 2])
    with pytest.raises(ValueError, match=message):
        jaccard_difference(first, second)
