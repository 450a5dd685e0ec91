"""Networks of timm and smp by their names there: `timm:convnext_tiny`, `smp:Unet/resnet18`.

timm, https://github.com/huggingface/pytorch-image-models, has more than a thousand classifiers; a
name may end with the tag of its weights, `timm:resnet18.a1_in1k`. smp,
https://github.com/qubvel-org/segmentation_models.pytorch, has segmenters, each around an encoder of
its own or, as `smp:Unet/tu-convnext_tiny`, of timm. Colours are normalised as the library says, the
head is made anew for the classes, and the weights keep the library's names. Both take long to
import, so they are loaded when used.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nets.hub import OF_TIMM, colours_of
from nets.normalise import Normalise

FAULTS = (LookupError, RuntimeError, ValueError, TypeError, AttributeError)  # of the libraries


def kind(name: str) -> Callable[..., nn.Module]:
    """What builds a network of this name from its number of classes.

    ValueError, with the nearest, for a name that the library does not have.
    """
    library, _, rest = name.partition(":")
    if library == "timm":
        _require(name, rest, _timm_names())
        return partial(classifier, rest)
    if library == "smp":
        architecture, _, encoder = rest.partition("/")
        _require(name, architecture, _architectures(), "smp:{}/resnet18")
        ours = f"smp:{architecture}/"
        if encoder.startswith(OF_TIMM):
            _require(name, encoder.removeprefix(OF_TIMM), _timm_names(), f"{ours}{OF_TIMM}{{}}")
        else:
            _require(name, encoder, _encoders(), f"{ours}{{}}")
        return partial(segmenter, architecture, encoder)
    raise ValueError(
        f"got network {name!r}, whose library is unknown; expected timm:NAME such as "
        "timm:convnext_tiny, or smp:ARCHITECTURE/ENCODER such as smp:UnetPlusPlus/efficientnet-b0"
    )


def _timm_names() -> Sequence[str]:
    import timm

    return [*timm.list_models(), *timm.list_pretrained()]


def _architectures() -> Sequence[str]:
    """Those of smp but DPT, which takes Vision Transformers alone."""
    import segmentation_models_pytorch as smp

    kinds = smp.MODEL_ARCHITECTURES_MAPPING.values()
    return [kind.__name__ for kind in kinds if kind.__name__ != "DPT"]


def _encoders() -> Sequence[str]:
    import segmentation_models_pytorch as smp

    return smp.encoders.get_encoder_names()


def _require(name: str, part: str, known: Sequence[str], form: str = "timm:{}") -> None:
    if part in known:
        return
    lower = {one.lower(): one for one in known}
    near = [lower[one] for one in difflib.get_close_matches(part.lower(), lower, n=3, cutoff=0.5)]
    expected = ", ".join(map(form.format, near or known[:3]))
    raise ValueError(
        f"got network {name!r}, and {name.partition(':')[0]} has no {part!r}; "
        f"{'near it are' if near else 'it has, for instance,'} {expected}"
    )


class LastMap(nn.Module):
    """Hands on what a network's last layers get, and shows it to `map` as (B, F, h, w)."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.map = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x.movedim(-1, 1)).movedim(1, -1) if self.channels_last else self.map(x)


class OnImages:
    """First base class of a network of timm, which gets stored images and shows its last map."""

    normalise: nn.Module
    last_map: nn.Module
    map_layer = "last_map.map"  # where `utils.model.explain` looks
    head_keys: Sequence[str]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), uint8 0..255 or floating 0..1 -> logits (B, num_classes)."""
        return super().forward(self.normalise(images))  # type: ignore[misc]

    def forward_features(self, *given: Any, **named: Any) -> Tensor:
        return self.last_map(super().forward_features(*given, **named))  # type: ignore[misc]

    def translate(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Older names, and those of the original authors, as in timm now, where it knows them."""
        module = sys.modules[type(self).__mro__[2].__module__]
        rename = getattr(module, "checkpoint_filter_fn", None)
        with suppress(*FAULTS):
            return rename(dict(state), self) if rename else state
        return state  # of another network, which the loader reports


def classifier(name: str, num_classes: int = 3) -> nn.Module:
    """A network of timm with random weights. ValueError where it is none for classes."""
    from nets.lite import from_timm

    try:
        network: Any = from_timm(name, num_classes)
    except FAULTS as error:
        raise _refused("timm", f"timm:{name}", error) from error
    config = network.pretrained_cfg
    own = type(network)
    # The same object, so that its state dict is timm's.
    network.__class__ = type(own.__name__, (OnImages, own), {})
    network.normalise = Normalise(config["mean"], config["std"])
    network.last_map = LastMap(getattr(network, "output_fmt", "") == "NHWC")
    heads = config.get("classifier") or ()
    network.head_keys = [f"{head}." for head in ([heads] if isinstance(heads, str) else heads)]
    for module in network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # hooks see every map unchanged
    return network


def segmenter(architecture: str, encoder: str, num_classes: int = 1) -> nn.Module:
    """A network of smp with random weights. ValueError where it cannot have this encoder."""
    from nets.smp_unet import SmpSegmenter

    try:
        return SmpSegmenter(architecture, encoder, colours_of(encoder), num_classes)
    except FAULTS as error:
        raise _refused("smp", f"smp:{architecture}/{encoder}", error) from error


def _refused(library: str, name: str, error: Exception) -> ValueError:
    reason = str(error).partition("\n")[0]
    return ValueError(f"{library} cannot build {name} for this task ({reason}); take another")


def require_size(name: str, size: int | tuple[int, int]) -> None:
    """ValueError where a network cannot take images of this side, or width and height, in px."""
    if ":" not in name:
        return  # ours take any
    width, height = (size, size) if isinstance(size, int) else size
    try:
        with torch.device("meta"):  # shapes alone
            network: Any = kind(name)()
    except ValueError:  # smp's Mix Transformers compute while they are built
        network = kind(name)().to("meta")
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, height, width, device="meta"))
    except Exception as error:  # of any kind
        own = getattr(network, "pretrained_cfg", {}).get("input_size", ("a larger one",))[-1]
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise ValueError(
            f"image_size is {size}, which {name} cannot take ({reason}); set image_size to {own}, "
            "or take another network"
        ) from error
