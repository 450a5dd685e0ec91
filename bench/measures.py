"""Every part of `python -m bench`, in the order in which they run; and the machine they run on."""

from collections.abc import Iterator, Sequence
from typing import Any

import psutil
import torch

from bench import gpu, images, memory, training
from bench.report import Result
from bench.settings import CLASSIFIERS, SEGMENTERS, Settings
from utils import logger
from utils.model import recipe
from utils.system.console import say
from utils.system.machine import machine, processor


def measure(parts: Sequence[str], settings: Settings) -> Iterator[Result]:
    """The results of the parts asked for, each as soon as it is measured."""
    if not settings.fullres and {"data", "segmentation", "preparing"} & set(parts):
        say("no folder with original images (--fullres or $ISIC2017_FULLRES): left out")
    if "step" in parts:
        for name in CLASSIFIERS:
            yield from training.steps(name, settings)
    if "loop" in parts:
        yield training.loop("arl18", settings.loop_batches, settings)
    if "data" in parts:
        for source in settings.sources(settings.images):
            yield from images.labelled(source, settings)
    if "segmentation" in parts:
        for name in SEGMENTERS:
            yield from training.steps(name, settings)
        yield training.loop("lite_unet", settings.mask_loop_batches, settings)
        for source in settings.sources(settings.images):
            yield from images.with_masks(source, settings)
    if "preparing" in parts:
        for source in settings.sources():
            yield from images.preparing(source, settings)
    if "gpu" in parts:
        yield from gpu.all_of_it(settings)
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
