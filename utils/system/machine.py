"""The machine that runs the project, as far as the system tells, and what started it there."""

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psutil

# Where torchrun, accelerate and three kinds of MPI give the number of processes they started.
_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


class LaunchError(ValueError):
    """The program was started in a way that cannot work; the message says which ways do."""


def refuse_several_processes() -> None:
    """LaunchError where a launcher was asked for several processes for one run.

    `accelerate launch --num_processes 2` starts one where there is no GPU, and only leaves the
    address at which the others would meet.
    """
    sizes = {name: os.environ.get(name, "") for name in _SIZES}
    found = [f"{name}={n}" for name, n in sizes.items() if n.isdecimal() and int(n) > 1]
    rendezvous = {"MASTER_ADDR", "ACCELERATE_MIXED_PRECISION"} <= set(os.environ)
    if rendezvous and "WORLD_SIZE" not in os.environ:
        found.append("accelerate launch --num_processes")
    if found:
        raise LaunchError(
            f"{found[0]} asks for several processes, but a run is trained by one. Start it without "
            "torchrun, mpirun or accelerate launch; to train several runs at once, use "
            "python reproduce.py --jobs 2, or --executor slurm on a cluster."
        )


SHARE = "LESIONS_CORES"  # in the environment of a row that is trained beside others


def cores() -> int:
    """How many cores this process may use: fewer than all under taskset, Slurm, or beside rows."""
    allowed = getattr(os, "sched_getaffinity", None)
    here = len(allowed(0)) if allowed else os.cpu_count() or 1
    return min(here, int(os.environ.get(SHARE, here)))


def cards() -> dict[str, float]:
    """Memory (GiB) of each NVIDIA GPU by its number, as `nvidia-smi` tells without loading torch.

    Those that CUDA_VISIBLE_DEVICES leaves out are not listed.
    """
    if not (program := shutil.which("nvidia-smi")):
        return {}
    query = [program, "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return {}
    memory: dict[str, float] = {}
    for line in done.stdout.splitlines():
        number, uuid, mebibytes = (part.strip() for part in line.split(","))
        memory |= dict.fromkeys((number, uuid), float(mebibytes) / 1024)
    numbers = ",".join(name for name in memory if name.isdecimal())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", numbers).split(",")
    return {name: memory[name] for name in map(str.strip, visible) if name in memory}


def machine() -> dict[str, Any]:
    """Processor, cores and memory (GiB), for the record."""
    return {
        "processor": processor()[0],
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
    }


def vendor() -> str:
    """Who made the processor: "AMD", "Intel", or "" for others and where nothing says so."""
    known = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}
    said = f"{_cpuinfo().get('vendor_id', '')} {platform.processor()}"  # the latter on Windows
    return next((name for mark, name in known.items() if mark in said), "")


def processor() -> tuple[str, list[str]]:
    """Model name and instruction sets; without /proc/cpuinfo what Python knows."""
    facts = _cpuinfo()
    return facts.get("model name", platform.processor()), facts.get("flags", "").split()


def _cpuinfo() -> dict[str, str]:
    """The facts of /proc/cpuinfo about the last core; empty on other systems than Linux."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}
