"""A classifier that sees the lesion's box: trained, evaluated, cross-validated, planned."""

import json
import shutil
from pathlib import Path

import fold_segmenters
import pandas as pd
import pytest
from ways import outputs, papermill

import experiments
import nets
from study import folds, outcome, plan
from utils import data, evaluation, logger


@pytest.fixture
def folder(demo_set: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_set, tmp_path / "demo"))


@pytest.fixture
def models(folder: Path, tmp_path: Path) -> Path:
    """Three folds of Otsu's threshold, which finds the lesions of the demo set."""
    models = tmp_path / "model" / "demo-demo"
    three = [nets.build("otsu", 1) for _ in range(3)]
    fold_segmenters.make(models, folder, three, network="otsu")
    return models


@pytest.mark.slow
def test_it_is_trained_and_evaluated_on_its_own_store(
    folder: Path, models: Path, tmp_path: Path
) -> None:
    small = {"epochs": 1, "image_size": 64, "workers": 0, "weights": "none"}
    made = {"data_dir": folder, "run_dir": models / "3-5-s0", "crop_from": models / "seg-6"}
    executed = papermill("ARL-CNN.ipynb", tmp_path, experiment="3-5", **small, **made)
    assert not outputs(executed, "stderr")
    printed = "".join(outputs(executed, "stdout"))
    assert "boxes of demo-seg-6: 40 images, 0 without a plausible lesion" in printed
    config = json.loads((models / "3-5-s0/config.json").read_text())
    assert config["row"]["crop_from"] == f"{models}/seg-6"
    assert len(config["data"]["segmenter"]) == 16
    own = config["data"]["segmenter"][:8]
    store = data.open_store(folder / f"prepared-80-demo-seg-6-{own}")
    assert len(store.index) == 40
    # The boxes of Otsu's lesions are not the whole image, and hold more lesion than it does.
    boxes = pd.read_csv(folder / f"boxes-demo-seg-6-{own}.csv")
    assert boxes["found"].all()
    assert (boxes["width"] * boxes["height"]).mean() < 0.8
    whole = data.prepare(folder, data.read(folder), 80)
    shares = [sum((kept.mask(k) > 0).mean() for k in range(40)) / 40 for kept in (store, whole)]
    assert shares[0] > 1.2 * shares[1]

    shutil.copytree(models / "3-5-s0", models / "3-5-s1")
    both = [logger.RunFolder(models / name) for name in ("3-5-s0", "3-5-s1")]
    evaluation.ensembles.make(models / "team-s0", "team", both)
    where = {"runs": f"{models / '3-5-s0'},{models / 'team-s0'}", "data_dir": folder}
    executed = papermill("Evaluation-Cls.ipynb", tmp_path, **where)
    assert not outputs(executed, "stderr")
    printed = "".join(outputs(executed, "stdout"))
    assert "boxes of demo-seg-6: 8 images" in printed
    figures = {path.name for path in (models / "evaluation-cls-test/figures").iterdir()}
    assert {"maps-3-5-s0.png", "least-certain-cases-team-s0.png"} <= figures


@pytest.mark.slow
def test_a_fold_is_trained_and_scored(folder: Path, models: Path, tmp_path: Path) -> None:
    small = {"epochs": 1, "image_size": 64, "workers": 0, "weights": "none", "fold": "2/3"}
    made = {"data_dir": folder, "run_dir": models / "3-5-f2-s0", "crop_from": models / "seg-6"}
    executed = papermill("ARL-CNN.ipynb", tmp_path, experiment="3-5", **small, **made)
    assert not outputs(executed, "stderr")
    assert len(pd.read_csv(models / "3-5-f2-s0/predictions-fold.csv")) == 8


def test_boxes_are_planned_before_what_needs_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.system.project.PROJECT", tmp_path)
    three = folds.names(3)
    both = plan.plan(["3-5", "seg-6"], [0], "demo", folder, folds=three)
    waits = {run.job.name: run.job.after for run in both.runs}
    assert waits["3-5-f1-s0"] == ("seg-6-f1-s0", "seg-6-f2-s0", "seg-6-f3-s0")
    assert waits["seg-6-f1-s0"] == ()
    alone = plan.plan(["3-5", "3-1"], [0], "demo", folder)
    assert [run.job.name for run in alone.runs] == ["3-1-s0"]
    assert "make what is missing with python reproduce.py seg-6" in alone.refused["3-5-s0"]
    fold_segmenters.make(logger.models_of(folder, "demo"), folder)
    ready = plan.plan(["3-5"], [0], "demo", folder)
    assert ([run.job.name for run in ready.runs], ready.refused) == (["3-5-s0"], {})


def test_all_rows_are_those_that_need_no_folds_of_another() -> None:
    every = {name for name in experiments.ROWS if "best" in experiments.profiles(name)}
    assert every - {*outcome.names_of(["all"], "best")} == {"3-5"}
    assert {*outcome.names_of(["all", "3-5"], "best")} == every
    assert {*outcome.names_of(["all"], "best", finished=True)} == every
