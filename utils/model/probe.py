"""Looking into a network: run in small portions, watched through hooks, and left as it was."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

CHUNK = 16  # images that run together: memory does not grow with their number

Classes = int | Sequence[int] | np.ndarray | Tensor


@contextmanager
def left_as_found(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, no autocast, no compiled code, no inference mode; modes are put back."""
    modes = [(module, module.training) for module in network.modules()]
    device = next(network.parameters()).device
    try:
        network.eval()
        with (
            torch.inference_mode(False),  # gradients cannot flow through what it makes
            torch.autocast(device.type, enabled=False),
            torch.compiler.set_stance("force_eager"),  # compiled code runs no new hooks
        ):
            yield
    finally:
        for module, training in modes:
            module.training = training


def parts(network: nn.Module) -> dict[str, nn.Module]:
    """All modules by name, whether or not torch.compile has wrapped the network."""
    return dict(getattr(network, "_orig_mod", network).named_modules())


def chunks(network: nn.Module, images: Tensor, classes: Classes) -> Iterator[tuple[Tensor, Tensor]]:
    """CHUNK images and their classes (int64) at a time, on the network's device."""
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        kind = images.dtype if hasattr(images, "dtype") else type(images).__name__
        raise TypeError(
            f"got images of type {kind}, expected a torch tensor of uint8 in 0..255: give the "
            "images as the loaders do, before any scaling"
        )
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise ValueError(
            f"got images of shape {tuple(images.shape)}, expected (B, 3, H, W) with B at least 1: "
            "add the batch dimension, and move the channels of (B, H, W, 3) with movedim(-1, 1)"
        )
    device, wanted = next(network.parameters()).device, _as_numbers(classes, len(images))
    for part, numbers in zip(images.split(CHUNK), wanted.split(CHUNK), strict=True):
        yield part.to(device), numbers.to(device)


def _as_numbers(classes: Classes, count: int) -> Tensor:
    """The classes as int64 (count,); one class stands for all."""
    numbers = np.asarray(classes.cpu() if isinstance(classes, Tensor) else classes)
    if not np.issubdtype(numbers.dtype, np.integer):
        raise TypeError(
            f"got classes of type {numbers.dtype}, expected class numbers: use integers"
        )
    if numbers.shape not in ((), (count,)):
        raise ValueError(
            f"got classes of shape {numbers.shape} for {count} images, expected one class for all "
            f"or one for each, ({count},)"
        )
    return torch.from_numpy(np.broadcast_to(numbers, count).astype(np.int64))


@torch.no_grad()
def layer_named(network: nn.Module, name: str, images: Tensor) -> nn.Module:
    """The part of the network with that name; ValueError where it gives no map (B, F, h, w)."""
    known = parts(network)
    if name not in known:
        top = ", ".join(part for part in known if part and "." not in part)
        raise ValueError(
            f"got layer {name!r}, expected the name of a part of the network: one of {top}, "
            "or of their parts, as in network.named_modules()"
        )
    outputs: list[Tensor] = []
    hook = known[name].register_forward_hook(lambda *call: outputs.append(call[-1]))
    try:
        network(images)
    finally:
        hook.remove()
    if len(outputs) != 1 or outputs[0].ndim != 4:
        raise ValueError(
            f"got layer {name!r}, which gives no map or several, expected one map (B, F, h, w): "
            "choose a part that is called once, before the pooling"
        )
    return known[name]


class Ending(NamedTuple):
    """The end of a network: maps -> pool, the mean over all positions -> linear -> logits."""

    maps: Tensor  # (B, F, h, w)
    pool: nn.Module
    linear: nn.Linear


@torch.no_grad()
def ending(network: nn.Module, images: Tensor) -> Ending:
    """The end of the network, found by running it and proved by its numbers."""
    linear = next((m for m in reversed(list(network.modules())) if isinstance(m, nn.Linear)), None)
    if linear is None:
        raise ValueError(_wrong_end(network, "it has no linear layer"))
    inputs, pooled, outputs = [], [], []

    def note(module: nn.Module, arguments: tuple) -> None:
        first = arguments[0] if arguments else None
        if isinstance(first, Tensor) and first.ndim == 4 and first.shape[1] == linear.in_features:
            inputs.append((first, module))

    def note_linear(_: nn.Module, arguments: tuple, output: Tensor) -> None:
        pooled.append(arguments[0])
        outputs.append(output)

    with ExitStack() as hooks:
        hooks.callback(linear.register_forward_hook(note_linear).remove)
        for module in network.modules():
            hooks.callback(module.register_forward_pre_hook(note).remove)
        logits = network(images)
    if len(outputs) != 1 or not torch.equal(outputs[0], logits):
        raise ValueError(_wrong_end(network, "its last linear layer does not give its output"))
    # What follows the pooling takes a map of one position. Of those that take the whole map, the
    # last one is the pooling: one before it, such as a ReLU in place, may have changed the map.
    ends = [Ending(maps, module, linear) for maps, module in inputs if _is_mean(pooled[0], maps)]
    if not ends:
        raise ValueError(
            _wrong_end(network, "no layer of it takes the mean over a map's positions")
        )
    return max(reversed(ends), key=lambda end: end.maps[0, 0].numel())


def _is_mean(pooled: Tensor, maps: Tensor) -> bool:
    """Whether pooled (B, F) is the mean of maps (B, F, h, w) over the positions."""
    mean = maps.mean((2, 3))
    tolerance = 1e-3 * float(mean.abs().max())
    return pooled.shape == mean.shape and torch.allclose(pooled, mean, rtol=0, atol=tolerance)


def _wrong_end(network: nn.Module, found: str) -> str:
    return (
        f"got {type(network).__name__}: {found}; expected a network that ends with a pooling layer "
        "(mean over all positions, for instance nn.AdaptiveAvgPool2d(1)) and one nn.Linear. "
        "For others use grad_cam and name a layer"
    )
