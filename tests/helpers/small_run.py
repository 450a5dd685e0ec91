"""A training run small enough to be repeated many times, also as a process that kills itself.

`python tests/helpers/small_run.py DATA OUT WORKERS` trains one run in peace (`OUT/whole`) and one
that is killed at many places and started again each time (`OUT/killed`), each in a forked child.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torch import nn

import experiments
import nets
from utils import data, evaluation, logger, loss, model
from utils.data import loaders, patches, store
from utils.system import files

CONFIG = replace(
    experiments.get("1-3", profile="demo"),
    image_size=32,
    epochs=3,
    batch_size=8,
    learning_rate=0.01,
    precision="fp32",
    workers=0,
)


class SmallNet(nn.Module):
    """Everything a checkpoint must cope with: batch norm, dropout, an attention weight."""

    dropped = 0.3

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=4)
        self.bn = nn.BatchNorm2d(8)
        self.alpha = nn.Parameter(torch.tensor(0.001))
        self.dropout = nn.Dropout(self.dropped)
        self.fc = nn.Linear(8, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.bn(self.conv(images.float() / 255))
        x = torch.relu(x + self.alpha * x.softmax(1)).mean((2, 3))
        return self.fc(self.dropout(x))


def parts(data_dir: Path, size: int = 40) -> tuple[store.Store, pd.DataFrame]:
    """The prepared store of the data, and all rows."""
    rows = data.read(data_dir)
    return store.prepare(data_dir, rows, size), rows


def train(
    data_dir: Path,
    folder: Path,
    config: experiments.Row = CONFIG,
    network: nn.Module | None = None,
    size: int = 40,
) -> pd.DataFrame:
    """Train a network (by default a SmallNet) on the data into folder; returns the history."""
    prepared, rows = parts(data_dir, size)
    train_rows, select = data.training_images(rows, "validation", config.seed)
    transform = patches.transform_of(config)
    trained = patches.TrainingPatches(prepared, train_rows, transform, config.seed)
    views = patches.views_of(config, prepared, select, config.select_views)
    select_loader = loaders.evaluation_loader(views, config.batch_size, 0)
    facts = {"set": data.note(data_dir), "fingerprint": prepared.fingerprint(rows)}
    run = logger.start_run(folder, config, facts)
    model.seed_torch(config.seed)
    return model.fit(
        network or SmallNet(config.num_classes),
        loss.build(config.loss, data.class_weights(config, train_rows), config.gamma),
        data.training_loader(trained, config.batch_size, config.workers, config.loader),
        lambda predict: evaluation.labels.epoch_scores(
            select["label"], predict(select_loader), None, config.classes
        ),
        run,
        config,
    )


def finished(data_dir: Path, folder: Path, name: str = "1-3", **changes: object) -> None:
    """A finished run of a real row, such as ARL-CNN.ipynb leaves it; one epoch of 64 px images."""
    small = {"epochs": 1, "batch_size": 8, "image_size": 64, "stored_size": 64, "workers": 0}
    small |= {"precision": "fp32", "weights": "none"}
    row = experiments.get(name, "demo", classes=data.classes(data_dir), **(small | changes))
    options = row.network_options(nets.options(row.network))
    network = nets.build(row.network, row.num_classes, **options)
    train(data_dir, folder, row, network, row.stored_size)


def die_at(calls: int, owner: object, name: str) -> None:
    """Replace owner.name by a function that kills this process at its call number `calls`."""
    original, count = getattr(owner, name), 0

    def counted(*arguments):
        nonlocal count
        count += 1
        if count == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    setattr(owner, name, counted)


def in_child(work, *arguments) -> int:
    """Run work in a forked child; returns its exit status (negative: the signal that ended it)."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work(*arguments)
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def through_deaths(deaths: list[tuple], train, *arguments) -> None:
    """Train in a child that is killed at each of the deaths in turn, then once to the end."""

    def train_and_die(owner, name, calls) -> None:
        die_at(calls, owner, name)
        train(*arguments)

    for death in deaths:
        status = in_child(train_and_die, *death)
        assert status == -signal.SIGKILL, f"{death}: exit status {status}"
    assert in_child(train, *arguments) == 0


def main() -> None:
    """Train in peace, then through many deaths; exits with an error if a death did not happen."""
    data_dir, out, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    model.training.SAVE_EVERY = 0.0  # a checkpoint after every batch
    config = replace(CONFIG, workers=workers)
    parts(data_dir)
    assert in_child(train, data_dir, out / "whole", config) == 0
    deaths = [
        (model.training._Training, "train_batch", 2),  # after the first batch
        (files.os, "fsync", 1),  # a checkpoint is written, but not in place
        (model.training._Training, "train_batch", 4),
        (model.training, "save_weights", 1),  # the epoch is scored, its best weights not stored
        # The best weights are stored, the checkpoint is not.
        (model.training, "save_checkpoint", 3),
        (files.os, "fsync", 2),
    ]
    through_deaths(deaths, train, data_dir, out / "killed", config)


def same_files(one: Path, other: Path) -> None:
    """The weights, the history and what there is to go on from must agree to the last bit."""
    for name in ("best.safetensors", "history.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    first, second = (torch.load(folder / "last.pt", weights_only=True) for folder in (one, other))
    for name, tensor in first["network"].items():
        assert torch.equal(tensor, second["network"][name]), name
    for number, state in first["optimizer"]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, second["optimizer"]["state"][number][name])
    assert first["progress"]["history"] == second["progress"]["history"]


if __name__ == "__main__":
    main()
