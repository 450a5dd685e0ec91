"""Masks that `evaluation.evaluate` writes, handed to the organisers' own scorer as a folder.

Needs the scorer (`make referee`); without it these tests are skipped, and say so.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import experiments
from utils import data, evaluation
from utils.data import store
from utils.evaluation import full_size, results, score_files
from utils.evaluation.masks import METRICS
from utils.logger.run import RunFolder
from utils.system.project import PROJECT

SCORER = PROJECT / ".venv-referee/bin/isic-challenge-scoring"
SIZE = (48, 32)  # of the network; no image has its shape, so a centre crop always cuts
WAYS = {
    "plain": ("whole", {}),
    "cleaned": ("whole", {"clean_up": True}),
    "cropped": ("unstretched crop", {}),
    "middle": ("middle", {}),
}
BINARY = cv2.INTER_NEAREST  # any other way leaves greys, and the project refuses such masks
pytestmark = pytest.mark.skipif(not SCORER.exists(), reason="needs the scorer: make referee")


class Darkness(nn.Module):
    """The darker the red of a pixel, the surer of lesion: probabilities of all sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1 / 16))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * (128 - images[:, :1].float())


class Given(NamedTuple):
    """A folder with the true masks and nothing else, their rows, and the images as stored."""

    truth: Path
    rows: pd.DataFrame
    prepared: store.Store


@pytest.fixture(scope="module")
def named(demo_set: Path, mktemp: Callable[[str], Path]) -> Given:
    """The test split of the demo set under names that the scorer knows.

    Images differ in size and shape; the last two have no lesion, and in the last one nothing looks
    like one.
    """
    tree = mktemp("official")
    for source in demo_set.glob("*Test_v2_*/*"):
        target = tree / source.relative_to(demo_set).with_name(_official(source.name))
        target.parent.mkdir(exist_ok=True)
        shutil.copy(source, target)
    table = "ISIC-2017_Test_v2_Part3_GroundTruth.csv"
    (tree / table).write_text(_official((demo_set / table).read_text()))
    rows = data.read(tree)
    for number, row in enumerate(rows.itertuples()):
        size = (96 + 7 * number, 72 - number)
        _rewrite(row.image, lambda image, size=size: cv2.resize(image, size))
        _rewrite(row.mask, lambda mask, size=size: cv2.resize(mask, size, interpolation=BINARY))
    for mask in rows["mask"].iloc[-2:]:
        _rewrite(mask, np.zeros_like)
    _rewrite(rows["image"].iloc[-1], lambda image: np.full_like(image, 255))
    return Given(Path(rows["mask"][0]).parent, rows, store.prepare(tree, rows, 64))


@pytest.fixture(scope="module")
def real(isic2017: Path, mktemp: Callable[[str], Path]) -> Given:
    """Thirty images of the official validation split, stored away from the data."""
    rows = data.read(isic2017)
    rows = rows[rows["split"] == "validation"][::5].reset_index(drop=True)
    folder = mktemp("real")
    (folder / "truth").mkdir()
    for mask in rows["mask"]:
        shutil.copy(mask, folder / "truth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_writable_home", lambda _: folder)
        return Given(folder / "truth", rows, store.prepare(isic2017, rows, 64))


def _official(text: str) -> str:
    return text.replace("DEMO_", "ISIC_")


def _rewrite(file: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    assert cv2.imwrite(file, change(cv2.imread(file, cv2.IMREAD_UNCHANGED)))


def ours(given: Given, way: str, folder: Path) -> dict[str, float]:
    """Our official scores of masks that are written to folder / "masks"."""
    test_image, changes = WAYS[way]
    images = data.masks.TestImages(given.prepared, given.rows, SIZE, test_image)
    row = experiments.get("seg-6", "demo", batch_size=4, workers=0, views=1)
    settings = evaluation.mask_settings(row, "fp32", **changes)
    work = (Darkness(), images, given.rows, settings, folder / "masks")
    run = RunFolder(folder / "run")
    found = results.per_image(run, "test", given.rows, lambda: full_size.evaluate(*work))
    scores = score_files.mask_scores(run, "test", found.per_image, "test data", settings)
    return {metric: score["value"] for metric, score in scores["official"].items()}


def theirs(truth: Path, prediction: Path) -> dict[str, float]:
    """What the official command line says of two folders."""
    command = [SCORER, "--output", "json", "segmentation", truth, prediction]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["macro_average"]


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", ["named", "real"])
def test_the_official_command_line_agrees_on_our_masks(source, way, request, tmp_path):
    given = request.getfixturevalue(source)
    scores = ours(given, way, tmp_path)
    assert names(tmp_path / "masks") == names(given.truth)
    assert set(scores) == set(METRICS)
    assert scores == pytest.approx(theirs(given.truth, tmp_path / "masks"), rel=0, abs=1e-12)


@pytest.mark.parametrize("source", ["named", "real"])
def test_the_ways_give_masks_that_differ(source, request, tmp_path):
    given = request.getfixturevalue(source)
    found = {way: ours(given, way, tmp_path / way)["jaccard"] for way in WAYS}
    assert len(set(found.values())) == len(WAYS)
    assert all(0.1 < jaccard < 0.95 for jaccard in found.values()), found
