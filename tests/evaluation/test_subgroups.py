"""Subgroups by hand; every image is in one group of each kind; small groups are marked."""

import numpy as np
import pandas as pd
import pytest
from people import study
from sklearn.metrics import roc_auc_score

from utils.data.splits import CLASSES
from utils.evaluation import subgroups
from utils.evaluation.conventions import classification_scores
from utils.evaluation.intervals import wilson

THRESHOLDS = {"melanoma": 0.4, "seborrheic_keratosis": 0.4}


def test_ages_by_hand():
    ages = pd.Series([0, 39, 39.9, 40, 59.5, 60, 85, np.nan, "unknown", -1, "45"])
    assert subgroups.age_groups(ages).tolist() == [
        "under 40", "under 40", "under 40", "40 to 59", "40 to 59", "60 and over", "60 and over",
        "unknown", "unknown", "unknown", "40 to 59",
    ]  # fmt: skip


def test_what_is_neither_female_nor_male_is_unknown():
    found = subgroups.sexes(pd.Series(["female", "male", "unknown", "", None, np.nan]))
    assert found.tolist() == ["female", "male", *["unknown"] * 4]


def test_whether_anything_is_known():
    nothing = pd.DataFrame({"age": [np.nan, np.nan], "sex": ["unknown", "unknown"]})
    assert not subgroups.is_known(None)
    assert not subgroups.is_known(nothing)
    assert subgroups.is_known(nothing.assign(age=[np.nan, 40.0]))
    assert subgroups.is_known(nothing.assign(sex=["male", "unknown"]))


def test_groups_by_hand():
    table = pd.DataFrame(
        {"id": list("abcd"), "label": [0, 2, 0, 2], "melanoma": [0.9, 0.2, 0.1, 0.6]}
    )
    people = pd.DataFrame(
        {"id": list("dcbax"), "age": [70, np.nan, 30, 30, 50], "sex": ["male"] * 2 + ["female"] * 3}
    )
    found = subgroups.subgroups(table, people, {"melanoma": 0.5}).set_index("group")
    assert found.index.tolist() == [
        "all images", "female", "male", "under 40", "60 and over", "unknown",
    ]  # fmt: skip
    assert found["by"].tolist() == ["", "sex", "sex", "age", "age", "age"]
    assert found["n"].tolist() == [4, 2, 2, 2, 1, 1]
    assert found["positives"].tolist() == [2, 1, 1, 1, 0, 1]
    assert found["auc"].iloc[:4].tolist() == [1 / 2, 1, 0, 1]
    assert found["auc"].iloc[4:].isna().all()
    assert found["sensitivity"].iloc[:4].tolist() == [1 / 2, 1, 0, 1]
    assert found["specificity"].iloc[:5].tolist() == [1 / 2, 1, 0, 1, 0]
    assert found["small"].all()
    assert found[["auc_low", "auc_high"]].isna().to_numpy().all()
    interval = found.loc["female", ["sensitivity_low", "sensitivity_high"]]
    assert tuple(interval) == pytest.approx(wilson(1, 1))


def test_each_kind_of_group_holds_every_image_once():
    table, people = study()
    found = subgroups.subgroups(table, people, THRESHOLDS)
    assert found.columns.tolist() == subgroups.COLUMNS
    for (_, by), part in found.groupby(["class", "by"]):
        assert part["n"].sum() == 400, by
        assert part["group"].is_unique
    assert {"unknown"} <= set(found.loc[found["by"] == "sex", "group"])
    assert {"unknown"} <= set(found.loc[found["by"] == "age", "group"])


def test_scores_of_a_group_are_those_of_its_images():
    table, people = study()
    found = subgroups.subgroups(table, people, THRESHOLDS).set_index(["class", "group"])
    women = table[table["id"].isin(people.loc[people["sex"] == "female", "id"])]
    truth, score = women["label"] == 1, women["seborrheic_keratosis"]
    line = found.loc[("seborrheic_keratosis", "female")]
    assert (line["n"], line["positives"]) == (len(women), truth.sum())
    assert line["auc"] == pytest.approx(roc_auc_score(truth, score))
    assert line["sensitivity"] == pytest.approx((score[truth] > 0.4).mean())
    assert line["specificity"] == pytest.approx((score[~truth] <= 0.4).mean())


def test_all_images_have_the_interval_of_the_score_file():
    table, people = study()
    found = subgroups.subgroups(table, people, THRESHOLDS).set_index(["class", "group"])
    scores = classification_scores(table["label"], table[list(CLASSES)])["official"]
    for name in THRESHOLDS:
        line = found.loc[(name, "all images")]
        assert line[["auc", "auc_low", "auc_high"]].tolist() == [*scores[name]["auc"].values()]


def test_small_groups_are_marked_and_have_no_interval_of_the_auc():
    table, people = study()
    found = subgroups.subgroups(table, people, THRESHOLDS)
    few = (found["positives"] < 10) | (found["n"] - found["positives"] < 10)
    assert found["small"].tolist() == few.tolist()
    assert 0 < few.sum() < len(few)
    assert found["auc_low"].isna().tolist() == few.tolist()
    assert found["sensitivity_low"].notna().all()


def test_keratosis_is_left_out_where_there_are_few():
    table, people = study()
    fewer = table[(table["label"] != 1) | ((table["label"] == 1).cumsum() <= 9)]
    found = subgroups.subgroups(fewer, people, THRESHOLDS)
    assert found["class"].unique().tolist() == ["melanoma"]
    found = subgroups.subgroups(table, people, {"melanoma": 0.4})
    assert found["class"].unique().tolist() == ["melanoma"]


def test_images_without_a_row_or_with_two_are_refused():
    table, people = study(20)
    words = "no age and sex for ISIC_0000003; give a row for each image"
    with pytest.raises(ValueError, match=words):
        subgroups.subgroups(table, people[people["id"] != "ISIC_0000003"], THRESHOLDS)
    twice = pd.concat([people, people[people["id"] == "ISIC_0000003"]])
    with pytest.raises(ValueError, match="two rows of age and sex for ISIC_0000003; keep one"):
        subgroups.subgroups(table, twice, THRESHOLDS)
