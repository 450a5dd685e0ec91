"""Every network by its name: `build("arl50", weights="imagenet")`.

A network takes images (B, 3, H, W), uint8 0..255 or floating 0..1, and normalises them itself. A
learned attention weight is a parameter named `*alpha`. Its `start` says what it starts from.
A classifier gives logits (B, num_classes); besides, `features(images)` gives its five maps of
stride 2 to 32 and `feature_channels` their channels.
A segmenter gives logits (B, num_classes, H, W) for any H and W, also one that is not trained. With
num_classes=1, as in all rows, the sigmoid of a pixel's logit is its probability of lesion.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from torch import nn

from nets import hub, libraries
from nets.arl import ARLNet
from nets.arl_unet import ARLUNet, DeepARLUNet
from nets.baselines import MeanMask, Otsu
from nets.libraries import require_size
from nets.loading import load
from nets.res_unet import ResUNet
from nets.resnet import DEPTHS, ResNet
from nets.unet import UNet
from nets.weights import WeightsError, locate

__all__ = [
    "CLASSIFIERS",
    "NETS",
    "SEGMENTERS",
    "UNTRAINED",
    "WeightsError",
    "build",
    "options",
    "require_size",
]

# A text names a class whose file imports timm, which takes as long as torch: loaded when used.
CLASSIFIERS: dict[str, Callable[..., nn.Module] | str] = {
    **{f"resnet{depth}": partial(ResNet, depth) for depth in DEPTHS},
    **{f"arl{depth}": partial(ARLNet, depth) for depth in DEPTHS},
    "lite0": "nets.lite:Lite0",
    "lite1": "nets.lite:Lite1",
    "lite2": "nets.lite:Lite2",
    "arl_lite0": "nets.lite:ARLLite0",
}
SEGMENTERS: dict[str, Callable[..., nn.Module] | str] = {
    "unet": UNet,
    "dense_unet": "nets.smp_unet:DenseUNet",
    "res_unet": ResUNet,
    "arl_unet": ARLUNet,
    "deep_arl_unet": DeepARLUNet,
    "lite_unet": "nets.smp_unet:LiteUNet",
    "lite1_unet": "nets.smp_unet:Lite1UNet",
    "lite2_unet": "nets.smp_unet:Lite2UNet",
}
UNTRAINED: dict[str, Callable[..., nn.Module]] = {"otsu": Otsu, "mean_mask": MeanMask}
NETS = CLASSIFIERS | SEGMENTERS | UNTRAINED


def options(name: str) -> list[str]:
    """The options that network `name` takes: its keyword-only arguments. ValueError as `build`."""
    parameters = inspect.signature(_kind(name)).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def build(
    name: str, num_classes: int | None = None, weights: str | Path | None = None, **given: Any
) -> nn.Module:
    """A network by its name, in training mode, on the CPU.

    Args:
        name: a key of NETS, or a network of a library: "timm:convnext_tiny",
            "smp:UnetPlusPlus/efficientnet-b0".
        num_classes: logits per image or pixel; by default 3 for a classifier, 1 for a segmenter.
        weights: None (random), "imagenet", or the path of a state dict (.pth, .safetensors); for a
            segmenter that of a classifier, from which its encoder takes its part.
        given: the network's options, for instance attention="channel" for the ARL family, or
            depth=34 for res_unet, arl_unet and deep_arl_unet.

    Raises ValueError for an unknown name, option or number of classes, and WeightsError, before
    anything is built, for weights that are missing, damaged or do not fit.
    """
    kind = _kind(name)
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"got num_classes={num_classes}, expected at least 1 (1 for one logit)")
    unknown = [option for option in given if option not in options(name)]
    if unknown:
        takes = ", ".join(options(name)) or "none"
        raise ValueError(
            f"got options {unknown} for {name}, which takes: {takes}; leave out or rename them"
        )
    fetch = ":" in name and weights == "imagenet"
    path = hub.imagenet(name) if fetch else locate(name, weights, **given)
    if num_classes is not None:
        given["num_classes"] = num_classes
    network: Any = kind(**given)
    network.start = "random weights" if path is None else load(network, path).note
    return network


def _kind(name: str) -> Callable[..., nn.Module]:
    if ":" in name:
        return libraries.kind(name)
    if name not in NETS:
        raise ValueError(f"got network {name!r}, expected one of {', '.join(NETS)}")
    kind = NETS[name]
    return resolve_name(kind) if isinstance(kind, str) else kind
