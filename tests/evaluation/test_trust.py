"""What is fitted on some images is applied to others, and never to the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from people import study

import experiments
from utils import data, evaluation
from utils.evaluation import calibration, operating
from utils.system import errors

FITTED = study(200, seed=1)[0].assign(id=[f"fit{k}" for k in range(200)])
REPORTED, PEOPLE = study(300, seed=2)
FOUND = evaluation.trust.assess(FITTED, REPORTED, PEOPLE, resamples=100)
TASKS = ["melanoma", "seborrheic_keratosis"]


def one_column(table: pd.DataFrame) -> pd.DataFrame:
    return table[["id", "label", "melanoma"]]


# --- fitted there, applied here ---


def test_temperature_is_that_of_the_fitting_images():
    names = list(data.CLASSES)
    fitted = calibration.fit_temperature(FITTED["label"], FITTED[names])
    assert FOUND.temperature == fitted
    assert fitted != calibration.fit_temperature(REPORTED["label"], REPORTED[names])
    table = FOUND.calibration.set_index(["class", "probabilities"])
    assert table.loc[("melanoma", "as they are"), "temperature"] == 1
    assert table.loc[("melanoma", "scaled"), "temperature"] == fitted
    scaled = calibration.scale(REPORTED[names], fitted)
    loss = calibration.log_loss(REPORTED["label"], scaled)
    assert table.loc[("most probable class", "scaled"), "log_loss"] == pytest.approx(loss)
    brier = calibration.squared_errors(REPORTED["label"] == 0, scaled[:, 0]).mean()
    assert table.loc[("melanoma", "scaled"), "brier"] == pytest.approx(brier)
    assert ((table["brier_low"] < table["brier"]) & (table["brier"] < table["brier_high"])).all()


def test_calibration_of_the_answer_is_that_of_its_probability():
    table = FOUND.calibration.set_index(["class", "probabilities"])
    given = REPORTED[list(data.CLASSES)].to_numpy()
    right = given.argmax(axis=1) == REPORTED["label"]
    error = calibration.expected_calibration_error(right, given.max(axis=1))
    assert table.loc[("most probable class", "as they are"), "ece"] == pytest.approx(error)


def test_thresholds_are_those_of_the_fitting_images():
    table = FOUND.operating.set_index(["class", "rule"])
    for number, name in enumerate(TASKS):
        threshold = operating.youden_threshold(FITTED["label"] == number, FITTED[name])
        line = table.loc[(name, "Youden's index")]
        assert line["threshold"] == threshold
        assert threshold != operating.youden_threshold(REPORTED["label"] == number, REPORTED[name])
        here = operating.judged(REPORTED["label"] == number, REPORTED[name], threshold)
        assert line[list(here)].to_dict() == pytest.approx(here)
        there = operating.judged(FITTED["label"] == number, FITTED[name], threshold)
        assert line["fitted_sensitivity"] == there["sensitivity"]
        assert table.loc[(name, evaluation.trust.SUBGROUP_RULE), "fitted_sensitivity"] >= 0.9


def test_other_reported_images_choose_nothing_else():
    other = study(300, seed=7)[0]
    again = evaluation.trust.assess(FITTED, other, resamples=20)
    assert again.temperature == FOUND.temperature
    assert again.operating["threshold"].tolist() == FOUND.operating["threshold"].tolist()
    assert again.operating["sensitivity"].tolist() != FOUND.operating["sensitivity"].tolist()


def test_subgroups_take_the_sensitive_threshold():
    points = FOUND.operating.set_index(["class", "rule"])
    groups = FOUND.subgroups.set_index(["class", "group"])
    for name in TASKS:
        both = points.loc[(name, evaluation.trust.SUBGROUP_RULE)], groups.loc[(name, "all images")]
        for rate in ("n", "sensitivity", "specificity_low"):
            assert both[0][rate] == both[1][rate]


def test_every_table_says_which_class():
    for name, table in FOUND._asdict().items():
        if name != "temperature":
            known = {*TASKS, evaluation.trust.ANSWER} if name == "calibration" else set(TASKS)
            assert set(table["class"]) == known
    for table in (FOUND.reliability, FOUND.decision, FOUND.calibration):
        assert table["probabilities"].unique().tolist() == ["as they are", "scaled"]
    sums = FOUND.reliability.groupby(["class", "probabilities"])["n"].sum()
    assert sums.tolist() == [300] * 4


# --- less than everything ---


def test_melanoma_alone():
    found = evaluation.trust.assess(one_column(FITTED), one_column(REPORTED), PEOPLE, resamples=20)
    for table in found[1:]:
        assert table["class"].unique().tolist() == ["melanoma"]
    # Scaling one logit leaves the order, and so what a fitted threshold does.
    scaled = one_column(REPORTED).copy()
    scaled["melanoma"] = calibration.scale(scaled[["melanoma"]], found.temperature)[:, 0]
    there = one_column(FITTED).copy()
    there["melanoma"] = calibration.scale(there[["melanoma"]], found.temperature)[:, 0]
    again = evaluation.trust.assess(there, scaled, resamples=20)
    assert again.temperature == pytest.approx(1, rel=1e-4)
    rates = ["tp", "fp", "fn", "tn"]
    fitted = found.operating["rule"] != "0.5, as the challenge"
    assert again.operating.loc[fitted, rates].equals(found.operating.loc[fitted, rates])


@pytest.mark.parametrize("people", [None, PEOPLE.assign(age=np.nan, sex="unknown")])
def test_without_metadata_there_are_no_subgroups(people):
    found = evaluation.trust.assess(FITTED, REPORTED, people, resamples=20)
    assert found.subgroups.empty
    assert found.subgroups.columns.tolist() == FOUND.subgroups.columns.tolist()
    assert found.operating.equals(FOUND.operating)


def test_a_class_that_is_missing_in_the_report_has_no_operating_points():
    reported = REPORTED[REPORTED["label"] != 1]
    found = evaluation.trust.assess(FITTED, reported, PEOPLE, resamples=20)
    for table in (found.operating, found.roc, found.read_off, found.subgroups):
        assert table["class"].unique().tolist() == ["melanoma"]
    assert set(found.reliability["class"]) == set(TASKS)
    benign = evaluation.trust.assess(FITTED, REPORTED[REPORTED["label"] == 2], PEOPLE, resamples=20)
    assert benign.operating.empty
    assert benign.subgroups.empty
    assert (benign.decision["treat_all"] < 0).all()


def test_without_images_to_fit_on_the_probabilities_are_assessed_as_they_are():
    found = evaluation.trust.assess(None, REPORTED, PEOPLE, resamples=100)
    assert np.isnan(found.temperature)
    assert found.operating.empty
    assert found.subgroups.empty
    for name in ("reliability", "decision", "calibration"):
        own, fitted = getattr(found, name), getattr(FOUND, name)
        assert own["probabilities"].unique().tolist() == ["as they are"]
        before = fitted[fitted["probabilities"] == "as they are"].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, before)
    pd.testing.assert_frame_equal(found.roc, FOUND.roc)
    pd.testing.assert_frame_equal(found.read_off, FOUND.read_off)
    both = {"a": found, "b": FOUND}
    table = evaluation.trust.gathered(both, "operating", {"a": "nothing", "b": "200 images"})
    assert set(table["run"]) == {"b"}
    assert set(table["fitted_on"]) == {"200 images"}
    nothing = evaluation.trust.gathered({"a": found}, "subgroups")
    assert nothing.empty
    assert list(nothing)[:2] == ["run", "class"]


# --- refused ---


def test_images_that_are_fitted_on_are_refused():
    same = "300 of the 300 reported images are among those to fit on.*flatters.*another split"
    with pytest.raises(ValueError, match=same):
        evaluation.trust.assess(REPORTED, REPORTED)
    mixed = pd.concat([FITTED, REPORTED.head(2)])
    assert "2 of the 300 reported images" in evaluation.trust.refusal(mixed, REPORTED)
    assert evaluation.trust.refusal(FITTED, REPORTED) == ""


def test_other_classes_or_none_are_refused():
    words = "for melanoma, those to report for melanoma, seborrheic_keratosis, benign; expected"
    with pytest.raises(ValueError, match=words):
        evaluation.trust.assess(one_column(FITTED), REPORTED)
    benign = FITTED[FITTED["label"] == 2]
    why = evaluation.trust.refusal(one_column(benign), one_column(REPORTED))
    assert "all melanomas, or none" in why


# --- to look at ---


def test_readable_cells_by_hand():
    table = pd.DataFrame(
        {
            "class": ["a", "b", "c"],
            "n": [1, 2, 3],
            "auc": [0.81234, 0.5, np.nan],
            "auc_low": [0.7, np.nan, np.nan],
            "auc_high": [0.9, np.nan, np.nan],
            "threshold": [0.12345, 0.5, 1],
        }
    )
    shown = evaluation.trust.readable(table)
    assert shown.columns.tolist() == ["class", "n", "auc", "threshold"]
    assert shown["auc"].tolist() == ["0.812 [0.700, 0.900]", "0.500 [too few]", "undefined"]
    assert shown["threshold"].tolist() == [0.123, 0.5, 1]
    rates = evaluation.trust.readable(FOUND.read_off)["value"]
    assert rates.str.fullmatch(r"[01]\.\d+ \[.*, .*\]").all()


# --- which images are kept apart ---


@pytest.mark.parametrize("select_on", ["holdout", "validation"])
def test_selection_images_are_those_that_training_chose_on(select_on: str, demo_set: Path):
    row = replace(experiments.get("1-3", "demo"), select_on=select_on)
    expected = data.training_images(data.read(demo_set), select_on, row.seed)[1]
    pd.testing.assert_frame_equal(evaluation.trust.selection_images(demo_set, row), expected)
    # The crops of row 1-4 need not be here: they choose no epoch.
    crops = replace(row, train_list="patches")
    pd.testing.assert_frame_equal(evaluation.trust.selection_images(demo_set, crops), expected)
    with pytest.raises(errors.DataError, match="train_list='extended' needs"):
        evaluation.trust.selection_images(demo_set, replace(row, train_list="extended"))
