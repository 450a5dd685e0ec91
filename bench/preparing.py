"""Preparing a store, and verifying a tree: against one process that decodes alone."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image

from bench.memory import Peak, own_memory
from bench.report import Result, compare
from bench.settings import Settings
from bench.timing import alternate, median
from utils import data, fetching
from utils.data import store

AIM = 1.7  # with two cores
SIDE = 256
CPU = torch.device("cpu")
PAIR = ("one process that decodes", "ours")


def originals(settings: Settings) -> list[Result]:
    """The images in settings.fullres."""
    return _measure("originals", settings.fullres, settings, AIM)


def prepared_set(data_dir: Path, settings: Settings) -> list[Result]:
    """The images of the set at hand, whose files may be small already."""
    return _measure(data.note(data_dir), data_dir, settings, None)


def _measure(what: str, tree: Path, settings: Settings, aim: float | None) -> list[Result]:
    """Preparing with all cores against one that decodes; verifying; images/s and memory of each."""
    rows = data.read(tree)
    with tempfile.TemporaryDirectory() as folder:
        fresh = (Path(folder) / str(number) for number in itertools.count())
        contenders = {PAIR[0]: lambda: _decode_alone(rows), PAIR[1]: lambda: _prepare(fresh, rows)}
        times = alternate(contenders, settings.preparing_rounds, 0, CPU)
        note = _memory_note(lambda: _prepare(fresh, rows))
    seconds = alternate({"ours": lambda: fetching.verify(tree)}, settings.preparing_rounds, 0, CPU)
    rate = len(rows) / median(seconds["ours"])
    return [
        compare(
            f"preparing at {SIDE} px, {len(rows)} {what}",
            times,
            *PAIR,
            per=len(rows),
            aim=aim,
            note=f"{len(rows) / median(times['ours']):.0f} images/s, {note}",
        ),
        Result(
            f"verifying, {len(rows)} {what}",
            None,
            rate,
            "images/s",
            None,
            note=_memory_note(lambda: fetching.verify(tree)),
            times=seconds,
        ),
    ]


def _decode_alone(rows: pd.DataFrame) -> None:
    """What one process does that decodes every image and mask whole, and resizes them."""
    for image, mask in zip(rows["image"], rows["mask"], strict=True):
        for path, mode in ((image, "RGB"), (mask, "L")):
            if path:
                with Image.open(path) as file:
                    pixels = np.asarray(file.convert(mode))
                cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _prepare(fresh: Iterator[Path], rows: pd.DataFrame) -> None:
    folder = next(fresh)
    folder.mkdir()
    store.prepare(folder, rows, SIDE)


def _memory_note(work: Callable[[], object]) -> str:
    """How much memory the work held at once beyond what was held before."""
    before, peak = own_memory(), Peak()
    peak.start()
    work()
    return f"{max(0, peak.stop() - before):.0f} MB"
