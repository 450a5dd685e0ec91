"""How a network is trained, as an experiment says: precision, learning rate, optimiser."""

import math

import torch
from torch import nn

from utils.model.device import device_name as device_name
from utils.system.experiment import Experiment
from utils.system.machine import vendor

PRECISIONS = ("auto", "fp32", "bf16")
SCHEDULES = ("cosine", "halve-30", "constant")

# What "auto" is on a CPU: for networks of dense convolutions, and for those whose spatial
# convolutions are mostly depthwise (EfficientNet-Lite; these compute in fp32 in either case, see
# `nets.depthwise`). Steps of training were timed against fp32 on one thread; docs/speed.md.
ON_CPU = {
    "AMX": ("bf16", "bf16"),  # 1.9 to 4 times as fast; depthwise is inferred, not measured
    "AMD's AVX512-BF16": ("bf16", "bf16"),  # Zen 4 and 5: 1.9 to 2.8; depthwise 1.5
    # It issues bf16 products at half the rate of others, so that dense networks take 1.5 to 1.8
    # times as long. (A virtual machine may hide the AMX of such a processor.)
    "another AVX512-BF16": ("fp32", "bf16"),
    "": ("fp32", "fp32"),  # bf16 is emulated
}


def choose_precision(precision: str, network: nn.Module, device: torch.device) -> str:
    """The requested precision ("fp32" or "bf16"), or for "auto" the one that was measured faster.

    auto is bf16 on a CUDA device with hardware support, on a CPU as in ON_CPU, else fp32. fp16 is
    none of them: it would be fast on a T4, which emulates bf16, but needs a loss scale that adapts
    to the gradients, as part of every checkpoint, and steps that are left out.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}.")
    if precision != "auto":
        return precision
    if device.type == "cpu":
        dense, depthwise = ON_CPU[bf16_unit()]
        return dense if _is_dense(network) else depthwise
    return "bf16" if device.type == "cuda" and computes_bf16(device) else "fp32"


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16: without them it is slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type != "cpu" or bool(bf16_unit())


def bf16_unit() -> str:
    """What multiplies bf16 numbers in this CPU: a key of ON_CPU."""
    # Not public, and not in every torch.
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    has_avx512 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    if has_amx():
        return "AMX"
    if has_avx512():
        return "AMD's AVX512-BF16" if vendor() == "AMD" else "another AVX512-BF16"
    return ""


def _is_dense(network: nn.Module) -> bool:
    """Whether most weights of spatial convolutions are in dense ones."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    spatial = [layer for layer in layers if layer.kernel_size != (1, 1)]
    grouped = sum(layer.weight.numel() for layer in spatial if layer.groups > 1)
    return grouped == 0 or grouped < sum(layer.weight.numel() for layer in spatial) / 2


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a network computes in this precision ("fp32" or "bf16")."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


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
    decay, nor what the network's `no_weight_decay()` names, as timm's do of embeddings of places;
    unless experiment.decay is "all".
    """
    named = {name: one for name, one in network.named_parameters() if one.requires_grad}
    trainable = list(named.values())
    spared: set[str] = getattr(network, "no_weight_decay", set)()
    weights = [one for name, one in named.items() if one.ndim >= 2 and name not in spared]
    others = [one for name, one in named.items() if one.ndim < 2 or name in spared]
    of_others = experiment.weight_decay if experiment.decay == "all" else 0.0
    groups = [
        {"params": weights, "weight_decay": experiment.weight_decay},
        {"params": others, "weight_decay": of_others},
    ]
    rate = experiment.learning_rate
    # Fused: one pass over the parameters instead of ten, and steps can be left out (`steps`).
    if experiment.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, fused=True)
    if experiment.optimizer == "sgd":
        # On a CPU it rounds otherwise than SGD always did here.
        on_gpu = all(parameter.is_cuda for parameter in trainable)
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, fused=on_gpu)
    raise ValueError(f"optimizer is {experiment.optimizer!r}; expected adamw or sgd.")
