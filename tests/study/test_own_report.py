"""Runs on classes of one's own in everything that reads runs: report, folds, ensembles, card."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import study_folders
import torch
from huggingface_hub import ModelCard
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

import experiments
from study import card, ensembles, report
from study import folds as of_folds
from study.report import entries, pairs
from utils import model
from utils.evaluation import fitting, out_of_fold, score_files
from utils.logger.run import RunFolder

NAMES = ("melanoma", "basal_cell_carcinoma", "nevus", "scar", "wart")


def row(name: str, **changes: object) -> experiments.Row:
    return experiments.get(name, "light", epochs=2, classes=NAMES, **changes)


def areas(table: pd.DataFrame) -> list[float]:
    """Of each class, by scikit-learn."""
    return [roc_auc_score(table["label"] == k, table[name]) for k, name in enumerate(NAMES)]


@pytest.fixture(scope="module")
def models(mktemp: Callable[[str], Path]) -> Path:
    """Rows 3-1 with three folds, 3-3 and 3-2, and an ensemble of the first two."""
    folder = mktemp("model") / "mine-light"
    for name, skill in (("3-1", 1.5), ("3-2", 0.3), ("3-3", 1.0)):
        study_folders.classifier(folder / f"{name}-s0", row(name), skill)
    for number in (1, 2, 3):
        fold = row("3-1", fold=f"{number}/3")
        run = study_folders.classifier(folder / fold.folder(), fold, 1.0)
        table = study_folders.predictions(1.0, number, classes=5, names=NAMES)
        ids = [f"{number}-{k}" for k in range(len(table))]
        run.save_table("predictions-fold.csv", table.assign(id=ids))
    runs = {name: RunFolder(folder / name) for name in ("3-1-s0", "3-3-s0")}
    ensembles.make(ensembles.Wanted.parse("team=3-1,3-3"), runs)
    return folder


@pytest.fixture(scope="module")
def page(models: Path, mktemp: Callable[[str], Path]) -> str:
    """The text of the report on the rows, where the images are no longer there."""
    mine = mktemp("data") / "mine"
    (mine / "images").mkdir(parents=True)
    (mine / "labels.csv").write_text("image,label\n")
    named = ("3-1-s0", "3-2-s0", "3-3-s0", "team-s0")
    runs = {name: RunFolder(models / name) for name in named}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "RESAMPLES", 500)
        text = report.write(runs, mine, "test").read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"<style.*?</style>|<[^>]+>", " ", text, flags=re.DOTALL))


def test_the_report_knows_these_classes_alone(page: str) -> None:
    for words in (
        "Nothing was published about mine",
        "AUC melanoma",
        "Reliability, melanoma",
        "The images could not be counted",
    ):
        assert words in page, words
    for words in ("seborrheic", "coursework", "challenge", "117 melanomas"):
        assert words not in page, words


def test_rows_are_compared_by_the_macro_area_and_the_class_that_matters(
    page: str, models: Path
) -> None:
    table = {n: pd.read_csv(models / f"{n}-s0/predictions-test.csv") for n in ("3-1", "3-2")}
    gain = np.mean(areas(table["3-2"])) - np.mean(areas(table["3-1"]))
    assert re.search(rf"mean AUC [\d. ]+ {gain:.3f}".replace("-", "−"), page)
    first = areas(table["3-2"])[0] - areas(table["3-1"])[0]
    assert f"{first:.3f}".replace("-", "−") in page
    assert "accuracy" in page
    assert "The highest mean AUC of 4 classifiers is that of row 3-1" in page


def test_folds_give_the_macro_area_and_what_is_fitted(page: str, models: Path) -> None:
    (folds,) = out_of_fold.grouped(out_of_fold.beside(RunFolder(models / "3-1-s0")))
    each = of_folds.scores(folds)
    assert each.columns.tolist() == [*(f"auc_{name}" for name in NAMES), "auc_mean"]
    together = of_folds.together(folds)
    assert f"{np.mean(areas(together)):.3f} [" in page
    found = fitting.predictions(RunFolder(models / "3-1-s0"), row("3-1"))
    assert found.said(1.0).endswith("fitted on 180 out-of-fold predictions of 3-1")


def test_an_ensemble_is_a_row_of_its_own_in_the_report(models: Path, page: str) -> None:
    assert "3 rows of the experiment table and 1 ensemble (4 classifiers)" in page
    assert "Nothing was trained for team-s0, the mean of 3-1, 3-3." in page
    assert "Learning curves of team-s0" not in page
    found, left_out = pairs.paired_tests(
        {
            name: [entries.read(f"{name}-s0", RunFolder(models / f"{name}-s0"), "test", "mine")]
            for name in ("3-1", "team", "3-2", "3-3")
        },
        {"3-2": "3-1"},
    )
    assert not left_out
    main = [(test.row, test.other) for test in found if test.main]
    assert main == [("3-2", "3-1"), ("team", "3-1"), ("team", "3-3")]
    for test in found:
        if test.main and test.row == "team":
            tables = (
                pd.read_csv(models / f"{n}-s0/predictions-test.csv") for n in ("team", test.other)
            )
            mine, theirs = (np.mean(areas(table)) for table in tables)
            assert test.first - test.second == pytest.approx(mine - theirs)


def test_an_ensemble_averages_all_classes(models: Path) -> None:
    made, *parts = (
        pd.read_csv(models / f"{name}-s0/predictions-test.csv") for name in ("team", "3-1", "3-3")
    )
    mean = np.mean([part[list(NAMES)] for part in parts], axis=0)
    np.testing.assert_allclose(made[list(NAMES)], mean, rtol=1e-12)
    scores = score_files.read(models / "team-s0/scores-test.json")["one_vs_rest"]
    assert scores["mean_auc"]["value"] == pytest.approx(np.mean(areas(made)))
    balanced = balanced_accuracy_score(made["label"], made[list(NAMES)].to_numpy().argmax(axis=1))
    assert scores["balanced_accuracy"]["value"] == pytest.approx(balanced)


def test_the_card_names_these_classes_and_claims_nothing_of_isic(models: Path) -> None:
    run = RunFolder(models / "3-3-s0")
    run.save_json("config.json", run.config | {"network": {"parameters": 3_400_000}})
    scores = json.loads((run / "scores-test.json").read_text())
    run.save_json("scores-test.json", scores | {"selected_on": ""})
    model.save_weights(torch.nn.Linear(2, 2), run / "best.safetensors")
    ids = pd.read_csv(run / "predictions-test.csv", converters={"id": str})["id"]
    people = pd.DataFrame({"id": ids, "age": 50.0, "sex": "female"})
    read = ModelCard(card.of(run, people))
    assert read.data.license == "other"
    assert "probabilities of melanoma, basal cell carcinoma, nevus, scar and wart." in read.text
    results = {result.metric_type: result.metric_value for result in read.data.eval_results}
    assert {"mean_auc", "balanced_accuracy", "auc_basal_cell_carcinoma"} <= results.keys()
    for words in ("ISIC", "isic", "CC-0", "Three diagnoses", "Cross-validation"):
        assert words not in str(read), words
