"""The machine that was measured: what the numbers depend on."""

import os
import platform
from pathlib import Path
from typing import Any

import psutil
import torch

from utils import logger, recipe


def describe(device: torch.device) -> dict[str, Any]:
    """Processor, memory, GPU, versions and revision."""
    model, flags = _processor()
    return {
        "processor": model,
        "instructions": [flag for flag in flags if flag.startswith(("amx", "avx512", "avx2"))],
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "device": recipe.device_name(device),
        "torch_threads": torch.get_num_threads(),
        "versions": logger.versions(),
        "git": logger.git_revision(),
    }


def load() -> float:
    """How many processes wanted to run in the last minute, on average, ours among them."""
    return psutil.getloadavg()[0]


def _processor() -> tuple[str, list[str]]:
    """Model name and instruction sets, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    return facts.get("model name", platform.processor()), facts.get("flags", "").split()
