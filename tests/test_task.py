"""One table says what the two tasks do in their own way."""

import numpy as np
import pandas as pd
import pytest

import experiments
from utils import data, evaluation, task


@pytest.mark.parametrize(("name", "keys"), [("1-3", {"auc_mean"}), ("seg-6", {"jaccard", "dice"})])
def test_the_images_of_a_task_and_the_score_of_an_epoch(name, keys, demo_store, demo_rows) -> None:
    size = {"1-3": 32, "seg-6": (40, 32)}[name]
    experiment = experiments.get(name, "demo", image_size=size)
    functions = task.of(experiment)
    images = demo_rows[demo_rows["split"] == "test"].reset_index(drop=True)
    assert len(functions.training_set(experiment, demo_store, images)[0, 0]["image"]) == 32
    tested = functions.test_set(experiment, demo_store, images)
    assert len(tested) == len(images)
    if functions is task.TASKS["labels"]:
        assert len(tested[0]["image"]) == experiment.views
        predicted = np.random.default_rng(0).dirichlet([1, 1, 1], len(images))
    else:
        assert tested[0]["label"].shape == (32, 40)
        predicted = evaluation.Counts(*np.ones((4, len(images))))
    assert keys <= functions.epoch_scores(images, predicted).keys()


@pytest.mark.parametrize("name", ["1-3", "seg-6"])
def test_a_score_file_is_shown_as_its_task_has_it(name) -> None:
    rng, experiment = np.random.default_rng(0), experiments.get(name)
    table = pd.DataFrame({"id": [f"i{k}" for k in range(12)], "label": np.arange(12) % 3})
    if experiment.task == "labels":
        table[list(data.CLASSES)] = rng.dirichlet([1, 1, 1], 12)
    else:
        table[["tp", "fp", "fn", "tn"]] = rng.integers(1, 50, (12, 4))
        table = table.assign(**evaluation.masks.per_image(evaluation.counts_of(table)))
    functions = task.of(experiment)
    scores = {"data": "ISIC 2017", "split": "test"} | functions.scores(table)
    assert evaluation.score_files.task_of(scores) == experiment.task
    shown = {
        "labels": ("mean AUC", "AUC", ("study", "trained on"), "AUC melanoma"),
        "masks": ("mean Jaccard", "lesion (pooled)", ("convention", "source"), "mean Jaccard"),
    }[experiment.task]
    assert shown[0] in functions.summary(scores)
    assert shown[1] in functions.table(scores)
    assert tuple(functions.comparison(scores, experiment).index.names) == shown[2]
    assert set(functions.points({"a": scores}, {"a": experiment})["run"]) == {"a"}
    assert shown[3] in functions.differences({"a": table, "b": table})
