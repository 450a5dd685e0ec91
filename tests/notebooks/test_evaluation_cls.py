"""Evaluation-Cls.ipynb runs three ways, twice in a row with the same outcome, on every kind of run.

The third way, a person in JupyterLab, is in test_browser.py.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_run
from ways import TIMES, checkout, contents, outputs, papermill, run, script

from utils import data, evaluation
from utils.logger.run import RunFolder

NOTEBOOK = "Evaluation-Cls.ipynb"
pytestmark = pytest.mark.whole
SHARED = {"alpha", "case", "side-by-side", "threshold"}
TRUST = {"reliability", "operating-points", "decision", "subgroups"}
EACH = {"confusion", "roc", "precision-recall", "maps", "attention", "least-certain-cases", *TRUST}


@pytest.fixture(scope="module")
def folders(demo_set: Path, mktemp: Callable[[str], Path]) -> list[Path]:
    """Runs with and without attention, and one with a single logit."""
    models = mktemp("model") / "demo-demo"
    for name, changes in (
        ("1-3", {}),
        ("3-1", {"select_on": "holdout"}),
        ("1-4", {"image_size": 32}),
    ):
        small_run.finished(demo_set, models / f"{name}-s0", name, **changes)
        if name != "3-1":  # whose folds are not there
            folds(models, name, demo_set)
    return [models / f"{name}-s0" for name in ("1-3", "1-4", "3-1")]


def folds(models: Path, name: str, demo_set: Path) -> None:
    """Runs of both halves of the training images, with predictions that know a little."""
    images = data.read(demo_set)
    settings = RunFolder(models / f"{name}-s0").config
    for fold in ("1/2", "2/2"):
        row = settings["row"] | {"fold": fold, "select_on": "fold", "keep": "last"}
        held = data.training_images(images, "fold", 0, fold)[1]
        truth = np.eye(3)[held["label"]] * 0.4 + 0.2
        given = truth + np.random.default_rng(int(fold[0])).uniform(0, 0.3, truth.shape)
        given = given / given.sum(axis=1, keepdims=True)
        names = data.CLASSES[: row["num_classes"]]
        run = RunFolder(models / f"{name}-f{fold[0]}-s0")
        run.save_json("config.json", settings | {"row": row, "finished": True})
        table = pd.DataFrame(given[:, : len(names)], columns=list(names))
        run.save_table("predictions-fold.csv", held[["id", "label"]].join(table))


def test_papermill_evaluates_every_kind_of_run(
    folders: list[Path], demo_set: Path, tmp_path: Path
) -> None:
    wanted = ",".join(map(str, folders))
    photo = demo_set / "ISIC-2017_Test_v2_Data/DEMO_2000001.jpg"
    executed = papermill(NOTEBOOK, tmp_path, runs=wanted, data_dir=demo_set, photos=photo)
    assert not outputs(executed, "stderr")
    made = folders[0].parent / "evaluation-cls-test"
    names = {path.stem for path in (made / "figures").iterdir()}
    expected = SHARED | {f"{kind}-{folder.name}" for kind in EACH for folder in folders}
    expected -= {"attention-3-1-s0"}
    assert names - {n for n in names if n.startswith("most-")} == expected
    assert len(outputs(executed, "image/png")) == len(names)
    printed = "".join(outputs(executed, "stdout"))
    assert "each run minus 1-3-s0" in printed
    train = (data.read(demo_set)["split"] == "train").sum()
    words = f"1-3-s0, reported on 8 images (test): temperature 0.*, fitted on {train} out-of-fold"
    assert re.search(re.escape(words).replace(r"0\.\*", r"[\d.]+"), printed)
    for name in ("calibration", "operating-points", "read-off", "decision-curves", "subgroups"):
        table = pd.read_csv(made / f"{name}.csv")
        assert table["run"].unique().tolist() == [folder.name for folder in folders]
        if name != "read-off":
            places = table.groupby("run")["fitted_on"].first()
            assert places["1-4-s0"].endswith(f"fitted on {train} out-of-fold predictions of 1-4")
            assert re.search(r"fitted on \d+ hold-out images of the run$", places["3-1-s0"])
        alone = table[table["run"] == "1-4-s0"]
        assert alone["class"].unique().tolist() == ["melanoma"]
    assert "the epoch was chosen on these very images" not in printed
    for folder in folders:
        assert len(pd.read_csv(folder / "predictions-test.csv")) == 8
        scores = json.loads((folder / "scores-test.json").read_text())
        assert scores["data"] == "synthetic demo data"
    said = pd.read_csv(made / f"photos-{folders[0].name}/photos.csv").loc[0]
    tested = pd.read_csv(folders[0] / "predictions-test.csv").set_index("id").loc[photo.stem]
    for name in ("melanoma", "seborrheic_keratosis", "benign"):
        assert said[f"p_{name}"] == pytest.approx(tested[name], abs=1e-6)
    card = next(text for text in outputs(executed, "text/html") if photo.name in text)
    assert card.count("Research and teaching only") == 2
    assert pd.read_csv(folders[0] / "submission-test.csv").columns.tolist() == [
        "image_id",
        "melanoma",
        "seborrheic_keratosis",
    ]


@pytest.mark.slow
def test_papermill_twice_in_a_row(folders: list[Path], demo_set: Path, tmp_path: Path) -> None:
    where = {"runs": ",".join(map(str, folders)), "data_dir": demo_set}
    executed = papermill(NOTEBOOK, tmp_path, **where)
    first = contents(folders[0].parent / "evaluation-cls-test")
    again = papermill(NOTEBOOK, tmp_path, **where)
    assert outputs(again, "image/png") == outputs(executed, "image/png")
    assert contents(folders[0].parent / "evaluation-cls-test") == first


@pytest.mark.slow
def test_predictions_of_others_beside_a_run_and_alone(
    folders: list[Path], demo_set: Path, tmp_path: Path
) -> None:
    images = data.read(demo_set)
    ours = images[images["split"] == "validation"].reset_index(drop=True)
    p = np.random.default_rng(0).dirichlet([1, 1, 1], len(ours))
    theirs = ours[["id", "label"]].join(pd.DataFrame(p, columns=list(data.CLASSES)))
    given = theirs.assign(id=theirs["id"] + ".jpg").drop(columns=["label", "benign"])
    given.to_csv(tmp_path / "their.csv", index=False)
    place = checkout(tmp_path / "project")
    where = {"data_dir": str(demo_set), "split": "validation"}
    for runs in (f"{folders[0]},../their.csv", "../their.csv"):
        file = script(NOTEBOOK, place, runs=runs, **where)
        printed = run([sys.executable, str(file)], place, PYTHONPATH=str(place))
        assert printed.count("has no network, history or temperature") == 1
        assert "their, of another group" in printed
        assert "their, reported on 8 images (validation): nothing was fitted: a file" in printed
    made = place / "model/others-demo/evaluation-cls-validation"
    names = {path.stem for path in (made / "figures").iterdir()}
    expected = {"roc-their", "precision-recall-their", "confusion-their", "side-by-side"}
    assert expected < names
    assert "no case to browse" in printed
    assert not [name for name in names if name.startswith(("maps", "attention", "alpha"))]
    made = folders[0].parent / "evaluation-cls-validation"
    (line,) = pd.read_csv(made / "differences.csv").to_dict("records")
    ours = pd.read_csv(folders[0] / "predictions-validation.csv")
    tables = {"ours": ours, "their": theirs.astype(ours.dtypes)}
    expected = evaluation.paired.label_differences(tables).loc["their"]
    said = {name: text.lstrip("'") for name, text in line.items()}  # which starts no formula
    assert said == {"run": "their"} | expected.to_dict()


@pytest.mark.parametrize("times", TIMES)
def test_a_script_on_another_split_with_other_views(
    times: int, folders: list[Path], demo_set: Path, tmp_path: Path
) -> None:
    where = {"runs": str(folders[0]), "data_dir": str(demo_set)}
    file = script(NOTEBOOK, tmp_path, split="validation", views=2, **where)
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    printed = run([sys.executable, str(file)], elsewhere)
    assert "photos = None: name a photo" in printed
    assert "the epoch was chosen on these very images" in printed
    assert not list(elsewhere.iterdir())
    made = folders[0].parent / "evaluation-cls-validation-2-views"
    first = contents(made) | contents(folders[0])
    assert "1-3-s0/predictions-validation-2-views.csv" in first
    assert "1-3-s0/submission-validation-2-views.csv" in first
    assert "nothing was fitted: the run was trained on all training images" in printed  # 2 views
    assert [name for name in first if "reliability" in name]
    assert not [name for name in first if "operating-points-1-3" in name]
    for _ in range(1, times):
        run([sys.executable, str(file)], elsewhere)
        assert contents(made) | contents(folders[0]) == first


@pytest.mark.slow
def test_the_runs_in_the_box_are_shown_without_their_images(demo_set: Path, tmp_path: Path) -> None:
    for notebook, run_, lacks in (
        (NOTEBOOK, "released/3-1-s0", {"maps-3-1-s0", "case"}),
        ("Evaluation-Seg.ipynb", "released/seg-6-s0", {"gallery-seg-6-s0", "case"}),
    ):
        executed = papermill(notebook, tmp_path, runs=run_, data_dir=demo_set)
        said = "".join(outputs(executed, "stdout"))
        assert "no images of ISIC 2017 here" in said
        assert "no baselines" in said
        assert "150 images, 95 % intervals" in said
        folder = Path(re.findall(r"figures and tables are in (.+)", said)[-1])
        drawn = {file.stem for file in (folder / "figures").iterdir()}
        assert {"side-by-side", "threshold"} <= drawn
        assert not lacks & drawn
