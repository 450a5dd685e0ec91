"""Masks scored end to end: network, original size, counts at every threshold."""

import tempfile
from pathlib import Path

import pandas as pd

import nets
from bench.report import Result
from bench.settings import Settings
from bench.timing import alternate, median
from utils import data
from utils.data import store
from utils.evaluation import full_size, mask_settings
from utils.model import recipe


def originals(settings: Settings) -> Result:
    """The images in settings.fullres, whose masks have millions of pixels."""
    return _measure("originals", data.read(settings.fullres), settings)


def prepared_set(data_dir: Path, settings: Settings) -> Result:
    """The first images of the set at hand."""
    rows = data.read(data_dir).head(settings.images).reset_index(drop=True)
    return _measure(data.note(data_dir), rows, settings)


def _measure(what: str, rows: pd.DataFrame, settings: Settings) -> Result:
    row = settings.segmenter("lite_unet")
    network = nets.build("lite_unet", 1).to(settings.device)
    precision = recipe.choose_precision("auto", network, settings.device)
    how = mask_settings(row, precision, views=1, clean_up=False)
    with tempfile.TemporaryDirectory() as folder:
        prepared = store.prepare(Path(folder), rows, row.stored_size)
        images = data.masks.TestImages(prepared, rows, row.image_size, row.test_image)
        work = {"ours": lambda: full_size.evaluate(network, images, rows, how)}
        times = alternate(work, settings.rounds, 0, settings.device)
    rate = len(rows) / median(times["ours"])
    side, name = row.image_size[0], f"scoring masks, {len(rows)} {what}"
    note = f"lite_unet at {side} px, {precision}, one view, 19 thresholds"
    return Result(name, None, rate, "images/s", None, note=note, times=times)
