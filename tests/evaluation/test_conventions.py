"""All scores with their intervals: what the score file holds, against loops, scipy and formulas."""

import json

import numpy as np
import pytest
import scipy.stats
from made_up import answered, taken
from statsmodels.stats.proportion import proportion_confint

from utils.data.splits import CLASSES
from utils.evaluation import conventions, masks, resampling, score_tables
from utils.evaluation.conventions import classification_scores, segmentation_scores
from utils.evaluation.counts import Counts
from utils.evaluation.intervals import hanley_mcneil, interval_text

MELANOMA, KERATOSIS, BENIGN = CLASSES


def study(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n images with the class shares of the ISIC 2017 test set, and probabilities."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=[0.195, 0.15, 0.655])
    return labels, 0.6 * rng.dirichlet([1, 1, 1], n) + 0.4 * np.eye(3)[labels]


def leaves(tree: dict, path: tuple = ()) -> dict[tuple, dict]:
    if "value" in tree:
        return {path: tree}
    return {key: leaf for name in tree for key, leaf in leaves(tree[name], (*path, name)).items()}


# --- both tasks ---

UNDEFINED = {"value": None, "low": None, "high": None}


def classified(n: int = 60, **options: int) -> dict:
    return classification_scores(*study(n), **options)


def segmented(n: int = 60, **options: int) -> dict:
    return segmentation_scores(answered(n), **options)


TASKS = [(classified, conventions.LABELS), (segmented, conventions.MASKS)]


@pytest.mark.parametrize(("scored", "functions"), TASKS)
def test_layout_and_values(scored, functions):
    scores = scored(300, resamples=200, seed=3)
    counts = ["counts"] if scored is classified else []
    assert list(scores) == ["n", *counts, "resamples", "seed", "level", *functions]
    assert [scores[key] for key in ("n", "resamples", "seed", "level")] == [300, 200, 3, 0.95]
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    made = study(300) if scored is classified else (answered(300),)
    for convention, function in functions.items():
        expected = function(*made)
        assert list(scores[convention]) == list(expected)
        for path, leaf in leaves(scores[convention]).items():
            value = expected[path[0]] if len(path) == 1 else expected[path[0]][path[1]]
            assert list(leaf) == ["value", "low", "high"]
            assert {type(number) for number in leaf.values()} == {float}
            assert leaf["value"] == value
            assert leaf["low"] < value < leaf["high"]


# --- labels ---


def test_shares_have_wilson_intervals():
    labels, probabilities = study(150)
    found = classification_scores(labels, probabilities, 20)
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


def test_no_area_is_without_width():
    # Melanomas are told apart wholly, keratoses not at all; nothing of it is certain.
    labels = np.array([0, 0, 1, 1, 2, 2])
    probabilities = np.array([[0.8, 0.1, 0.1], [0, 0, 1], [0, 0.5, 0.5]])[labels]
    areas = classification_scores(labels, probabilities, 20)["official"]
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
    scores = classification_scores(labels, probabilities[:, :1], 100)
    assert list(scores["official"]) == list(scores["coursework"]) == [MELANOMA]
    assert sum(scores["counts"].values()) == 100
    assert score_tables.label_table(scores).shape == (2, 4)


def test_a_missing_class_is_none():
    labels, probabilities = [0, 0, 2, 2], np.full((4, 3), 1 / 3)
    scores = classification_scores(labels, probabilities, 50)
    assert scores["official"][KERATOSIS]["auc"] == UNDEFINED
    assert scores["official"][KERATOSIS]["sensitivity"] == UNDEFINED
    assert scores["official"]["mean_auc"] == UNDEFINED
    assert scores["official"][MELANOMA]["auc"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    json.dumps(scores, allow_nan=False)
    cells = score_tables.label_table(scores)
    assert cells.loc[("official (score > 0.5)", "seborrheic keratosis"), "AUC"] == "undefined"


def test_table_of_labels():
    labels, probabilities = study(200)
    scores = classification_scores(labels, probabilities, 100)
    cells = score_tables.label_table(scores, digits=2)
    assert list(cells.columns) == ["AUC", "ACC", "SE", "SP"]
    names = ["melanoma", "seborrheic keratosis"]
    assert list(cells.index) == [
        *(("official (score > 0.5)", name) for name in (*names, "mean")),
        *(("coursework (argmax)", name) for name in (*names, "benign", "all classes")),
    ]
    mean = interval_text(**scores["official"]["mean_auc"], digits=2)
    assert cells.loc[("official (score > 0.5)", "mean")].tolist() == [mean, "", "", ""]
    assert cells.loc[("coursework (argmax)", "all classes")].tolist()[::2] == ["", ""]


# --- masks ---


def test_intervals_equal_a_loop_over_the_same_images():
    counts = answered(25)
    scores = segmentation_scores(counts, resamples=150, seed=5)
    weights = resampling.bootstrap(lambda weights: weights, np.zeros(25), 150, seed=5).astype(int)
    drawn = [taken(counts, np.repeat(np.arange(25), row)) for row in weights]
    for convention, function in conventions.MASKS.items():
        loop = [function(one) for one in drawn]
        for metric, leaf in scores[convention].items():
            value = leaf["value"]  # on the logit scale, by the delta method
            reach = np.std([one[metric] for one in loop], ddof=1) / (value * (1 - value))
            around = scipy.stats.norm(scipy.special.logit(value), reach)
            expected = scipy.special.expit(around.interval(0.95))
            assert (leaf["low"], leaf["high"]) == pytest.approx(expected, abs=1e-12)


def test_undefined_is_none():
    # Neither the truth nor the prediction has a lesion in any image.
    empty = Counts(tp=[0], fp=[0], fn=[0], tn=[9])
    scores = segmentation_scores(empty, 20)
    for convention in ("coursework", "lesion"):
        assert scores[convention]["sensitivity"] == UNDEFINED
        assert scores[convention]["jaccard"] == scores[convention]["dice"] == UNDEFINED
        assert scores[convention]["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert all(scores["official"][metric]["value"] == 1 for metric in masks.METRICS)
    json.dumps(scores, allow_nan=False)
    assert score_tables.mask_table(scores).loc["JSI"].tolist()[1:] == ["undefined", "undefined"]


def test_table_of_masks():
    scores = segmentation_scores(answered(), 100)
    cells = score_tables.mask_table(scores, digits=2)
    assert list(cells.index) == ["ACC", "SE", "SP", "JSI", "DSC", "TJI"]
    assert [name.split()[0] for name in cells.columns] == ["official", "coursework", "lesion"]
    leaf = scores["coursework"]["dice"]
    assert cells.loc["DSC"].iloc[1] == interval_text(**leaf, digits=2)
    assert cells.loc["TJI"].iloc[2] == ""
    assert (cells.iloc[:, :2] != "").all(axis=None)
