"""The notebook runs three ways, from any folder, twice in a row with the same outcome."""

import itertools
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import small_run
import small_seg
import torch
from ways import RUN_FILES, checkout, contents, outputs, papermill, run, script

import experiments
import nets
from study.notebooks import EVALUATION, check_parameters
from utils import data, logger, loss
from utils.system.errors import RunError
from utils.system.project import PROJECT

NOTEBOOK = PROJECT / "ARL-CNN.ipynb"
OUTPUTS = RUN_FILES | {"predictions-test.csv", "predictions-validation.csv", "scores-test.json"}


@pytest.mark.whole
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


@pytest.fixture
def two_classes(demo_set: Path, tmp_path: Path) -> Path:
    """The demo set without seborrheic keratoses: they become benign."""
    folder = Path(shutil.copytree(demo_set, tmp_path / "two"))
    for file in folder.glob("*_Part3_GroundTruth.csv"):
        file.write_text(re.sub(r",1$", ",0", file.read_text(), flags=re.MULTILINE))
    return folder


@pytest.mark.slow
def test_two_classes_serve_row_1_4(two_classes: Path, tmp_path: Path) -> None:
    made = {"data_dir": two_classes, "run_dir": tmp_path / "run", "epochs": 1, "image_size": 64}
    executed = papermill(NOTEBOOK.name, tmp_path, experiment="1-4", **made)
    assert "epoch 1/1  loss" in "".join(outputs(executed, "stdout"))
    where = {"runs": tmp_path / "run", "data_dir": two_classes}
    executed = papermill("Evaluation-Cls.ipynb", tmp_path, **where)
    assert not outputs(executed, "stderr")


@pytest.mark.slow
def test_masks_without_labels_serve_a_segmenter(demo_set: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(demo_set, tmp_path / "masks"))
    for file in folder.glob("*_Part3_GroundTruth.csv"):
        file.unlink()
    made = {"data_dir": folder, "run_dir": tmp_path / "run", "epochs": 1, "image_size": 32}
    executed = papermill("Segmentation.ipynb", tmp_path, experiment="seg-1", **made)
    assert "epoch 1/1  loss" in "".join(outputs(executed, "stdout"))
    where = {"runs": tmp_path / "run", "data_dir": folder}
    executed = papermill("Evaluation-Seg.ipynb", tmp_path, **where)
    assert not outputs(executed, "stderr")


@pytest.mark.whole
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


@pytest.mark.slow  # tests/data/test_loaders.py spawns workers each time
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
    evaluation = EVALUATION["labels"]
    with pytest.raises(ValueError, match=r"Evaluation-Cls.ipynb has no parameter run; it has runs"):
        check_parameters(evaluation, {"run": "1-3"})


def test_every_row_of_every_profile_can_be_built() -> None:
    for name, profile in itertools.product(experiments.classification.ROWS, experiments.PROFILES):
        row = experiments.get(name, profile, weights="none")
        with torch.device("meta"):
            options = row.network_options(nets.options(row.network))
            nets.build(row.network, row.num_classes, row.weights, **options)
        loss.build(row.loss, row.class_weights, row.gamma)


# --- rows and runs of the other task ---


