"""The trained runs in the box: what they say of themselves is what their weights give."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard

import experiments
import nets
from utils import data, evaluation, model
from utils.evaluation import fitting
from utils.evaluation.out_of_fold import RELEASED
from utils.logger.run import RunFolder
from utils.photographs import find_runs

RUNS = {"3-1-s0": "mean_auc", "seg-6-s0": "mean_jaccard"}
LARGEST = 20e6  # bytes, of all together
FEW = 6


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> RunFolder:
    return RunFolder(RELEASED / request.param)


def loaded(run: RunFolder) -> tuple:
    experiment = experiments.restore(run.config["row"])
    options = experiment.network_options(nets.options(experiment.network))
    network = nets.build(experiment.network, getattr(experiment, "num_classes", 1), **options)
    model.load_weights(network, run / "best.safetensors")
    return experiment, network


def few(folder: Path) -> pd.DataFrame:
    images = data.read(folder)
    return images[images["split"] == "validation"].head(FEW).reset_index(drop=True)


def test_they_are_found_by_default_and_small() -> None:
    assert set(find_runs()) == set(RUNS)
    files = [file for file in RELEASED.rglob("*") if file.is_file() and file.stem != "model"]
    assert sum(file.stat().st_size for file in files) < LARGEST  # but for what a user exported


def test_the_card_has_the_scores_of_the_run(run: RunFolder) -> None:
    scores = json.loads((run / "scores-validation.json").read_text())["official"]
    name = RUNS[run.path.name]
    card = ModelCard.load(run / "README.md")
    (said,) = [one.metric_value for one in card.data.eval_results if one.metric_type == name]
    assert said == pytest.approx(scores[name.replace("mean_jaccard", "jaccard")]["value"], abs=1e-4)
    assert "research and teaching only" in card.text.lower()


def test_the_temperature_is_that_of_all_training_images() -> None:
    run = RunFolder(RELEASED / "3-1-s0")
    found = fitting.predictions(run, experiments.restore(run.config["row"]))
    assert found.where == "2000 out-of-fold predictions of 3-1"


def test_the_classifier_gives_its_predictions_again(isic2017: Path) -> None:
    run = RunFolder(RELEASED / "3-1-s0")
    experiment, network = loaded(run)
    images = few(isic2017)
    store = data.prepare(isic2017, images, experiment.stored_size)
    views = data.patches.views_of(experiment, store, images)
    given = model.predict(network, data.evaluation_loader(views, FEW, 0))
    table = pd.read_csv(run / "predictions-validation.csv").set_index("id").loc[images["id"]]
    np.testing.assert_allclose(given, table[list(data.CLASSES)], atol=1e-4)


def test_the_segmenter_gives_its_masks_again(isic2017: Path) -> None:
    run = RunFolder(RELEASED / "seg-6-s0")
    experiment, network = loaded(run)
    images = few(isic2017)
    store = data.prepare(isic2017, images, experiment.stored_size)
    seen = data.TestImages(store, images, experiment.image_size)
    settings = evaluation.mask_settings(experiment, "fp32")
    given = evaluation.evaluate(network, seen, images, settings).per_image.set_index("id")
    table = pd.read_csv(run / "per-image-validation.csv").set_index("id").loc[images["id"]]
    # Another processor rounds otherwise, and a pixel at the threshold may change sides.
    np.testing.assert_allclose(given["jaccard"], table["jaccard"], atol=1e-3)
