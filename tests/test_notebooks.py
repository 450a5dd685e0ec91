"""The notebook runs three ways, from any folder, twice in a row with the same outcome."""

import itertools
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from ways import RUN_FILES, contents, outputs, papermill, run, script

import experiments
import nets
from study import outcome
from study.notebooks import check_parameters
from utils import data, loss

NOTEBOOK = data.PROJECT / "ARL-CNN.ipynb"
OUTPUTS = RUN_FILES | {"predictions-test.csv", "predictions-validation.csv", "scores-test.json"}


def test_papermill_with_other_parameters_from_another_folder(
    demo_set: Path, tmp_path: Path
) -> None:
    options = {"experiment": "2-2", "epochs": "1", "image_size": "64", "data_dir": str(demo_set),
               "run_dir": str(tmp_path / "run")}  # fmt: skip
    executed = papermill(NOTEBOOK.name, tmp_path, **options)
    assert {path.name for path in (tmp_path / "run").iterdir()} == OUTPUTS
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert (config["row"]["loss"], config["row"]["epochs"]) == ("focal", 1)
    figures = list((tmp_path / "run/figures").glob("*.png"))
    assert len(outputs(executed, "image/png")) == len(figures) == 4
    assert not outputs(executed, "stderr")
    printed = "".join(outputs(executed, "stdout"))
    assert "epoch 1/1  loss" in printed
    assert "synthetic demo data" in printed


def test_a_converted_script_in_another_folder_twice_in_a_row(
    demo_set: Path, tmp_path: Path
) -> None:
    where = {"data_dir": str(demo_set), "run_dir": str(tmp_path / "run")}
    file = script(NOTEBOOK.name, tmp_path, experiment="1-3", epochs=2, image_size=64, **where)
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    printed = run([sys.executable, str(file)], elsewhere)
    assert "epoch 2/2  loss" in printed
    assert not list(elsewhere.iterdir())
    first = contents(tmp_path / "run")
    assert "run/predictions-test.csv" in first
    (tmp_path / "run/predictions-validation.csv").unlink()  # early runs lack it: it is made again
    again = run([sys.executable, str(file)], elsewhere)
    assert "is finished after 2 epochs; nothing to train" in again
    assert contents(tmp_path / "run") == first
    for part in ("test", "validation"):
        table = pd.read_csv(tmp_path / f"run/predictions-{part}.csv")
        assert table.columns.tolist() == ["id", "label", *data.CLASSES]
        assert len(table) == 8


def test_the_command_that_converts_writes_what_these_tests_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "script", str(NOTEBOOK)]
    run([*command, "--output-dir", str(tmp_path / "by command")], tmp_path)
    written = (tmp_path / "by command/ARL-CNN.py").read_bytes()
    assert written == script(NOTEBOOK.name, tmp_path).read_bytes()


@pytest.mark.slow  # tests/test_loaders.py spawns workers each time
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_start_from_a_converted_script(method: str, demo_set: Path, tmp_path: Path) -> None:
    first = f"import multiprocessing\nmultiprocessing.set_start_method({method!r})\n"
    where = {"data_dir": str(demo_set), "run_dir": str(tmp_path / "run")}
    small = {"experiment": "1-3", "epochs": 1, "image_size": 32, "workers": 1}
    file = script(NOTEBOOK.name, tmp_path, first, **small, **where)
    printed = run([sys.executable, str(file)], tmp_path)
    assert printed.count("epoch 1/1  loss") == 1
    assert (tmp_path / "run/scores-test.json").exists()


def test_a_wrong_parameter_is_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match=r"ARL-CNN.ipynb has no parameter epoch; it has experim"):
        check_parameters(NOTEBOOK, {"experiment": "1-3", "epoch": 3})
    evaluation = outcome.EVALUATION[experiments.ClassificationRow]
    with pytest.raises(ValueError, match=r"Evaluation-Cls.ipynb has no parameter run; it has runs"):
        check_parameters(evaluation, {"run": "1-3"})


def test_every_row_of_every_profile_can_be_built() -> None:
    for name, profile in itertools.product(experiments.classification.ROWS, experiments.PROFILES):
        row = experiments.get(name, profile, weights="none")
        with torch.device("meta"):
            nets.build(row.network, row.num_classes, row.weights, **row.network_options())
        loss.build(row.loss, row.class_weights, row.gamma)