def first_cells(notebook: str, number: int, **parameters: object) -> dict:
    """What the first cells of code leave behind, with these parameters."""
    cells = nbformat.read(PROJECT / notebook, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    left: dict = {}
    exec(code[0], left)
    left |= parameters
    exec("\n".join(code[1:number]), left)
    return left


@pytest.mark.parametrize(
    ("notebook", "experiment", "said"),
    [
        ("ARL-CNN.ipynb", "seg-6", r"'seg-6' is trained by Segmentation.ipynb: open .* 1-1, 1-2"),
        ("ARL-CNN.ipynb", " SEG-6", r"row ' SEG-6' is trained by Segmentation.ipynb"),
        ("Segmentation.ipynb", "1-3", r"'1-3' is trained by ARL-CNN.ipynb: open .* seg-1, seg-2"),
        ("ARL-CNN.ipynb", None, r"no row called None; the rows are 1-1, .*, 4-2\."),
        ("ARL-CNN.ipynb", 13, r"no row called 13; the rows are 1-1, .*, 4-2\."),
        ("Segmentation.ipynb", "", r"no row called ''; the rows are seg-1, .*, seg-8\."),
        ("Segmentation.ipynb", ["seg-1"], r"no row called \['seg-1'\]; the rows are seg-1"),
    ],
)
def test_a_row_of_another_notebook_is_said_before_anything_is_made(
    notebook: str, experiment: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(data.splits, "locate")  # it may draw the demo set
    with pytest.raises(ValueError, match=said):
        first_cells(notebook, 2, experiment=experiment)


@pytest.fixture(scope="module")
def models(demo_set: Path, mktemp: Callable[[str], Path]) -> Path:
    """Finished runs of both tasks side by side."""
    models = mktemp("model")
    small_run.finished(demo_set, models / "demo-demo/1-3-s0", image_size=32)
    small_seg.finished(demo_set, models / "demo-demo/seg-4-s0")
    return models


@pytest.fixture
def with_models(models: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The evaluation notebooks look for runs in there, on the small demo set."""
    find = logger.find
    monkeypatch.setattr(logger, "find", lambda *a, **b: find(*a, models=models, **b))
    monkeypatch.setenv("ISIC2017_DIR", str(demo_set))
    return models


@pytest.mark.usefixtures("with_models")
@pytest.mark.parametrize(
    ("notebook", "own"), [("Evaluation-Cls.ipynb", "1-3-s0"), ("Evaluation-Seg.ipynb", "seg-4-s0")]
)
def test_by_default_an_evaluation_takes_the_runs_of_its_task(notebook: str, own: str) -> None:
    assert list(first_cells(notebook, 2)["chosen"]) == [own]


@pytest.mark.parametrize(
    ("notebook", "wanted", "said"),
    [
        ("Evaluation-Cls.ipynb", "seg-6", r"seg-6 is a run of row seg-6, which Evaluation-Seg.ip"),
        ("Evaluation-Cls.ipynb", "1-3,seg-4", r"seg-4 is a run of row seg-4, which Evaluation-Seg"),
        ("Evaluation-Seg.ipynb", "1-3-s0", r"1-3-s0 is a run of row 1-3, which Evaluation-Cls.ipy"),
        ("Evaluation-Seg.ipynb", "2-4", r"2-4 is a run of row 2-4, which Evaluation-Cls.ipynb eva"),
        ("Evaluation-Seg.ipynb", "{models}/demo-demo/1-3-s0", r"1-3-s0 is a run .* Evaluation-Cls"),
        ("Evaluation-Cls.ipynb", "isic2017-best/seg-2-s3", r"seg-2-s3 is a run of row seg-2, whic"),
    ],
)
def test_a_run_of_the_other_task_is_answered_with_the_notebook_that_evaluates_it(
    notebook: str, wanted: str, said: str, with_models: Path
) -> None:
    with pytest.raises(RunError, match=said):
        first_cells(notebook, 2, runs=wanted.format(models=with_models))


@pytest.mark.usefixtures("with_models")
@pytest.mark.parametrize(
    ("notebook", "parameters", "command"),
    [
        ("Segmentation.ipynb", {"experiment": "seg-5", "encoder_from": "1-2-s7"}, "1-2"),
        ("Evaluation-Cls.ipynb", {"runs": "2-1-s5"}, "2-1 --profile .*--seeds 5"),
        ("Evaluation-Seg.ipynb", {"runs": "seg-1-s5"}, "seg-1"),
    ],
)
def test_a_missing_run_is_answered_with_the_command_that_makes_it_before_any_work(
    notebook: str,
    parameters: dict[str, str],
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for where in (data, data.store):
        monkeypatch.setattr(where, "prepare", lambda *_: pytest.fail("work has begun"))
    missing = parameters.get("runs") or parameters["encoder_from"]
    if notebook == "Segmentation.ipynb":
        parameters = parameters | {"run_dir": str(tmp_path / "run")}
    with pytest.raises(
        RunError, match=rf"no run '{missing}'; make it with\n    python reproduce\.py {command}"
    ):
        first_cells(notebook, 4, **parameters)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two trainings, six notebooks
def test_after_the_demo_every_notebook_runs_with_its_default_parameters(
    demo_set: Path, tmp_path: Path
) -> None:
    project = checkout(tmp_path / "project")
    here = {"PYTHONPATH": str(project), "ISIC2017_DIR": str(demo_set)}
    rows = ["1-3", "seg-6", "--profile", "demo", "--data-dir", str(demo_set)]
    run([sys.executable, "reproduce.py", *rows], project, **here)
    for notebook in sorted(project.glob("*.ipynb")):
        run([sys.executable, "-m", "papermill", notebook.name, "out"], project, **here)
        executed = nbformat.read(project / "out", as_version=4)
        nothing_left = "is finished after" in "".join(outputs(executed, "stdout"))
        assert nothing_left == (not notebook.stem.startswith("Evaluation"))
