"""Where the device's memory is full: a sentence that says what helps, and nothing left in it."""

import gc
import os
import re
import shutil
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from torch import nn

from utils.model.device import device_name
from utils.system.allocation import memory_kept
from utils.system.console import amount
from utils.system.experiment import Experiment

# Where torch has no class of its own for it: Apple's GPUs, CPUs, calls of CUDA itself.
_FULL = re.compile(r"(MPS backend|CUDA error).*out of memory|DefaultCPUAllocator")


class MemoryFullError(torch.OutOfMemoryError):
    """The device's memory is too small for the run; the message names what fills it."""


@contextmanager
def memory_in_words(experiment: Experiment, *modules: nn.Module) -> Iterator[None]:
    """MemoryFullError where the memory runs out inside; at the end it is free again.

    An interactive session keeps an error, the error its frames, and these every tensor of the
    failed step: their variables are deleted. The modules, which the session has too, return to the
    CPU without gradients.
    """
    found = ""
    try:
        with memory_kept():
            yield
    except (RuntimeError, MemoryError) as error:
        kinds = (torch.OutOfMemoryError, MemoryError)
        if not isinstance(error, kinds) and not _FULL.search(str(error)):
            raise
        found = _found(experiment, _device_of(*modules))
        _forget(error)
    if not found:
        return
    for module in modules:
        module.zero_grad(set_to_none=True)
        module.cpu()
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    raise MemoryFullError(found)


def _forget(error: BaseException) -> None:
    """Delete the local variables of all frames that the error, or one before it, keeps."""
    earlier: BaseException | None = error
    while earlier is not None:
        traceback.clear_frames(earlier.__traceback__)
        earlier = earlier.__context__


def _device_of(*modules: nn.Module) -> torch.device:
    return next((p.device for module in modules for p in module.parameters()), torch.device("cpu"))


def _found(experiment: Any, device: torch.device) -> str:
    size = experiment.image_size
    found = f"the memory of {device_name(device)} is full: batch_size is {experiment.batch_size} "
    found += f"and image_size {size} px"
    others = ""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        ours = torch.cuda.memory_reserved(device)
        found += f"; of {amount(total)} this process held {amount(ours)}, and {amount(free)} were "
        found += "free"
        others = _others()
    elif device.type == "cpu":
        memory = psutil.virtual_memory()
        found += f"; of {amount(memory.total)}, {amount(memory.available)} are free"
    ends = ", end the other processes" if others else ""
    return (
        f"{found}{others}. Choose a smaller batch_size (with resume='restart' where the run has "
        f"begun; image_size, too, changes results){ends}, or train on device='cpu'."
    )


def _others() -> str:
    """The other processes on NVIDIA cards, where the driver's program tells."""
    if not (program := shutil.which("nvidia-smi")):
        return ""
    query = ["--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            [program, *query], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = [line.split(", ") for line in done.stdout.splitlines() if line.count(", ") == 2]
    names = [
        f"{name} (process {pid}, {used})" for pid, name, used in lines if pid != str(os.getpid())
    ]
    return f"; also on the card: {', '.join(names)}" if names else ""
