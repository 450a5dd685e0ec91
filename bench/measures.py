"""Every part of `python -m bench`, in the order in which they run."""

from collections.abc import Iterator
from pathlib import Path

from bench import images, loop, memory, preparing, scoring, training
from bench.report import Result
from bench.settings import SEGMENTERS, Settings, sources
from utils.system.console import say


def measure(parts: list[str], data_dir: Path, settings: Settings) -> Iterator[Result]:
    """The results of the parts asked for, each as soon as it is there."""
    if not settings.fullres and {"data", "segmentation", "preparing"} & set(parts):
        say("no folder with original images (--fullres or $ISIC2017_FULLRES): left out")
    read = sources(data_dir, settings)
    if "step" in parts:
        yield from training.steps("arl18", settings.classifier(), settings)
        yield from training.steps("arl50", settings.classifier(), settings)
    if "loop" in parts:
        yield loop.training_loop(settings.classifier(), settings.loop_batches, data_dir, settings)
    if "data" in parts:
        for source in read:
            yield from images.labelled(source, settings)
    if "segmentation" in parts:
        for name in SEGMENTERS:
            yield from training.steps(name, settings.segmenter(name), settings)
        experiment = settings.segmenter("lite_unet")
        yield loop.training_loop(experiment, settings.mask_loop_batches, data_dir, settings)
        for source in read:
            yield images.with_masks(source, settings)
            yield scoring.masks(source, settings)
    if "preparing" in parts:
        for source in read:
            yield from preparing.against_one_process(source, settings)
    if "memory" in parts:
        yield from memory.against_number(settings)
