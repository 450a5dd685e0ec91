"""Loading and augmenting, without a network: the prepared store against decoding every time."""

import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

from bench import baseline
from bench.report import Result, compare
from bench.settings import Settings
from bench.timing import Work, alternate, epochs_to_pay_off, median
from utils import data, loaders, store

AIM_EPOCH, AIM_VIEWS = 20.0, 10.0
CPU = torch.device("cpu")


def originals(settings: Settings) -> list[Result]:
    """An epoch and the nine views of the images in settings.fullres."""
    rows = data.read(settings.fullres)
    results = []
    for profile in ("best", "paper"):
        results += _measure("originals", rows, profile, settings, AIM_EPOCH, AIM_VIEWS)
    return results


def prepared_set(data_dir: Path, settings: Settings) -> list[Result]:
    """The same on the first images of the set at hand, whose files may be small already."""
    rows = data.read(data_dir).head(settings.images)
    return _measure(data.note(data_dir), rows, "best", settings, None, None)


def _measure(
    what: str,
    rows: pd.DataFrame,
    profile: str,
    settings: Settings,
    aim_epoch: float | None,
    aim_views: float | None,
) -> list[Result]:
    """Epoch and views, each in one process on either side, and what preparing costs."""
    row = settings.row(profile)
    paths, size, batch = rows["image"].tolist(), row.image_size, row.batch_size
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        prepared = store.prepare(Path(folder), rows, row.stored_size)
        cost = time.perf_counter() - start
        transform = loaders.training_transform(size, row.patch_scales, row.colour)
        patches = loaders.TrainingPatches(prepared, rows, transform, row.seed)
        views = loaders.TestViews(prepared, rows, size)
        epoch = _alternate(
            baseline.data_epoch(paths, size, batch),
            loaders.training_loader(patches, batch, 0),
            settings,
        )
        tests = _alternate(
            baseline.nine_views(paths, size, batch),
            loaders.evaluation_loader(views, batch * loaders.VIEWS, 0),
            settings,
        )
    medians = [median(epoch[name]) for name in ("earlier code", "ours")]
    paid = epochs_to_pay_off(cost, *medians)
    when = "never paid off" if paid is None else f"paid off in epoch {paid}"
    note = f"preparing took {cost:.2f} s once, {when}"
    name = f"{len(rows)} {what}, profile {profile}"
    pair = ("earlier code", "ours")
    return [
        compare(f"data epoch, {name}", epoch, *pair, per=len(rows), aim=aim_epoch, note=note),
        compare(f"nine views, {name}", tests, *pair, per=len(rows), aim=aim_views),
    ]


def _alternate(
    earlier: Work, loader: torch.utils.data.DataLoader, settings: Settings
) -> dict[str, list[float]]:
    ours = {"earlier code": earlier, "ours": lambda: [None for _ in loader]}
    return alternate(ours, settings.rounds, settings.least, CPU)
