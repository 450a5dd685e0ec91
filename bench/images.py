"""Loading and augmenting, without a network: the prepared store against decoding every time."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import DataLoader

import experiments
from bench import baseline, baseline_seg, tasks
from bench.report import Result, compare
from bench.settings import Settings
from bench.timing import Work, alternate, epochs_to_pay_off, median
from experiments import Row
from utils import data
from utils.data import loaders, patches, store

AIM_EPOCH, AIM_VIEWS = 20.0, 10.0
CPU = torch.device("cpu")
PAIR = ("earlier code", "ours")


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


def originals_with_masks(settings: Settings) -> Result:
    """An epoch of the images in settings.fullres and their masks, as the coursework had them."""
    row = experiments.get("seg-6", "coursework")
    return _measure_masks("originals", data.read(settings.fullres), row, settings)


def prepared_set_with_masks(data_dir: Path, settings: Settings) -> Result:
    """An epoch of the first images of the set at hand and their masks."""
    rows = data.read(data_dir).head(settings.images)
    return _measure_masks(data.note(data_dir), rows, settings.segmenter("lite_unet"), settings)


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
    with _prepared(rows, row) as (prepared, cost):
        views = patches.TestViews(prepared, rows, size)
        epoch = _alternate(
            baseline.data_epoch(paths, size, batch), _loader(row, prepared, rows), settings
        )
        tests = _alternate(
            baseline.nine_views(paths, size, batch),
            loaders.evaluation_loader(views, batch * patches.VIEWS, 0),
            settings,
        )
    note = _cost_note(cost, epoch)
    name = f"{len(rows)} {what}, profile {profile}"
    return [
        compare(f"data epoch, {name}", epoch, *PAIR, per=len(rows), aim=aim_epoch, note=note),
        compare(f"nine views, {name}", tests, *PAIR, per=len(rows), aim=aim_views),
    ]


def _measure_masks(what: str, rows: pd.DataFrame, row: Row, settings: Settings) -> Result:
    """An epoch of images with masks, in one process on either side."""
    pairs = list(zip(rows["image"], rows["mask"], strict=True))
    earlier = baseline_seg.data_epoch(pairs, row.image_size, row.batch_size)
    with _prepared(rows, row) as (prepared, cost):
        epoch = _alternate(earlier, _loader(row, prepared, rows), settings)
    name = f"{len(rows)} {what}, {row.image_size[0]}×{row.image_size[1]} px"
    note = _cost_note(cost, epoch)
    return compare(f"data epoch with masks, {name}", epoch, *PAIR, per=len(rows), note=note)


@contextmanager
def _prepared(rows: pd.DataFrame, row: Row) -> Iterator[tuple[store.Store, float]]:
    """A fresh store of the rows while this is open, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        prepared = store.prepare(Path(folder), rows, row.stored_size)
        yield prepared, time.perf_counter() - start


def _loader(row: Row, prepared: store.Store, rows: pd.DataFrame) -> DataLoader:
    return loaders.training_loader(tasks.training_set(row, prepared, rows), row.batch_size, 0)


def _alternate(earlier: Work, loader: DataLoader, settings: Settings) -> dict[str, list[float]]:
    contenders = dict(zip(PAIR, (earlier, lambda: [None for _ in loader]), strict=True))
    return alternate(contenders, settings.rounds, settings.least, CPU)


def _cost_note(cost: float, epoch: dict[str, list[float]]) -> str:
    paid = epochs_to_pay_off(cost, *(median(epoch[name]) for name in PAIR))
    when = "never paid off" if paid is None else f"paid off in epoch {paid}"
    return f"preparing took {cost:.2f} s once, {when}"
