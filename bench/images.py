"""Images: decoding, augmenting, scoring masks, preparing and verifying."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import cast

import cv2
import numpy as np
import pandas as pd

import experiments
import nets
from bench import earlier
from bench.memory import Peak
from bench.report import Result, compare, rate
from bench.settings import Settings, Source
from bench.timing import Work, alternate, paid_back, passes
from experiments import ClassificationRow, Row, SegmentationRow
from utils import data, fetching, task
from utils.evaluation import full_size, mask_settings
from utils.model import recipe
from utils.system.size import Size

AIM_EPOCH, AIM_VIEWS = 20.0, 10.0
AIM_PREPARING = 1.7  # with two cores
SIDE = 256  # px, of what is prepared
ALONE = "one process that decodes"


def labelled(source: Source, settings: Settings) -> Iterator[Result]:
    """An epoch and the nine views, each in one process on either side."""
    images, count = source.images, len(source.images)
    for profile in ("best", "paper") if source.originals else ("best",):
        experiment = cast(ClassificationRow, settings.experiment("arl18", profile))
        size, batch = experiment.image_size, experiment.batch_size
        name = f"{source.title}, profile {profile}"
        yield _epoch(f"data epoch, {name}", source, experiment, settings, source.aim(AIM_EPOCH))
        with _prepared(images, experiment.stored_size) as (prepared, _):
            views = data.TestViews(prepared, images, size)
            ours = passes(data.evaluation_loader(views, batch * data.VIEWS, 0))
            times = _race(earlier.nine_views(images, size, batch), ours, settings)
        yield compare(f"nine views, {name}", times, count, aim=source.aim(AIM_VIEWS))


def with_masks(source: Source, settings: Settings) -> Iterator[Result]:
    """An epoch of images with masks, in one process on either side; and masks scored."""
    experiment = settings.experiment("lite_unet")
    if source.originals:  # as the coursework had them
        experiment = experiments.get("seg-6", "coursework")
    width, height = Size.parse(experiment.image_size)
    name = f"data epoch with masks, {source.title}, {width}×{height} px"
    yield _epoch(name, source, experiment, settings)
    yield _scored_masks(source, settings)


def _epoch(
    name: str, source: Source, experiment: Row, settings: Settings, aim: float | None = None
) -> Result:
    """The prepared store against decoding every time, and what preparing costs."""
    images = source.images
    with _prepared(images, experiment.stored_size) as (prepared, cost):
        trained = task.of(experiment).training_set(experiment, prepared, images)
        ours = passes(data.training_loader(trained, experiment.batch_size, 0))
        times = _race(earlier.data_epoch(images, experiment), ours, settings)
    paid = paid_back(cost, *map(median, times.values()))
    note = f"preparing took {cost:.2f} s once, {paid}"
    return compare(name, times, len(images), aim=aim, note=note)


def _scored_masks(source: Source, settings: Settings) -> Result:
    """Masks scored end to end: network, original size, counts at every threshold."""
    images = source.images
    experiment = cast(SegmentationRow, settings.experiment("lite_unet"))
    network = nets.build("lite_unet", 1).to(settings.device)
    precision = recipe.choose_precision("auto", network, settings.device)
    how = mask_settings(experiment, precision, views=1, clean_up=False)
    with _prepared(images, experiment.stored_size) as (prepared, _):
        pixels = data.TestImages(prepared, images, experiment.image_size, experiment.test_image)
        work = {"ours": lambda: full_size.evaluate(network, pixels, images, how)}
        times = alternate(work, settings.rounds)
    side = experiment.image_size[0]
    note = f"lite_unet at {side} px, {precision}, one view, 19 thresholds"
    return rate(f"scoring masks, {source.title}", times, len(images), note)


def preparing(source: Source, settings: Settings) -> Iterator[Result]:
    """Preparing with all cores against one that decodes; verifying; images/s and memory of each."""
    images, rounds, count = source.images, settings.preparing_rounds, len(source.images)

    def ours() -> None:
        with _prepared(images, SIDE):
            pass

    times = alternate({ALONE: lambda: _decode_alone(images), "ours": ours}, rounds)
    note = f"{count / median(times['ours']):.0f} images/s, {_memory_note(ours)}"
    measure, aim = f"preparing at {SIDE} px, {source.title}", source.aim(AIM_PREPARING)
    yield compare(measure, times, count, aim=aim, note=note)

    def verifying() -> None:
        fetching.verify(source.folder)

    times = alternate({"ours": verifying}, rounds)
    yield rate(f"verifying, {source.title}", times, count, _memory_note(verifying))


@contextmanager
def _prepared(
    images: pd.DataFrame, size: int | tuple[int, int]
) -> Iterator[tuple[data.Store, float]]:
    """A fresh store of the images while this is open, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        prepared = data.prepare(Path(folder), images, size)
        yield prepared, time.perf_counter() - start


def _race(earlier_way: Work, ours: Work, settings: Settings) -> dict[str, list[float]]:
    contenders = {"earlier code": earlier_way, "ours": ours}
    return alternate(contenders, settings.rounds, settings.least)


def _decode_alone(images: pd.DataFrame) -> None:
    """What one process does that decodes every image and mask whole, and resizes them."""
    for image, mask in zip(images["image"], images["mask"], strict=True):
        for path, mode in ((image, "RGB"), (mask, "L")):
            if path:
                pixels = np.asarray(earlier.opened(path, mode))
                cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _memory_note(work: Callable[[], object]) -> str:
    """How much memory the work held at once beyond what was held before."""
    with Peak() as peak:
        work()
    return f"{max(0, peak.mb - peak.before):.0f} MB"
