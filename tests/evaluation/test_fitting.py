"""On what a run's temperature and thresholds are fitted: folds of its recipe, else its hold-out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import study_folders

import experiments
from utils import evaluation
from utils.evaluation import fitting, out_of_fold
from utils.evaluation.counts import counts_of
from utils.evaluation.masks import per_image
from utils.logger.run import RunFolder


def run_of(models: Path, row: str = "3-1", **changes: object) -> RunFolder:
    """A finished run of a row as its training leaves it, of a fold if changes say so."""
    if fold := changes.pop("fold", None):
        return study_folders.of_fold(models, fold, row, **changes)
    usual = {"epochs": 2, "select_on": "holdout"}
    experiment = experiments.get(row, "best", **(usual | changes))
    make = study_folders.classifier if experiment.task == "labels" else study_folders.segmenter
    return make(models / experiment.folder(), experiment)


def experiment_of(run: RunFolder) -> experiments.Row:
    return experiments.restore(run.config["row"])


def fitted(run: RunFolder, views: str = "") -> fitting.Fitting:
    return fitting.predictions(run, experiment_of(run), views)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Three folds of row 3-1."""
    for number in (1, 2, 3):
        run_of(tmp_path / "isic2017-best", fold=f"{number}/3")
    return tmp_path / "isic2017-best"


@pytest.mark.parametrize("select_on", ["holdout", "validation"])
def test_complete_folds_come_first(models: Path, select_on: str) -> None:
    run = run_of(models, select_on=select_on)
    found = fitted(run)
    assert found.where == "180 out-of-fold predictions of 3-1"
    assert found.part == ""
    tables = [pd.read_csv(models / f"3-1-f{k}-s0/predictions-fold.csv") for k in (1, 2, 3)]
    pd.testing.assert_frame_equal(found.table, pd.concat(tables, ignore_index=True))
    # The same T as the independent fit of all of them, and said so.
    reported = pd.read_csv(run / "predictions-test.csv")
    one = evaluation.trust.assess(found.for_report(reported).table, reported, resamples=20)
    together = pd.concat(tables)
    names = evaluation.classes_in(together)
    expected = evaluation.calibration.fit_temperature(together["label"], together[names].to_numpy())
    assert one.temperature == expected
    said = f"temperature {expected:.2f}, fitted on 180 out-of-fold predictions of 3-1"
    assert found.said(one.temperature) == said


def test_the_folds_of_a_released_run_are_those_of_the_archive(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path / "released", select_on="validation")
    assert fitted(run).table is None
    monkeypatch.setattr(out_of_fold, "RELEASED", tmp_path / "released")
    monkeypatch.setattr(out_of_fold, "ARCHIVE", models.parent)
    assert fitted(run).where == "180 out-of-fold predictions of 3-1"


def test_the_hold_out_where_a_fold_is_missing_or_unfinished(models: Path) -> None:
    run = run_of(models)
    config = RunFolder(models / "3-1-f2-s0").config
    RunFolder(models / "3-1-f2-s0").save_json("config.json", config | {"finished": False})
    found = fitted(run)
    assert (found.where, found.part) == ("60 hold-out images of the run", "holdout")
    assert set(found.table["id"].str[:6]) == {"OTHER_"}
    (run / "predictions-holdout.csv").unlink()
    found = fitted(run)
    assert found.table is None
    assert "predictions-holdout.csv is missing; evaluate the run again" in found.where
    assert found.part == "holdout"


def test_a_run_on_all_images_without_folds_has_nothing(tmp_path: Path) -> None:
    found = fitted(run_of(tmp_path, select_on="validation"))
    assert found.table is None
    assert found.part == ""
    assert "trained on all training images, and its row has no complete folds" in found.where
    assert found.said() == "nothing was fitted"


@pytest.mark.parametrize("changes", [{"image_size": 160}, {"class_weights": (2.5, 2.5, 0.5)}])
def test_folds_of_another_recipe_are_not_taken(models: Path, changes: dict) -> None:
    assert fitted(run_of(models, **changes)).part == "holdout"


def test_what_changes_no_result_may_differ(models: Path) -> None:
    assert fitted(run_of(models, workers=3, keep="last")).part == ""


def test_other_views_need_folds_with_the_same(models: Path) -> None:
    run = run_of(models)
    assert fitted(run, "-1-views").part == "holdout-1-views"
    for number in (1, 2, 3):
        fold = RunFolder(models / f"3-1-f{number}-s0")
        table = pd.read_csv(fold / "predictions-fold.csv")
        fold.save_table("predictions-fold-1-views.csv", table)
    assert fitted(run, "-1-views").part == ""


def test_folds_of_another_seed_and_by_series_are_second_and_said(models: Path) -> None:
    for number in (1, 2):
        run_of(models, fold=f"series {number}/2", seed=4)
    run = run_of(models, seed=4)
    assert fitted(run).where == "180 out-of-fold predictions of 3-1, seed 0"
    config = RunFolder(models / "3-1-f2-s0").config
    RunFolder(models / "3-1-f2-s0").save_json("config.json", config | {"finished": False})
    assert fitted(run).where == "120 out-of-fold predictions of 3-1, folds by series"


def test_a_run_of_a_fold_has_its_own_images(models: Path) -> None:
    found = fitted(RunFolder(models / "3-1-f2-s0"))
    assert (found.where, found.part) == ("60 images of the run's fold", "fold")
    assert set(found.table["id"].str[:4]) == {"2/3-"}


