"""The machine that was measured: what the numbers depend on."""

from typing import Any

import psutil
import torch

from utils import logger
from utils.model import recipe
from utils.system.machine import machine, processor


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
    """How many processes wanted to run in the last minute, on average, ours among them."""
    return psutil.getloadavg()[0]
