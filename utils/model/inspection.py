"""What is inside a network: the shapes of its layers, its attention weights, its cost."""

import sys
from collections.abc import Callable
from typing import Any

import pandas as pd
import psutil
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def attention_weights(network: nn.Module) -> dict[str, float]:
    """The value of each attention weight α by parameter name; empty for a network without."""
    named = network.named_parameters()
    return {name: value.item() for name, value in named if name.endswith("alpha")}


def residual_block(network: nn.Module) -> type[nn.Module]:
    """The class of the residual blocks; the network's own where it has none.

    Such a block has a method `shortcut`, or an attribute `has_skip` as timm's do.
    """
    kinds = [type(network)] + [
        type(module)
        for module in network.modules()
        if callable(getattr(module, "shortcut", None)) or getattr(module, "has_skip", False)
    ]
    return kinds[-1]


@torch.no_grad()
def trace_shapes(network: nn.Module, images: torch.Tensor) -> pd.DataFrame:
    """Output shape and number of parameters of each part, in the order of a forward pass.

    Parts are the children of a network, of its encoder and of its decoder. images (B, 3, H, W)
    uint8.
    """
    rows, was_training = [], network.training

    def note(name: str, part: nn.Module) -> Callable[..., None]:
        size = sum(parameter.numel() for parameter in part.parameters())
        return lambda _part, _inputs, output: rows.append((name, _shape(output), size))

    hooks = [part.register_forward_hook(note(name, part)) for name, part in _parts(network)]
    network.eval()(images)
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return pd.DataFrame(rows, columns=["part", "output", "parameters"]).set_index("part")


@torch.no_grad()
def cost(network: nn.Module, image: torch.Tensor) -> dict[str, float]:
    """Parameters, and GFLOPs of a forward pass; a multiply and an add are two.

    image (1, 3, H, W) uint8. Only matrix products and convolutions are counted: nearly all.
    """
    was_training = network.training
    with FlopCounterMode(display=False) as counter:
        network.eval()(image)
    network.train(was_training)
    size = sum(parameter.numel() for parameter in network.parameters())
    return {"parameters": size, "gflops": counter.get_total_flops() / 1e9}


def _shape(output: Any) -> tuple[int, ...]:
    """The shape of a part's output, of several the last."""
    return _shape(output[-1]) if isinstance(output, tuple | list) else tuple(output.shape)


def _parts(network: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """The children of a network, and those of a child that is only a container."""
    parts = []
    for name, child in network.named_children():
        inner = list(child.children())
        lists = inner and all(isinstance(part, nn.Sequential) for part in inner)
        if lists or isinstance(child, nn.ModuleList) or name in ("encoder", "decoder", "features"):
            parts += _parts(child, f"{prefix}{name}.")
        else:
            parts.append((f"{prefix}{name}", child))
    return parts


def peak_memory(device: torch.device) -> int:
    """Peak memory so far in MB: of the GPU, or of this process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    if sys.platform == "win32":
        return round(psutil.Process().memory_info().peak_wset / 2**20)
    import resource  # not on Windows

    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux kilobytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
