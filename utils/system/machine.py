"""The machine that a run is made on, as far as the system tells, and who started it there."""

import os
import platform
from pathlib import Path
from typing import Any

import psutil

# How torchrun, accelerate and three kinds of MPI say how many processes they started.
_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


class LaunchError(ValueError):
    """The program was started in a way that cannot work; the message says which ways do."""


def refuse_several_processes() -> None:
    """LaunchError where a launcher was to start several processes for one run.

    `accelerate launch --num_processes 2` starts one where there is no GPU, and only leaves an
    address at which the others would meet.
    """
    told = [f"{name}={os.environ[name]}" for name in _SIZES if _more_than_one(name)]
    if "WORLD_SIZE" not in os.environ and {"MASTER_ADDR", "ACCELERATE_MIXED_PRECISION"} <= set(
        os.environ
    ):
        told.append("accelerate launch --num_processes")
    if told:
        raise LaunchError(
            f"{told[0]} asks for several processes, but a run is trained by one. Start it without "
            "torchrun, mpirun or accelerate launch; to train several runs at once, use "
            "python reproduce.py --jobs 2, or --executor slurm on a cluster."
        )


def _more_than_one(name: str) -> bool:
    size = os.environ.get(name, "")
    return size.isdecimal() and int(size) > 1


def machine() -> dict[str, Any]:
    """Processor, cores and memory (GB), for the record."""
    return {
        "processor": processor()[0],
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
    }


def processor() -> tuple[str, list[str]]:
    """Model name and instruction sets; where the system does not tell, what Python knows."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    return facts.get("model name", platform.processor()), facts.get("flags", "").split()
