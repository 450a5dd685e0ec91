"""Datasets and loaders: patches for training, fixed views for testing, always reproducible.

All randomness is a pure function of (seed, epoch, sample index): the sampler yields pairs
(epoch, index), so any number of workers gives the same patches, also after an interruption.
Images stay uint8; the network normalises them on its own device.
"""

import itertools
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from utils.data.augmentation import Augmentation
from utils.data.store import Store
from utils.data.workers import AHEAD, PATIENCE, default_workers, faults_in_words, with_room


def collate(samples: list[dict]) -> dict[str, torch.Tensor]:
    """Batch of samples: "image" (B, [V,] 3, H, W) uint8, "label" (B,) or (B, H, W), "index" (B,).

    numpy stacks (B, …, S, S, 3), of which torch takes a view: it is in channels_last layout, and
    no copy is split over threads that wait for a busy core.
    """
    images = torch.from_numpy(np.stack([sample["image"] for sample in samples]))
    rest = {name: np.stack([sample[name] for sample in samples]) for name in ("label", "index")}
    return {"image": images.movedim(-1, -3)} | {k: torch.from_numpy(v) for k, v in rest.items()}


class LesionDataset(Dataset):
    """Some images of a prepared store."""

    def __init__(self, store: Store, images: pd.DataFrame) -> None:
        self.store = store
        self.positions = store.positions(images)
        self.labels = images["label"].to_numpy()
        self.ids = images["id"].tolist()

    def __len__(self) -> int:
        return len(self.positions)


class TrainingSet(LesionDataset):
    """Images of a prepared store that are augmented anew for each key (epoch, index)."""

    def __init__(
        self, store: Store, images: pd.DataFrame, transform: Augmentation, seed: int
    ) -> None:
        super().__init__(store, images)
        self.transform, self.seed = transform, seed


class EpochSampler(Sampler):
    """Keys (epoch, index) in an order that depends on (seed, epoch) alone.

    `start_at(epoch, skip)` sets the epoch and how many of its samples were already used. (Named
    set_epoch, Accelerate would call it with a count of its own.)
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.epoch, self.skip = length, seed, 0, 0

    def start_at(self, epoch: int, skip: int = 0) -> None:
        self.epoch, self.skip = epoch, skip

    def __len__(self) -> int:
        return self.length - self.skip

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        for index in order[self.skip :].tolist():
            yield self.epoch, index


def shuffled_loader(dataset: TrainingSet, batch_size: int, workers: int | None) -> DataLoader:
    """Shuffled batches; the last, smaller one is dropped unless it is the only one.

    Batch norm has no statistics for a batch of one; the epoch's order changes, so no image is left
    out for good. workers None means `default_workers()`.
    """
    sampler, drop_last = EpochSampler(len(dataset), dataset.seed), len(dataset) > batch_size
    return _loader(dataset, workers, batch_size, (0, 0), sampler=sampler, drop_last=drop_last)


def evaluation_loader(dataset: LesionDataset, batch_size: int, workers: int | None) -> DataLoader:
    """Every image once, in order; batch_size counts views, as the device sees them."""
    views = getattr(dataset, "views", 1)
    return _loader(dataset, workers, max(1, batch_size // views), key=0)


def _loader(
    dataset: LesionDataset, workers: int | None, batch_size: int, key: object, **settings: Any
) -> DataLoader:
    """key is any key of the dataset: its sample tells how large a batch is."""
    asked, workers = workers, default_workers() if workers is None else workers
    if workers and len(dataset):
        sample = sum(np.asarray(part).nbytes for part in dataset[key].values())
        batch = sample * min(batch_size, len(dataset))
        workers = with_room(workers, batch, must=asked is not None)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=AHEAD if workers else None,
        timeout=PATIENCE if workers else 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=collate,
        **settings,
    )


def batches(loader: Iterable[dict[str, torch.Tensor]]) -> Iterator[dict[str, torch.Tensor]]:
    """The batches of a loader, whose workers can start from any main script."""
    with faults_in_words(), startable_workers():
        iterator = iter(loader)
        # A loader prepared by Accelerate starts its workers only with the first batch.
        first = list(itertools.islice(iterator, 1))
    yield from first
    with faults_in_words():
        yield from iterator


@contextmanager
def startable_workers() -> Iterator[None]:
    """Let spawned and fork-served workers start from a converted notebook.

    Such workers import the main script again, and a notebook converted to a script has no
    `__main__` guard: each worker would train. Only while the loader starts them, the main module
    has no file and no spec to import; workers need nothing of it.
    """
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    for name in kept:
        delattr(main, name)
    main.__spec__ = None
    try:
        yield
    finally:
        del main.__spec__
        for name, value in kept.items():
            setattr(main, name, value)
