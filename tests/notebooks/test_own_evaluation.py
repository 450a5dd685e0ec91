"""Data of one's own, evaluated and reported: seven classes, two, one logit of three, masks alone.

Training by papermill, evaluation by papermill and as a converted script; a person in JupyterLab is
in test_browser.py.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import own_sets
import pandas as pd
import pytest
import small_run
import small_seg
from sklearn import metrics
from ways import contents, outputs, papermill, run, script

from study.report import index
from utils import data
from utils.evaluation import score_files
from utils.logger.run import RunFolder

NOTEBOOK = "Evaluation-Cls.ipynb"
pytestmark = pytest.mark.whole
EACH = {"confusion", "roc", "precision-recall", "maps", "least-certain-cases", "reliability",
        "operating-points", "decision", "subgroups"}  # fmt: skip


@pytest.fixture(scope="module")
def seven(mktemp: Callable[[str], Path]) -> Path:
    """Seven classes, half of the images to train on, with masks, age and sex."""
    folder = mktemp("data") / "seven"
    return own_sets.make(folder, own_sets.table(112, own_sets.NAMES))


@pytest.fixture(scope="module")
def trained(seven: Path, mktemp: Callable[[str], Path]) -> Path:
    """A run as ARL-CNN.ipynb leaves it."""
    run_dir = mktemp("model") / "seven-demo" / "3-1-s0"
    small = {"profile": "demo", "epochs": 1, "image_size": 32, "weights": "none", "device": "cpu"}
    where = {"experiment": "3-1", "data_dir": seven, "run_dir": run_dir, "select_on": "holdout"}
    papermill("ARL-CNN.ipynb", run_dir.parent.parent, **small, **where)
    return run_dir


def test_seven_classes_are_trained_evaluated_and_reported(
    seven: Path, trained: Path, tmp_path: Path
) -> None:
    classes = data.classes(seven)
    assert len(classes) == 7
    assert classes[0] == "melanoma"
    table = pd.read_csv(trained / "predictions-test.csv")
    assert table.columns.tolist() == ["id", "label", *classes]
    executed = papermill(NOTEBOOK, tmp_path, runs=trained, data_dir=seven, device="cpu")
    assert not outputs(executed, "stderr")
    made = trained.parent / "evaluation-cls-test"
    figures = {path.stem for path in (made / "figures").iterdir()}
    expected = {f"{kind}-3-1-s0" for kind in EACH} | {"case", "side-by-side", "threshold"}
    assert figures - {name for name in figures if name.startswith("most-")} == expected
    printed = "".join(outputs(executed, "stdout"))
    assert re.search(r"temperature [\d.]+, fitted on \d+ hold-out images of the run", printed)
    assert not list(trained.glob("submission-*"))  # the challenge has other classes
    scores = score_files.read(trained / "scores-test.json")["one_vs_rest"]
    truth, given = table["label"], table[list(classes)]
    macro = metrics.roc_auc_score(truth, given, multi_class="ovr", average="macro")
    assert scores["mean_auc"]["value"] == pytest.approx(macro, abs=1e-9)
    balanced = metrics.balanced_accuracy_score(truth, given.to_numpy().argmax(axis=1))
    assert scores["balanced_accuracy"]["value"] == pytest.approx(balanced, abs=1e-9)
    beyond = pd.read_csv(made / "baselines.csv")
    assert beyond["baseline"].tolist() == [f"0-{k}-s0" for k in range(1, 7)]
    assert {f"AUC {name.replace('_', ' ')}" for name in classes} < {*beyond.columns}

    before = contents(trained)
    file = script(NOTEBOOK, tmp_path, runs=str(trained), data_dir=str(seven), device="cpu")
    assert "balanced accuracy" in run([sys.executable, str(file)], tmp_path)
    assert contents(trained) == before

    page = index.write({"3-1-s0": RunFolder(trained)}, seven, "test").read_text()
    for words in ("Nothing was published about seven", "basal cell carcinoma", "Reliability, mel"):
        assert words in page
    for words in ("seborrheic", "official", "coursework", "synthetic"):
        assert words not in page, words
    results = pd.read_csv(made.parent / "report-test" / "results.csv")
    assert results["convention"].unique().tolist() == ["one_vs_rest"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "rows"),
    [(("mole", "wart"), ("3-1",)), (("mole", "scar", "wart"), ("3-1", "1-4"))],
    ids=["two classes", "one logit beside three classes"],
)
def test_other_numbers_of_classes(
    names: tuple[str, ...], rows: tuple[str, ...], tmp_path: Path
) -> None:
    table = own_sets.table(16 * len(names), names).drop(columns=["age", "sex"])
    folder = own_sets.make(tmp_path / "few", table, masks=False)
    models = tmp_path / "model" / "few-demo"
    for row in rows:
        small_run.finished(folder, models / f"{row}-s0", row, image_size=32)
    runs = ",".join(str(models / f"{row}-s0") for row in rows)
    file = script(NOTEBOOK, tmp_path, runs=runs, data_dir=str(folder), device="cpu")
    printed = run([sys.executable, str(file)], tmp_path)
    # What the set lacks is said, each in a sentence.
    for baseline in ("0-2", "0-3", "0-5", "0-6"):
        assert f"{baseline}-s0 is left out: " in printed
    assert "0-2-s0 is left out: age and sex are unknown in the split" in printed
    first = pd.read_csv(models / "3-1-s0/predictions-test.csv")
    assert first.columns.tolist() == ["id", "label", *names]
    if len(rows) > 1:
        alone = pd.read_csv(models / "1-4-s0/predictions-test.csv")
        assert alone.columns.tolist() == ["id", "label", "mole"]
        history = pd.read_csv(models / "1-4-s0/history.csv")
        assert {"auc_mole", "accuracy_mole"} < {*history.columns}
        differences = pd.read_csv(models / "evaluation-cls-test/differences.csv")
        assert differences["AUC mole"].notna().all()
        assert differences["AUC wart"].isna().all()
    given = {f"{row}-s0": RunFolder(models / f"{row}-s0") for row in rows}
    page = index.write(given, folder, "test").read_text()
    assert "melanoma" not in page
    assert "Reliability, mole" in page


def test_a_run_whose_classes_the_data_no_longer_have_is_named(tmp_path: Path) -> None:
    table = own_sets.table(24, ("mole", "scar"))
    folder = own_sets.make(tmp_path / "few", table, masks=False)
    small_run.finished(folder, tmp_path / "few-demo/3-1-s0", "3-1", image_size=32)
    table.replace({"label": {"scar": "wart"}}).to_csv(folder / "labels.csv", index=False)
    file = script(NOTEBOOK, tmp_path, runs=str(tmp_path / "few-demo/3-1-s0"), data_dir=str(folder))
    with pytest.raises(AssertionError, match=r"on the classes mole, scar, and .* has mole, wart"):
        run([sys.executable, str(file)], tmp_path)


@pytest.mark.slow
def test_masks_alone_are_evaluated_and_reported(tmp_path: Path) -> None:
    table = own_sets.table(24)
    folder = own_sets.make(tmp_path / "outlines", table, labels=False)
    place = tmp_path / "model" / "outlines-demo" / "seg-4-s0"
    small_seg.finished(folder, place, select_on="validation")
    file = script("Evaluation-Seg.ipynb", tmp_path, runs=str(place), data_dir=str(folder))
    printed = run([sys.executable, str(file)], tmp_path)
    assert "data of your own: nothing published is comparable" in printed
    assert "mean Jaccard" in printed
    page = index.write({"seg-4-s0": RunFolder(place)}, folder, "test").read_text()
    assert "Nothing was published about outlines" in page