def test_damaged_folds_and_shared_images_are_not_taken(models: Path) -> None:
    run, fold = run_of(models), RunFolder(models / "3-1-f2-s0")
    own = pd.read_csv(fold / "predictions-fold.csv")
    other = pd.read_csv(models / "3-1-f1-s0/predictions-fold.csv")
    for table in (other, own.drop(columns="id"), own.assign(melanoma=2.0)):
        fold.save_table("predictions-fold.csv", table)
        assert fitted(run).part == "holdout"
    fold.save_table("predictions-fold.csv", own)
    assert fitted(run).part == ""
    (fold / "config.json").write_text("{")
    assert fitted(run).part == "holdout"


def test_reported_images_are_not_fitted_on(models: Path) -> None:
    found = fitted(run_of(models))
    reported = found.table.head(5)
    refused = found.for_report(reported)
    assert refused.table is None
    assert "5 of the 5 reported images are among those to fit on" in refused.where
    other = reported.assign(id=[f"new{k}" for k in range(5)])
    assert found.for_report(other) == found


def test_an_ensemble_takes_the_folds_of_the_same_members(models: Path) -> None:
    def team(folder: str, *members: str) -> RunFolder:
        runs = [RunFolder(models / name) for name in members]
        return evaluation.ensembles.make(models / folder, "team", runs)

    for number in (1, 2, 3):
        run_of(models, "3-2", fold=f"{number}/3")
        team(f"team-f{number}-s0", f"3-1-f{number}-s0", f"3-2-f{number}-s0")
    both = run_of(models), run_of(models, "3-2"), run_of(models, "3-3")
    whole = team("team-s0", *(run.path.name for run in both[:2]))
    assert fitted(whole).where == "180 out-of-fold predictions of team"
    for number in (1, 2, 3):  # of an earlier version, and on another machine
        member = RunFolder(models / f"3-2-f{number}-s0")
        config = member.config
        config["row"] |= {"device": "cuda"}
        del config["row"]["zoom"], config["row"]["patch_places"]
        member.save_json("config.json", config)
    assert fitted(whole).where == "180 out-of-fold predictions of team"
    moved = (models / "3-2-f2-s0").rename(models / "3-2-f2-s0.1")
    assert fitted(whole).part == "holdout"  # whose recipe that fold had, is not known
    moved.rename(models / "3-2-f2-s0")
    other = team("team-s0", *(run.path.name for run in both))
    assert fitted(other).part == "holdout"


# --- masks ---


def thresholds_of(run: RunFolder, best: float) -> pd.DataFrame:
    """Counts of each image at each threshold: the nearer to the best one, the more hits."""
    table = pd.read_csv(run / "per-image-fold.csv")
    tables = []
    for at in evaluation.THRESHOLDS:
        hit = (table["tp"] * (1 - abs(at - best))).round().astype(int)
        moved = table.assign(threshold=at, tp=hit, fn=table["tp"] + table["fn"] - hit)
        tables.append(moved[["id", "threshold", "tp", "fp", "fn", "tn"]])
    run.save_table("thresholds-fold.csv", pd.concat(tables))
    return pd.concat(tables)


def test_the_threshold_that_out_of_fold_images_would_choose(tmp_path: Path) -> None:
    run = run_of(tmp_path, "seg-6")
    assert fitting.mask_threshold(run, experiment_of(run), 0.5) is None
    folds = [run_of(tmp_path, "seg-6", fold=f"{number}/2") for number in (1, 2)]
    assert fitting.mask_threshold(run, experiment_of(run), 0.5) is None  # no counts yet
    table = pd.concat([thresholds_of(fold, 0.35) for fold in folds])
    found = fitting.mask_threshold(run, experiment_of(run), 0.5)
    assert (found.best, found.used, found.where) == (0.35, 0.5, "120 out-of-fold images of seg-6")
    means = [
        per_image(counts_of(table[np.isclose(table["threshold"], at)]))["jaccard"].mean()
        for at in (0.35, 0.5)
    ]
    assert (found.gain.first, found.gain.second) == pytest.approx(tuple(means))
    assert 0 < found.gain.low < found.gain.value < found.gain.high
    assert fitting.mask_threshold(run, experiment_of(run), 0.42).used == 0.5
    # The same counts as reported ones: the same gain in both columns.
    line = fitting.proposed({"run": found}, {"run": table}).loc["run"]
    assert (line["used"], line["proposed"], line["by"]) == ("0.50", "0.35", found.where)
    assert line["gain here"] == line["gain there"]
    assert line["gain here"].startswith(f"{means[0] - means[1]:+.3f} [")
    assert line["Jaccard here"] == f"{means[0]:.3f}, used: {means[1]:.3f}"
    changed = replace(experiment_of(run), clean_up=False)
    assert fitting.mask_threshold(run, changed, 0.5) is None
    assert fitting.mask_threshold(folds[0], experiment_of(folds[0]), 0.5) is None


def test_folds_are_grouped_by_row_kind_seed_and_number(models: Path) -> None:
    run_of(models, fold="series 2/2")
    groups = out_of_fold.grouped(out_of_fold.beside(RunFolder(models / "3-1-f1-s0")))
    found = {(one.kind, one.folds, len(one.runs), one.complete) for one in groups}
    assert found == {("by chance", 3, 3, True), ("by series", 2, 1, False)}
