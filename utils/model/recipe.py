"""How a network is trained, as an experiment says: precision, learning rate, optimiser."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import nn

from utils.system.experiment import Experiment

PRECISIONS = ("auto", "fp32", "bf16")
SCHEDULES = ("cosine", "halve-30", "constant")
# With these a launcher or a server's profile would change what is trained; with _WHERE only on
# which device. RANK and its like come from a launcher that started a single process.
_CHANGE_RESULTS = (
    "ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_", "DEEPSPEED_", "FP8_", "XLA_",
    "RANK", "LOCAL_RANK", "WORLD_SIZE",
)  # fmt: skip
_WHERE = ("ACCELERATE_USE_CPU", "ACCELERATE_TORCH_DEVICE")


def choose_precision(precision: str, network: nn.Module, device: torch.device) -> str:
    """The requested precision ("fp32" or "bf16"), or for "auto" the one that was measured faster.

    auto is bf16 on a CUDA device with hardware support, and on a CPU with AMX unless most of the
    network's spatial convolutions are depthwise (ResNets and U-Nets train faster there, also a
    U-Net around EfficientNet-Lite, but EfficientNet-Lite alone trains slower); else fp32.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}.")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and _cpu_has_amx() and _is_dense(network) else "fp32"


def _is_dense(network: nn.Module) -> bool:
    """Whether most weights of spatial convolutions are in dense ones."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    spatial = [layer for layer in layers if layer.kernel_size != (1, 1)]
    grouped = sum(layer.weight.numel() for layer in spatial if layer.groups > 1)
    return grouped == 0 or grouped < sum(layer.weight.numel() for layer in spatial) / 2


def _cpu_has_amx() -> bool:
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a network computes in this precision ("fp32" or "bf16")."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def device_name(device: torch.device) -> str:
    """ "cpu", or the name of the GPU, for the record."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def accelerator() -> Accelerator:
    """An Accelerator that leaves the experiment unchanged, whatever the environment says.

    `autocast` sets the precision, and fp32 products are torch's default. The settings of an earlier
    Accelerator in this process are reset.
    """
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    torch.set_float32_matmul_precision("highest")
    with _without_overrides():
        return Accelerator(mixed_precision="no", gradient_accumulation_steps=1)


@contextmanager
def _without_overrides() -> Iterator[None]:
    hidden = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_CHANGE_RESULTS) and name not in _WHERE
    }
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def arithmetic(device: torch.device) -> str:
    """How fp32 numbers are multiplied, for the record: "ieee", or what GPUs do instead."""
    if device.type != "cuda":
        return "ieee"
    if (forced := os.environ.get("NVIDIA_TF32_OVERRIDE")) is not None:  # cuBLAS, cuDNN read it
        return f"as NVIDIA_TF32_OVERRIDE={forced} says"
    return "convolutions tf32, the rest ieee" if torch.backends.cudnn.allow_tf32 else "ieee"


def can_compile(device: torch.device, say: Callable[[str], None]) -> bool:
    """Whether torch.compile works here; says why where it does not.

    It needs a C++ compiler on a CPU or Triton on a GPU, and fails only at the first call.
    """
    try:
        torch.compile(lambda x: x + 1)(torch.ones(2, device=device))
    except Exception as error:  # the compiler's own errors have no common base class
        reason = str(error).strip().splitlines()[0]
        say(f"torch.compile does not work here ({reason}); training continues without it")
        return False
    return True


def learning_rate(experiment: Experiment, epochs_done: float) -> float:
    """Learning rate after epochs_done (a fraction within an epoch) of experiment.epochs.

    Linear warm-up over experiment.warmup_epochs, then experiment.schedule: "cosine" to zero at
    the end, "halve-30" (halved after every 30 epochs, as Zhang et al. do) or "constant".
    """
    if experiment.schedule not in SCHEDULES:
        raise ValueError(
            f"schedule is {experiment.schedule!r}; expected one of {', '.join(SCHEDULES)}."
        )
    warm_up = experiment.warmup_epochs
    if epochs_done < warm_up:
        # Not from zero: the first step should have an effect.
        return experiment.learning_rate * max(epochs_done / warm_up, 0.01)
    if experiment.schedule == "cosine":
        share = min((epochs_done - warm_up) / max(experiment.epochs - warm_up, 1), 1.0)
        return experiment.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
    if experiment.schedule == "halve-30":
        return experiment.learning_rate * 0.5 ** (epochs_done // 30)
    return experiment.learning_rate


def make_optimizer(network: nn.Module, experiment: Experiment) -> torch.optim.Optimizer:
    """experiment.optimizer ("adamw", or "sgd" with momentum 0.9) over the trainable parameters.

    Biases, norms and the attention weights α, all of fewer than two dimensions, have no weight
    decay.
    """
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": experiment.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    if experiment.optimizer == "adamw":
        # Fused: one pass over the parameters instead of ten.
        return torch.optim.AdamW(groups, lr=experiment.learning_rate, fused=True)
    if experiment.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=experiment.learning_rate, momentum=0.9)
    raise ValueError(f"optimizer is {experiment.optimizer!r}; expected adamw or sgd.")
