"""The training notebooks on data of one's own: seven classes, one against the rest, masks alone."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import own_sets
import pandas as pd
import pytest
from ways import outputs, papermill

from utils import data, logger

pytestmark = pytest.mark.whole
SMALL = {"profile": "demo", "epochs": 1, "workers": 0, "precision": "fp32"}


@pytest.fixture(scope="module")
def seven(mktemp: Callable[[str], Path]) -> Path:
    """56 images of seven classes, without masks and unevenly many: four nevi are left out."""
    rows = own_sets.table(60, own_sets.NAMES)
    rows = rows.drop(index=rows.index[(rows["label"] == "nevus") & (rows["split"] == "train")][:2])
    return own_sets.make(mktemp("own") / "my-moles", rows, masks=False)


def test_seven_classes_are_trained_with_balanced_weights(seven: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    executed = papermill(
        "ARL-CNN.ipynb", tmp_path, experiment="3-1", data_dir=seven, run_dir=folder,
        image_size=32, batch_size=8, **SMALL,
    )  # fmt: skip
    assert not outputs(executed, "stderr")
    config = json.loads((folder / "config.json").read_text())
    classes = data.classes(seven)
    assert config["data"]["set"] == "my-moles"
    assert config["row"]["classes"] == list(classes)
    assert (config["row"]["num_classes"], config["row"]["class_weights"]) == (7, "balanced")
    counts = data.class_counts(data.read(seven)).loc["train", list(classes)]
    expected = counts.sum() / (7 * counts)
    assert expected.nunique() > 1
    np.testing.assert_allclose(config["class_weights"], expected)
    table = pd.read_csv(folder / "predictions-test.csv")
    assert table.columns.tolist() == ["id", "label", *classes]
    np.testing.assert_allclose(table[list(classes)].sum(axis=1), 1, atol=1e-5)
    assert logger.run.RunFolder(folder).finished


@pytest.mark.slow
def test_one_class_is_told_from_the_rest_with_balanced_weights(seven: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    executed = papermill(
        "ARL-CNN.ipynb", tmp_path, experiment="1-4", data_dir=seven, run_dir=folder,
        image_size=32, batch_size=8, class_weights="balanced", **SMALL,
    )  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert config["row"]["num_classes"] == 1
    counts = data.class_counts(data.read(seven)).loc["train"]
    share = counts["melanoma"] / counts["all"]
    np.testing.assert_allclose(config["class_weights"], [0.5 / share, 0.5 / (1 - share)])
    assert "class weights: " in "".join(outputs(executed, "stdout"))
    table = pd.read_csv(folder / "predictions-test.csv")
    assert table.columns.tolist() == ["id", "label", "melanoma"]
    assert "auc_melanoma" in pd.read_csv(folder / "history.csv")


def test_a_segmenter_needs_masks_alone(tmp_path: Path) -> None:
    rows = own_sets.table(40)
    rows["split"] = rows["split"].replace("validation", "train")  # so a part is held out
    own = own_sets.make(tmp_path / "masks", rows, labels=False)
    folder = tmp_path / "run"
    executed = papermill(
        "Segmentation.ipynb", tmp_path, experiment="seg-6", data_dir=own, run_dir=folder,
        image_size=32, batch_size=8, **SMALL,
    )  # fmt: skip
    assert not outputs(executed, "stderr")
    row = json.loads((folder / "config.json").read_text())["row"]
    assert (row["profile"], row["select_on"]) == ("demo", "holdout")
    test = rows.loc[rows["split"] == "test", "image"]
    assert set(pd.read_csv(folder / "per-image-test.csv")["id"]) == set(test)
    said = json.loads((folder / "scores-test.json").read_text())
    assert said["data"] == "masks"
