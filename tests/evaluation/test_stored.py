"""Runs in the box are shown where their images are not: from what they predicted."""

from pathlib import Path

import pandas as pd
import pytest

from utils import data
from utils.data.tables import NO_LABEL
from utils.evaluation import results, stored
from utils.logger.run import RunFolder
from utils.system.errors import RunError


def run_of(folder: Path, trained_on: str = "ISIC 2017") -> RunFolder:
    run = RunFolder(folder)
    run.save_json("config.json", {"row": {"name": "3-1"}, "data": {"set": trained_on}})
    return run


def predicted(run: RunFolder, split: str, ids: list[str]) -> None:
    table = pd.DataFrame({"id": ids, "label": [0, 2][: len(ids)], "melanoma": 0.5})
    run.save_table(f"predictions-{split}.csv", table)


def test_where_the_data_are_here_they_are_read(tmp_path: Path, demo_set: Path) -> None:
    run = run_of(tmp_path / "mine", data.note(demo_set))
    predicted(run, "test", ["other"])
    images = stored.images_of({"mine": run}, demo_set)
    pd.testing.assert_frame_equal(images, data.read(demo_set))
    assert stored.at_hand(images)


def test_elsewhere_the_images_are_those_of_the_predictions(tmp_path, demo_set, capsys) -> None:
    run = run_of(tmp_path / "box")
    predicted(run, "validation", ["NA", "b"])
    predicted(run, "test", ["c"])
    predicted(run, "fold", ["d"])
    images = stored.images_of({"box": run}, demo_set)
    assert images[["id", "split", "label"]].to_numpy().tolist() == [
        ["NA", "validation", 0],
        ["b", "validation", 2],
        ["c", "test", 0],
    ]
    assert "no images of ISIC 2017 here" in capsys.readouterr().out
    assert set(images) == set(data.read(demo_set))
    assert not stored.at_hand(images)


def test_a_segmenter_s_images_have_no_labels(tmp_path: Path, demo_set: Path) -> None:
    run = run_of(tmp_path / "box")
    run.save_table("per-image-validation.csv", pd.DataFrame({"id": ["a", "b"], "tp": 1}))
    images = stored.images_of({"box": run}, demo_set)
    assert images["label"].tolist() == [NO_LABEL, NO_LABEL]


def test_what_cannot_be_shown_is_said(tmp_path: Path, demo_set: Path) -> None:
    runs = {name: run_of(tmp_path / name, on) for name, on in (("a", "ISIC 2017"), ("b", "mine"))}
    with pytest.raises(RunError, match="different data cannot be compared: a on ISIC 2017, b on m"):
        stored.images_of(runs, demo_set)
    with pytest.raises(RunError, match="no predictions to show without its images: name its data"):
        stored.images_of({"a": runs["a"]}, demo_set)
    predicted(runs["a"], "validation", ["x", "y"])
    images = stored.images_of({"a": runs["a"]}, demo_set)
    with pytest.raises(
        RunError, match=r"predictions-validation-1-views.csv is missing, and so are"
    ):
        results.predictions(runs["a"], "validation-1-views", images, lambda: 1 / 0)
    with pytest.raises(RunError, match=r"per-image-validation.csv is missing, and so are"):
        results.per_image(runs["a"], "validation", images, lambda: 1 / 0)
