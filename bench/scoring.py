"""Masks scored end to end: network, original size, counts at every threshold."""

import tempfile
from pathlib import Path

import nets
from bench.report import Result, rate
from bench.settings import Settings, Source
from bench.timing import alternate
from utils import data
from utils.data import store
from utils.evaluation import full_size, mask_settings
from utils.model import recipe


def masks(source: Source, settings: Settings) -> Result:
    """The masks of a source; those of originals have millions of pixels."""
    table = source.images(settings)
    experiment = settings.segmenter("lite_unet")
    network = nets.build("lite_unet", 1).to(settings.device)
    precision = recipe.choose_precision("auto", network, settings.device)
    settings_of_masks = mask_settings(experiment, precision, views=1, clean_up=False)
    with tempfile.TemporaryDirectory() as folder:
        prepared = store.prepare(Path(folder), table, experiment.stored_size)
        images = data.masks.TestImages(
            prepared, table, experiment.image_size, experiment.test_image
        )
        work = {"ours": lambda: full_size.evaluate(network, images, table, settings_of_masks)}
        times = alternate(work, settings.rounds)
    side = experiment.image_size[0]
    note = f"lite_unet at {side} px, {precision}, one view, 19 thresholds"
    return rate(f"scoring masks, {len(table)} {source.name}", times["ours"], len(table), note)
