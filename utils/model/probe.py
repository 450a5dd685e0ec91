"""Run a network in small portions, record through hooks, and leave it as it was."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

CHUNK = 16  # images at a time: memory does not grow with their number

Classes = int | Sequence[int] | np.ndarray | Tensor


@contextmanager
def left_as_found(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without autocast, compiled code or inference mode; modes are restored."""
    modes = [(module, module.training) for module in network.modules()]
    device = next(network.parameters()).device
    try:
        network.eval()
        with (
            torch.inference_mode(False),  # its tensors have no gradients
            torch.autocast(device.type, enabled=False),
            _uncompiled(),  # compiled code ignores new hooks
        ):
            yield
    finally:
        for module, training in modes:
            module.training = training


def _uncompiled() -> AbstractContextManager:
    """Let no compiled code run. Without torch's compiler, slow to import, there is none."""
    loaded = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if loaded else nullcontext()


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
    numbers = np.asarray(classes.cpu() if isinstance(classes, Tensor) else classes)
    if not np.issubdtype(numbers.dtype, np.integer):
        raise TypeError(
            f"got classes of type {numbers.dtype}, expected class numbers: use integers"
        )
    count, device = len(images), next(network.parameters()).device
    if numbers.shape not in ((), (count,)):
        raise ValueError(
            f"got classes of shape {numbers.shape} for {count} images, expected one class for all "
            f"or one for each, ({count},)"
        )
    each = torch.from_numpy(np.broadcast_to(numbers, count).astype(np.int64))
    for part, wanted in zip(images.split(CHUNK), each.split(CHUNK), strict=True):
        yield part.to(device), wanted.to(device)


@torch.no_grad()
def layer_named(network: nn.Module, name: str, images: Tensor) -> nn.Module:
    """The part of the network with that name; ValueError where it gives no map (B, F, h, w)."""
    modules = parts(network)
    if name not in modules:
        top = ", ".join(part for part in modules if part and "." not in part)
        raise ValueError(
            f"got layer {name!r}, expected the name of a part of the network: one of {top}, "
            "or of their parts, as in network.named_modules()"
        )
    outputs: list[Tensor] = []
    with modules[name].register_forward_hook(lambda *call: outputs.append(call[-1])):
        network(images)
    if len(outputs) != 1 or getattr(outputs[0], "ndim", 0) != 4:
        raise ValueError(
            f"got layer {name!r}, which gives no map or several, expected one map (B, F, h, w): "
            "choose a part that is called once, before the pooling"
        )
    return modules[name]


class NoMapError(ValueError):
    """A network that does not end as a map of the evidence needs."""


class Ending(NamedTuple):
    """The end of a network: maps -> pool, the mean over all positions -> linear -> logits."""

    maps: Tensor  # (B, F, h, w)
    pool: nn.Module
    linear: nn.Linear


@torch.no_grad()
def ending(network: nn.Module, images: Tensor) -> Ending:
    """The end of the network, found by running it and verified by its numbers."""
    linear = next((m for m in reversed(list(network.modules())) if isinstance(m, nn.Linear)), None)
    if linear is None:
        raise _wrong_end(network, "it has no linear layer")
    inputs, calls, shown = [], [], []

    def note(module: nn.Module, arguments: tuple) -> None:
        first = arguments[0] if arguments else None
        if isinstance(first, Tensor) and first.ndim == 4 and first.shape[1] == linear.in_features:
            inputs.append((first, module))

    with ExitStack() as hooks:
        hooks.enter_context(linear.register_forward_hook(lambda *call: calls.append(call[1:])))
        if last := parts(network).get(getattr(network, "map_layer", "")):
            hooks.enter_context(last.register_forward_hook(lambda *call: shown.append(call[-1])))
        for module in network.modules():
            hooks.enter_context(module.register_forward_pre_hook(note))
        logits = network(images)
    if len(calls) != 1 or not torch.equal(calls[0][1], logits):
        raise _wrong_end(network, "its last linear layer does not give its output")
    (pooled,) = calls[0][0]
    # Layers after the pooling get a map of one position. Of those that get the full map, the last
    # is the pooling: one before it, such as a ReLU in place, may have changed the map.
    ends = [Ending(maps, module, linear) for maps, module in inputs if _is_mean(pooled, maps)]
    if not ends:
        raise _wrong_end(network, "none of its layers takes the mean over a map's positions")
    end = max(reversed(ends), key=lambda end: end.maps[0, 0].numel())
    larger = any(isinstance(one, Tensor) and one[0, 0].numel() > 1 for one in shown)
    if end.maps[0, 0].numel() == 1 and larger:
        raise _wrong_end(network, "layers between its pooling and its last layer change the mean")
    return end


@torch.no_grad()
def last_input(network: nn.Module, images: Tensor) -> Tensor:
    """What the last linear layer gets, (B, F)."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    inputs: list[Tensor] = []
    with linear.register_forward_pre_hook(lambda _, given: inputs.append(given[0])):
        network(images)
    return inputs[-1]


@torch.no_grad()
def smallest_map(network: nn.Module, images: Tensor) -> Tensor:
    """The last map (B, F, h, w) with the fewest positions, but more than one: of a U its bottom.

    NoMapError where no part of the network gives a map.
    """
    maps: list[Tensor] = []

    def note(_module: nn.Module, _given: tuple, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            positions = output[0, 0].numel()
            if positions > 1 and (not maps or positions <= maps[0][0, 0].numel()):
                maps[:] = [output]

    with ExitStack() as hooks:
        for module in network.modules():
            hooks.enter_context(module.register_forward_hook(note))
        network(images)
    if not maps:
        raise NoMapError(f"{type(network).__name__} has no part that gives a map (B, F, h, w)")
    return maps[0]


def _is_mean(pooled: Tensor, maps: Tensor) -> bool:
    """Whether pooled (B, F) is the mean of maps (B, F, h, w) over the positions."""
    mean = maps.mean((2, 3))
    tolerance = 1e-3 * float(mean.abs().max())
    return pooled.shape == mean.shape and torch.allclose(pooled, mean, rtol=0, atol=tolerance)


def _wrong_end(network: nn.Module, found: str) -> NoMapError:
    return NoMapError(
        f"got {type(network).__name__}: {found}; expected a network that ends with a pooling layer "
        "(mean over all positions, for instance nn.AdaptiveAvgPool2d(1)) and one nn.Linear. "
        "For others use grad_cam and name a layer"
    )
