"""Every part of `python -m bench`, in the order in which they run; and the machine they run on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch

from bench import images, loop, memory, preparing, training
from bench.report import Result
from bench.settings import SEGMENTERS, Settings, sources
from utils import logger
from utils.model import recipe
from utils.system.console import say
from utils.system.machine import machine, processor


def measure(parts: list[str], data_dir: Path, settings: Settings) -> Iterator[Result]:
    """The results of the parts asked for, each as soon as it is measured."""
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
            yield images.scored_masks(source, settings)
    if "preparing" in parts:
        for source in read:
            yield from preparing.against_one_process(source, settings)
    if "memory" in parts:
        yield from memory.against_number(settings)


def describe(device: torch.device) -> dict[str, Any]:
    """Processor, memory, GPU, versions and revision."""
    _, flags = processor()
    return machine() | {
        "instructions": [flag for flag in flags if flag.startswith(("amx", "avx512", "avx2"))],
        "device": recipe.device_name(device),
        "torch_threads": torch.get_num_threads(),
        "versions": logger.versions(),
        "git": logger.run.git_revision(),
    }


def load() -> float:
    """The load average of the last minute, this process included."""
    return psutil.getloadavg()[0]
