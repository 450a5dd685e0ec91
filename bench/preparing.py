"""Preparing a store, and verifying a tree: against one process that decodes alone."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from bench.memory import Peak
from bench.report import Result, compare, rate
from bench.settings import Settings, Source
from bench.timing import alternate
from utils import data, fetching
from utils.data import store

AIM = 1.7  # with two cores
SIDE = 256
PAIR = ("one process that decodes", "ours")


def against_one_process(source: Source, settings: Settings) -> list[Result]:
    """Preparing with all cores against one that decodes; verifying; images/s and memory of each."""
    images, rounds = data.read(source.folder), settings.preparing_rounds
    what, count = f"{len(images)} {source.name}", len(images)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store.prepare(Path(folder), images, SIDE)

    def verifying() -> None:
        fetching.verify(source.folder)

    times = alternate({PAIR[0]: lambda: _decode_alone(images), PAIR[1]: ours}, rounds)
    note = f"{count / median(times['ours']):.0f} images/s, {_memory_note(ours)}"
    measure = f"preparing at {SIDE} px, {what}"
    seconds = alternate({"ours": verifying}, rounds)["ours"]
    return [
        compare(measure, times, *PAIR, per=count, aim=source.aim(AIM), note=note),
        rate(f"verifying, {what}", seconds, count, _memory_note(verifying)),
    ]


def _decode_alone(images: pd.DataFrame) -> None:
    """What one process does that decodes every image and mask whole, and resizes them."""
    for image, mask in zip(images["image"], images["mask"], strict=True):
        for path, mode in ((image, "RGB"), (mask, "L")):
            if path:
                with Image.open(path) as file:
                    pixels = np.asarray(file.convert(mode))
                cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _memory_note(work: Callable[[], object]) -> str:
    """How much memory the work held at once beyond what was held before."""
    with Peak() as peak:
        work()
    return f"{max(0, peak.mb - peak.before):.0f} MB"
