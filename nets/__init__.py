"""Every network by its name: `build("arl50", weights="imagenet")`.

A network takes images (B, 3, H, W), uint8 0..255 or floating 0..1, normalises them itself, and
gives logits (B, num_classes). Besides, `features(images)` gives its five maps of stride 2 to 32
and `feature_channels` their channels; a learned attention weight is a parameter named `*alpha`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from nets.arl import ARLNet
from nets.lite import ARLLite0, Lite0
from nets.resnet import DEPTHS, ResNet
from nets.weights import WeightsError, load, locate

__all__ = ["NETS", "WeightsError", "build", "options"]

NETS: dict[str, Callable[..., nn.Module]] = {
    **{f"resnet{depth}": partial(ResNet, depth) for depth in DEPTHS},
    **{f"arl{depth}": partial(ARLNet, depth) for depth in DEPTHS},
    "lite0": Lite0,
    "arl_lite0": ARLLite0,
}


def options(name: str) -> list[str]:
    """The options that network `name` takes: its keyword-only arguments."""
    parameters = inspect.signature(NETS[name]).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def build(
    name: str, num_classes: int = 3, weights: str | Path | None = None, **chosen: object
) -> nn.Module:
    """A network by its name, in training mode, on the CPU.

    Args:
        name: a key of NETS.
        num_classes: how many logits, at least 1.
        weights: None (random), "imagenet", or the path of a state dict (.pth, .safetensors).
        chosen: options of this network, for instance attention="channel" for the ARL family.

    Raises:
        ValueError: a name, an option or a number of classes that does not exist.
        WeightsError: weights that are missing, damaged or unfit. They are looked for first.
    """
    if name not in NETS:
        raise ValueError(f"got network {name!r}, expected one of {', '.join(NETS)}")
    if num_classes < 1:
        raise ValueError(f"got num_classes={num_classes}, expected at least 1 (1 for one logit)")
    unknown = [option for option in chosen if option not in options(name)]
    if unknown:
        known = ", ".join(options(name)) or "none"
        raise ValueError(
            f"got options {unknown} for {name}, which takes: {known}; leave out or rename them"
        )
    path = locate(name, weights)
    network = NETS[name](num_classes=num_classes, **chosen)
    if path is not None:
        load(network, path)
    return network
