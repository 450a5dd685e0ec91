"""Depthwise convolutions that compute in float32, also in bf16 autocast on a CPU.

A CPU's bf16 instructions multiply matrices, and a depthwise convolution is none: in bf16 it takes
several times as long as in float32, which costs EfficientNet-Lite more than its 1x1 convolutions
gain. Without autocast, and on a GPU, nothing changes.
"""

from __future__ import annotations

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn


class _Float32OnCPU:
    """First base class of a convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """In CPU autocast the result has autocast's type: a float32 map costs all that follows."""
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            narrow = torch.get_autocast_dtype("cpu")
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float()).to(narrow)  # type: ignore[misc]
        return super().forward(x)  # type: ignore[misc]


class Depthwise(_Float32OnCPU, nn.Conv2d):
    """A depthwise convolution with fixed padding."""


class DepthwiseSame(_Float32OnCPU, Conv2dSame):
    """One that is padded as TensorFlow does, by an amount that depends on the size."""


KINDS: dict[type[nn.Conv2d], type[nn.Conv2d]] = {nn.Conv2d: Depthwise, Conv2dSame: DepthwiseSame}


def keep_depthwise_float32(network: nn.Module) -> None:
    """Make the depthwise convolutions of a network that another library built the kinds above.

    They keep their weights, names and hooks, so the state dict stays the same.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels:
            module.__class__ = KINDS.get(type(module), type(module))
