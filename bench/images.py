"""Loading and augmenting: the prepared store against decoding every time; and scoring masks."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import cast

import pandas as pd

import experiments
import nets
from bench import baseline, baseline_seg
from bench.report import Result, compare, rate
from bench.settings import Settings, Source
from bench.tasks import Trained
from bench.timing import Work, alternate, paid_back, passes
from experiments import SegmentationRow
from utils import data, task
from utils.data import loaders, patches, store
from utils.evaluation import full_size, mask_settings
from utils.model import recipe

AIM_EPOCH, AIM_VIEWS = 20.0, 10.0
PAIR = ("earlier code", "ours")


def labelled(source: Source, settings: Settings) -> Iterator[Result]:
    """An epoch and the nine views, each in one process on either side, and what preparing costs."""
    images = source.images(settings)
    paths, count = images["image"].tolist(), len(images)
    for profile in ("best", "paper") if source.originals else ("best",):
        experiment = settings.classifier(profile)
        size, batch = experiment.image_size, experiment.batch_size
        name = f"{count} {source.name}, profile {profile}"
        with _prepared(images, experiment) as (prepared, cost):
            earlier = baseline.data_epoch(paths, size, batch)
            times = _race(earlier, _epoch(experiment, prepared, images), settings)
            note, aim = _cost_note(cost, times), source.aim(AIM_EPOCH)
            yield compare(f"data epoch, {name}", times, *PAIR, per=count, aim=aim, note=note)
            views = patches.TestViews(prepared, images, size)
            ours = passes(loaders.evaluation_loader(views, batch * patches.VIEWS, 0))
            times = _race(baseline.nine_views(paths, size, batch), ours, settings)
            aim = source.aim(AIM_VIEWS)
            yield compare(f"nine views, {name}", times, *PAIR, per=count, aim=aim)


def with_masks(source: Source, settings: Settings) -> Result:
    """An epoch of images with masks, in one process on either side."""
    experiment = settings.segmenter("lite_unet")
    if source.originals:  # as the coursework had them
        experiment = cast(SegmentationRow, experiments.get("seg-6", "coursework"))
    images = source.images(settings)
    pairs = list(zip(images["image"], images["mask"], strict=True))
    earlier = baseline_seg.data_epoch(pairs, experiment.image_size, experiment.batch_size)
    with _prepared(images, experiment) as (prepared, cost):
        times = _race(earlier, _epoch(experiment, prepared, images), settings)
    width, height = experiment.image_size
    name = f"data epoch with masks, {len(images)} {source.name}, {width}×{height} px"
    return compare(name, times, *PAIR, per=len(images), note=_cost_note(cost, times))


def scored_masks(source: Source, settings: Settings) -> Result:
    """Masks scored end to end: network, original size, counts at every threshold."""
    images = source.images(settings)
    experiment = settings.segmenter("lite_unet")
    network = nets.build("lite_unet", 1).to(settings.device)
    precision = recipe.choose_precision("auto", network, settings.device)
    how = mask_settings(experiment, precision, views=1, clean_up=False)
    with _prepared(images, experiment) as (prepared, _):
        pixels = data.masks.TestImages(
            prepared, images, experiment.image_size, experiment.test_image
        )
        work = {"ours": lambda: full_size.evaluate(network, pixels, images, how)}
        times = alternate(work, settings.rounds)
    side = experiment.image_size[0]
    note = f"lite_unet at {side} px, {precision}, one view, 19 thresholds"
    return rate(f"scoring masks, {len(images)} {source.name}", times["ours"], len(images), note)


@contextmanager
def _prepared(images: pd.DataFrame, experiment: Trained) -> Iterator[tuple[store.Store, float]]:
    """A fresh store of the images while this is open, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        prepared = store.prepare(Path(folder), images, experiment.stored_size)
        yield prepared, time.perf_counter() - start


def _epoch(experiment: Trained, prepared: store.Store, images: pd.DataFrame) -> Work:
    trained = task.of(experiment).training_set(experiment, prepared, images)
    return passes(loaders.shuffled_loader(trained, experiment.batch_size, 0))


def _race(earlier: Work, ours: Work, settings: Settings) -> dict[str, list[float]]:
    contenders = dict(zip(PAIR, (earlier, ours), strict=True))
    return alternate(contenders, settings.rounds, settings.least)


def _cost_note(cost: float, times: dict[str, list[float]]) -> str:
    earlier, ours = (median(times[name]) for name in PAIR)
    return f"preparing took {cost:.2f} s once, {paid_back(cost, earlier, ours)}"
