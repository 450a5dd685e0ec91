"""Figures of 2 to 20 classes: complete, nothing cut off, no two classes alike."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
import pytest
from figures import NOTE, TITLE, check, legend, photos
from made_up import answers_of
from matplotlib.figure import Figure

from utils import evaluation, visualize
from utils.evaluation import conventions, ranking, score_tables, trust
from utils.visualize import figures, single_cases, thresholds

NAMES = ("melanoma", "actinic_keratosis", "basal_cell_carcinoma", "benign_keratosis",
         "dermatofibroma", "nevus", "vascular_lesion", "squamous_cell_carcinoma",
         "lentigo", "seborrheic_keratosis", "unknown", "wart", "scar", "cyst", "lipoma",
         "hemangioma",
         "atypical_melanocytic_proliferation", "spitz_nevus", "blue_nevus", "other")  # fmt: skip
SETS = {2: ("mole", "wart"), 3: ("mole", "scar", "wart"), 7: NAMES[:7], 12: NAMES[:12], 20: NAMES}


@cache
def answers(count: int) -> pd.DataFrame:
    return answers_of(SETS[count], 300)


@cache
def assessed(count: int) -> trust.Assessment:
    table = answers(count)
    people = table[["id"]].assign(age=np.arange(len(table)) % 90, sex="female")
    return trust.assess(answers_of(SETS[count], 300, 1), table, people, 20)


def curves(count: int, draw: str) -> Figure:
    table, names = answers(count), SETS[count]
    made = getattr(evaluation, draw)(table["label"], table[list(names)], 20, classes=names)
    return getattr(visualize, draw)(made, TITLE, NOTE)


def forest(count: int) -> Figure:
    names, runs = SETS[count], {}
    for seed in range(2):
        table = answers_of(names, 150, seed)
        given = table["label"], table[list(names)]
        runs[f"3-1-s{seed}"] = conventions.classification_scores(*given, 10, classes=names)
    return visualize.score_intervals(score_tables.label_points(runs, {}), TITLE, NOTE)


def learning(count: int) -> Figure:
    lines = []
    for epoch in range(1, 4):
        table = answers_of(SETS[count], 150, skill=epoch / 2)
        given = table["label"], table[list(SETS[count])]
        scores = evaluation.epoch_scores(*given, classes=SETS[count])
        lines.append({"epoch": epoch, "learning_rate": 0.1, "loss": 1 / epoch} | scores)
    return visualize.learning_curves(pd.DataFrame(lines), "auc_mean", TITLE, NOTE)


def threshold(count: int) -> Figure:
    decisions = thresholds.decisions(answers(count))
    assert [*decisions] == [*SETS[count]]
    name = SETS[count][-1]
    return thresholds.threshold_figure(decisions[name], 0.3, name, TITLE, NOTE)


def confusion(count: int) -> Figure:
    table = answers(count)
    names = visualize.answer_names(table)
    return visualize.confusion_matrices(visualize.confusion(table), TITLE, NOTE, names)


def gallery(count: int) -> Figure:
    cases = ranking.confident_mistakes(answers(count), 6)
    return visualize.prediction_gallery(photos(len(cases)), cases, TITLE, NOTE)


def maps(count: int) -> Figure:
    cases = answers(count).sort_values("label", ascending=False).head(2)
    heat = {"class activation\n7×7 cells": [np.eye(7)] * 2}
    return visualize.heat_maps(photos(2), heat, single_cases.captions(cases), TITLE, NOTE)


FIGURES = {
    "roc": lambda count: curves(count, "roc_curves"),
    "precision and recall": lambda count: curves(count, "precision_recall_curves"),
    "confusion": confusion,
    "forest": forest,
    "learning": learning,
    "threshold": threshold,
    "gallery": gallery,
    "maps": maps,
    "reliability": lambda c: visualize.reliability_diagram(assessed(c).reliability, TITLE, NOTE),
    "decision": lambda c: visualize.decision_curves(assessed(c).decision, TITLE, NOTE),
    "operating": lambda c: visualize.operating_points(
        assessed(c).roc, assessed(c).operating, TITLE, NOTE
    ),
    "subgroups": lambda c: visualize.subgroup_forest(assessed(c).subgroups, TITLE, NOTE),
}


@pytest.mark.parametrize("count", SETS)
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_complete_and_its_texts_are_apart(name: str, count: int) -> None:
    check(lambda: FIGURES[name](count))


def test_no_two_of_twenty_classes_look_alike() -> None:
    looks = [tuple(figures.class_look(number).values()) for number in range(20)]
    assert len(set(looks)) == 20


def listed(figure: Figure) -> Sequence[str]:
    return [text.partition(":")[0] for text in legend(figure.axes[0])]


def test_curves_name_their_classes() -> None:
    assert listed(FIGURES["roc"](7)) == [*(name.replace("_", " ") for name in NAMES[:7]), "chance"]
    two = FIGURES["roc"](2)
    assert listed(two) == ["mole", "wart", "chance"]
    assert len(two.axes) == 1  # the pooled curves of two classes would say nothing more


def test_a_gallery_shows_the_truth_and_the_most_probable() -> None:
    table = answers(20).head(1)
    figure = visualize.prediction_gallery(photos(1), table, TITLE, NOTE)
    shown = [text.get_text() for text in figure.axes[4].texts][::2]
    order = table[list(NAMES)].iloc[0].sort_values(ascending=False).index
    truth = NAMES[table["label"].iloc[0]]
    expected = {truth, *[name for name in order if name != truth][:5]}
    assert {name.replace(" ", "_") for name in shown} == expected


def test_what_one_logit_does_not_name_comes_from_the_set() -> None:
    table = answers_of(SETS[7], 20, columns=1).head(2).assign(label=[0, 4])
    names = single_cases.captions(table, SETS[7])
    assert [text.splitlines()[1] for text in names] == ["truth: melanoma", "truth: dermatofibroma"]
    figure = visualize.prediction_gallery(photos(2), table, TITLE, NOTE, SETS[7])
    assert [axis.get_title().splitlines()[1] for axis in figure.axes[:2]] == [
        "melanoma",
        "dermatofibroma",
    ]
