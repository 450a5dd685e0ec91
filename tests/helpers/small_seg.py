"""A segmenter trained in seconds, such as Segmentation.ipynb leaves it, also in a dying process.

`python tests/helpers/small_seg.py DATA OUT` trains one run in peace (`OUT/whole`) and one that is
killed at several places and started again each time (`OUT/killed`), each in a forked child.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from small_run import in_child, through_deaths
from torch import Tensor, nn

import experiments
import nets
from nets import unet
from nets.normalise import HALF
from utils import data, evaluation, logger, loss, model
from utils.data import loaders, store
from utils.evaluation import full_size, results, score_files
from utils.system import files

SMALL = {
    "epochs": 1,
    "batch_size": 8,
    "image_size": 32,
    "stored_size": 40,
    "workers": 0,
    "precision": "fp32",
    "weights": "none",
}


class SmallSegmenter(unet.Segmenter):
    """Everything a checkpoint must cope with: batch norm, dropout."""

    def __init__(self) -> None:
        super().__init__(HALF, stride=4)
        self.down = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.3)
        self.up = nn.ConvTranspose2d(8, 1, 4, stride=4)

    def logits(self, x: Tensor) -> Tensor:
        return self.up(self.dropout(torch.relu(self.bn(self.down(x)))))


def train(
    data_dir: Path,
    folder: Path,
    row: experiments.SegmentationRow,
    build: Callable[[], nn.Module] | None = None,
) -> pd.DataFrame:
    """Train the row's network, or another, into folder, score the test images; returns history."""
    rows = data.read(data_dir)
    prepared = store.prepare(data_dir, rows, row.stored_size)
    fitted, select = data.training_images(rows, row.select_on, row.seed)
    transform = data.masks.transform_of(row)
    patches = data.masks.TrainingMasks(prepared, fitted, transform, row.seed)
    images = data.masks.TestImages(prepared, select, row.image_size, row.test_image)
    select_loader = loaders.evaluation_loader(images, row.batch_size, 0)
    used = prepared.fingerprint(rows, masks=True)
    facts = {"set": data.note(data_dir), "folder": data_dir.name, "fingerprint": used}
    run = logger.start_run(folder, row, facts)
    model.seed_torch(row.seed)
    options = row.network_options(nets.options(row.network))
    network = build() if build else nets.build(row.network, 1, **options)
    history = model.fit(
        network,
        loss.build(row.loss, row.class_weights, row.gamma),
        data.training_loader(patches, row.batch_size, row.workers, row.loader),
        lambda predict: evaluation.masks.official(predict(select_loader)),
        run,
        row,
        predict=full_size.pixel_counts,
    )
    tested = rows[rows["split"] == "test"].reset_index(drop=True)
    images = data.masks.TestImages(prepared, tested, row.image_size, row.test_image)
    settings = evaluation.mask_settings(row, run.config["precision"])
    found = results.per_image(
        run, "test", tested, lambda: full_size.evaluate(network, images, tested, settings)
    )
    score_files.mask_scores(run, "test", found.per_image, data.note(data_dir), settings)
    return history


def finished(data_dir: Path, folder: Path, name: str = "seg-4", **changes: object) -> pd.DataFrame:
    """A finished run of a row, one epoch of 32 px images; returns its history."""
    return train(data_dir, folder, experiments.get(name, "demo", **(SMALL | changes)))


def main() -> None:
    """Train in peace, then through several deaths; exits with an error if one did not happen."""
    data_dir, out = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    model.training.SAVE_EVERY = 0.0  # a checkpoint after every batch
    row = experiments.get("seg-6", "demo", **(SMALL | {"epochs": 2}))
    store.prepare(data_dir, data.read(data_dir), row.stored_size)
    assert in_child(train, data_dir, out / "whole", row, SmallSegmenter) == 0
    deaths = [
        (model.training._Training, "train_batch", 2),
        (model.training, "save_weights", 1),
        (files.os, "fsync", 1),
        (full_size, "evaluate", 1),  # trained to the end, not scored
    ]
    through_deaths(deaths, train, data_dir, out / "killed", row, SmallSegmenter)


if __name__ == "__main__":
    main()
