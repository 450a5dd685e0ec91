"""Small finished runs, with the results that their notebooks leave."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_run
import small_seg

import experiments
import nets
from utils import data, evaluation, logger, model


@pytest.fixture(scope="session")
def models(demo_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `model/` with runs of both tasks, of three classes and of melanoma alone."""
    folder = tmp_path_factory.mktemp("model")
    for name, seed in (("1-3", 0), ("1-3", 1), ("1-4", 0)):
        run = folder / "demo-demo" / f"{name}-s{seed}"
        model.seed_torch(seed)
        small_run.finished(demo_set, run, name, seed=seed, image_size=32)
        evaluated(logger.RunFolder(run), demo_set)
    small_seg.finished(demo_set, folder / "demo-demo/seg-4-s0")
    for file in folder.glob("*/*/last.pt"):  # large, copied by many tests, and read by none
        file.unlink()
    return folder


@pytest.fixture(scope="session")
def evaluate() -> Callable[[logger.RunFolder, Path], None]:
    """`evaluated`, for tests with data of their own."""
    return evaluated


def evaluated(run: logger.RunFolder, demo_set: Path) -> None:
    """Predictions of the test images as the notebooks make them, made-up ones to calibrate on."""
    row = experiments.restore(run.config["row"])
    options = row.network_options(nets.options(row.network))
    network = nets.build(row.network, row.num_classes, **options)
    model.load_weights(network, run / "best.safetensors")
    images = data.read(demo_set)
    tested, chosen = (
        images[images["split"] == split].reset_index(drop=True) for split in ("test", "validation")
    )
    prepared = data.prepare(demo_set, tested, row.stored_size)
    views = data.patches.views_of(row, prepared, tested)
    loader = data.evaluation_loader(views, row.batch_size, 0)
    predict = partial(model.predict, network, loader, average=row.average)
    evaluation.results.predictions(run, "test", tested, predict)
    # A hardly trained network's answers determine no temperature, these do: 0.6 for the truth, and
    # 0.2 for the truth of the last image.
    right = np.where(np.arange(len(chosen)) < len(chosen) - 1, 0.6, 0.2)
    truth, others = np.eye(len(row.classes))[chosen["label"]], len(row.classes) - 1
    sure = np.where(truth > 0, right[:, None], (1 - right[:, None]) / others)[:, : row.num_classes]
    evaluation.results.predictions(run, "holdout", chosen, lambda: sure)
    settings = run.config["row"] | {"select_on": "holdout"}
    run.save_json("config.json", run.config | {"finished": True, "row": settings})


@pytest.fixture(scope="session")
def photos(demo_set: Path) -> list[Path]:
    """The test images of the demo set."""
    images = data.read(demo_set)
    return [Path(file) for file in images.loc[images["split"] == "test", "image"]]


@pytest.fixture
def table():
    """Reads the table of an output folder."""
    empty = {"error": "", "pictures": ""}
    return lambda out: pd.read_csv(out / "photos.csv").astype({"error": object}).fillna(empty)
