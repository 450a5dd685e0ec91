"""The device that computes: which one, whether it can be used, and how it does arithmetic."""

import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DataLoaderConfiguration
from torch import Tensor, nn

from utils.system.console import say

DEVICES = ("auto", "cpu", "cuda", "mps")
# With these a launcher or a server's profile would change what is trained; with _WHERE only on
# which device. RANK and its like come from a launcher that started a single process.
_CHANGE_RESULTS = (
    "ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_", "DEEPSPEED_", "FP8_", "XLA_",
    "RANK", "LOCAL_RANK", "WORLD_SIZE",
)  # fmt: skip
_WHERE = ("ACCELERATE_USE_CPU", "ACCELERATE_TORCH_DEVICE")
_CURE = "see 'GPUs' in README.md, or use device='cpu', which is many times slower"


class DeviceError(RuntimeError):
    """The device that was asked for is missing or cannot be used; the message says why."""


def choose_device(wanted: str = "auto", say: Callable[[str], None] = say) -> torch.device:
    """The device of a parameter `device`: "auto", "cpu", "cuda" or "mps".

    auto is a GPU where one can be used. An NVIDIA GPU that is there but cannot be used is said, and
    the CPU taken. DeviceError where "cuda" or "mps" was asked for and cannot be had. Which of
    several cards "cuda" is, CUDA_VISIBLE_DEVICES says.
    """
    if wanted not in DEVICES:
        raise ValueError(f"device is {wanted!r}; expected one of {', '.join(DEVICES)}.")
    if wanted == "auto":
        if fault := gpu_fault():
            say(f"{fault}. The CPU is used instead: {_CURE}.")
            return torch.device("cpu")
        return accelerator().device
    if wanted == "cuda" and (fault := gpu_fault() or _no_cuda()):
        raise DeviceError(f"device is 'cuda', but {fault}: {_CURE}.")
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device is 'mps', but this is no Mac with Apple silicon; use 'auto'.")
    return torch.device(wanted)


def gpu_fault() -> str:
    """Why an NVIDIA GPU of this machine cannot be used; "" where it can, or there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's words for the same
        if torch.cuda.is_available():
            return _no_kernels()
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:  # the latter: torch without CUDA
            reason = str(error)
    if driver := re.search(r"too old \(found version (\d+)\)", reason):
        found = int(driver[1])
        return (
            f"the NVIDIA driver is too old: it supports CUDA {found // 1000}.{found % 1000 // 10}, "
            f"and torch {torch.__version__} needs {torch.version.cuda}"
        )
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")  # on purpose
    if hidden or not _has_nvidia_card():
        return ""
    return f"torch {torch.__version__} cannot use the NVIDIA GPU here ({reason.split('. ')[0]})"


def _no_kernels() -> str:
    """Why the first card cannot run the installed torch, or ""."""
    built = torch.cuda.get_arch_list()
    major, minor = torch.cuda.get_device_capability()
    kinds = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", kind) for kind in built]
    for kind in filter(None, kinds):
        made = int(kind[2]), int(kind[3])
        # sm_80 also runs on 8.6; compute_80 is compiled for any later card when it is used.
        if made <= (major, minor) and (kind[1] == "compute" or made[0] == major):
            return ""
    if torch.version.hip or not built:
        return ""
    return (
        f"torch {torch.__version__} has no kernels for the {torch.cuda.get_device_name()} "
        f"(compute capability {major}.{minor}); it was built for {', '.join(built)}"
    )


def _no_cuda() -> str:
    return "" if torch.cuda.is_available() else "torch finds no GPU"


def _has_nvidia_card() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*")) or shutil.which("nvidia-smi") is not None


def accelerator(device: torch.device | None = None) -> Accelerator:
    """An Accelerator that leaves the experiment unchanged, whatever the environment says.

    Only where no device is given, the environment may choose it. `recipe.autocast` sets the
    precision. Products of fp32 numbers are of IEEE's precision, in convolutions on a GPU of TF32's:
    torch's defaults, chosen here, recorded by `arithmetic`. The settings of an earlier Accelerator
    in this process are reset.
    """
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True  # all batches of a run have one shape
    with _environment(device):
        return Accelerator(
            cpu=device is not None and device.type == "cpu",
            mixed_precision="no",
            gradient_accumulation_steps=1,
            # A copy to the GPU then waits for nothing.
            dataloader_config=DataLoaderConfiguration(non_blocking=True),
        )


@contextmanager
def _environment(device: torch.device | None) -> Iterator[None]:
    """Without what would change results; with a device, without what would choose another."""
    kept = () if device is not None else _WHERE
    hidden = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_CHANGE_RESULTS) and name not in kept
    }
    for name in hidden:
        del os.environ[name]
    if device is not None:
        os.environ["ACCELERATE_TORCH_DEVICE"] = str(device)
    try:
        yield
    finally:
        if device is not None:
            del os.environ["ACCELERATE_TORCH_DEVICE"]
        os.environ.update(hidden)


def device_name(device: torch.device) -> str:
    """ "cpu", or the name of the GPU, for the record."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def arithmetic(device: torch.device) -> str:
    """How fp32 numbers are multiplied, for the record: "ieee", or what GPUs do instead."""
    if device.type != "cuda":
        return "ieee"
    if (forced := os.environ.get("NVIDIA_TF32_OVERRIDE")) is not None:  # cuBLAS, cuDNN read it
        return f"as NVIDIA_TF32_OVERRIDE={forced} says"
    has_tf32 = torch.cuda.get_device_capability(device) >= (8, 0)
    if has_tf32 and torch.backends.cudnn.allow_tf32:
        return "convolutions tf32, the rest ieee"
    return "ieee"


@contextmanager
def ieee_convolutions() -> Iterator[None]:
    """No TF32: fp32 numbers that are compared between machines are the same to four digits."""
    kept = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = kept


def layout(device: torch.device) -> torch.memory_format:
    """The order of maps in memory: channels_last, but contiguous on Apple's GPUs.

    There batch norm's gradient of channels_last maps is wrong in some releases of torch:
    https://github.com/pytorch/pytorch/issues/175189
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """The network itself, on the device and in its layout."""
    return network.to(device).to(memory_format=layout(device))


def laid_out(images: Tensor, device: torch.device) -> Tensor:
    """A loader's images, (…, 3, H, W) and channels_last, in the layout of the device."""
    return images.contiguous() if layout(device) == torch.contiguous_format else images
