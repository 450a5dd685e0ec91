"""What a classifier looked at: class activation maps, Grad-CAM, and the attention of ARL blocks.

Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016,
https://arxiv.org/abs/1512.04150; Selvaraju et al., Grad-CAM, ICCV 2017,
https://arxiv.org/abs/1610.02391, computed by captum; Zhang et al., Attention Residual Learning,
https://doi.org/10.1109/TMI.2019.2893944.

Every function takes a network on any device, trained, frozen or compiled, and images (B, 3, H, W)
uint8 on any device. The network runs in evaluation mode, in float32 without autocast, and
uncompiled, as compiled code ignores hooks; afterwards its modes, gradients and hooks are what they
were. Results are float32 numpy arrays with the resolution of the network's own maps: 7 × 7 for the
last map of a 224 px image, where one value stands for 32 × 32 px and the pixels around them. Read
no finer positions from them: value i of a ResNet's map at stride s is centred on pixel s·i, half a
cell left of and above the centre of the cell that a drawing over the image shows.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from utils.model.probe import (
    Classes,
    chunks,
    ending,
    last_input,
    layer_named,
    left_as_found,
    parts,
    smallest_map,
)
from utils.model.probe import NoMapError as NoMapError

ROUNDING = 1e-5  # relative, ten times the effect of the order of float32 sums


def class_activation_maps(network: nn.Module, images: Tensor, classes: Classes) -> np.ndarray:
    """Where the evidence for a class is (Zhou et al., equation 2): (B, h, w), any sign.

    The sum of the last map's channels, weighted as in the linear layer. Its mean over all positions
    plus that layer's bias is the logit, so a map splits the logit exactly by position: positive
    values are evidence for the class, negative ones against it.

    classes: one class for all images, or one for each (B,). A network with a single logit has
    class 0, and class 1 with the negative logit.

    Raises TypeError or ValueError for invalid images or classes, and NoMapError for a network that
    does not end with a pooling layer (mean over all positions) and one linear layer.
    """
    maps = []
    with left_as_found(network), torch.no_grad():
        for batch, wanted in chunks(network, images, classes):
            end = ending(network, batch)
            weight = _both_sides(end.linear.weight, dim=0)  # (C, F)
            _check_range(wanted, len(weight))
            maps.append(torch.einsum("bfhw,bf->bhw", end.maps, weight[wanted]).cpu())
    return torch.cat(maps).float().numpy()


def pooled_features(network: nn.Module, images: Tensor) -> np.ndarray:
    """What the last layer weighs, (B, F): the means of the last map's channels over all positions.

    Of a network with another end, what its last linear layer gets. Errors as in
    `class_activation_maps`, of a network without a linear layer NoMapError.
    """
    pooled = []
    with left_as_found(network), torch.no_grad():
        for batch, _ in chunks(network, images, 0):
            try:
                pooled.append(ending(network, batch).maps.mean((2, 3)).cpu())
            except NoMapError:
                if not any(isinstance(module, nn.Linear) for module in network.modules()):
                    raise
                pooled.append(last_input(network, batch).cpu())
    return torch.cat(pooled).float().numpy()


def bottom_features(network: nn.Module, images: Tensor) -> np.ndarray:
    """The means over all positions of a segmenter's smallest map, the bottom of a U: (B, F).

    Errors of the images as in `class_activation_maps`; NoMapError for a network without maps.
    """
    with left_as_found(network), torch.no_grad():
        maps = [smallest_map(network, batch).cpu() for batch, _ in chunks(network, images, 0)]
    return torch.cat(maps).mean((2, 3)).float().numpy()


def grad_cam(
    network: nn.Module, images: Tensor, classes: Classes, layer: str | None = None
) -> np.ndarray:
    """Where a larger map would raise the logit (Selvaraju et al., equation 2): (B, h, w), ≥ 0.

    The sum of a map's channels, each weighted by the mean gradient of the class's logit, clipped
    at 0, for any map of any network. For the map before the pooling, it equals the positive part of
    the class activation map, divided by h·w.

    layer: a name in `network.named_modules()` whose output is a map (B, F, h, w), for instance
    "layer3"; by default the map before the last pooling, or where the network ends otherwise the
    output of the layer that its `map_layer` names. classes and errors as in
    `class_activation_maps`.
    """
    from captum.attr import LayerGradCam  # slow

    maps = []
    with left_as_found(network):
        first = next(chunks(network, images, classes))[0][:1]
        place, before = _place(network, first, layer)
        for batch, wanted in chunks(network, images, classes):
            method = LayerGradCam(partial(_logits, network, wanted), place)
            cam = method.attribute(
                batch, wanted, attribute_to_layer_input=before, relu_attributions=True
            )
            maps.append(cam.detach()[:, 0].cpu())
    return torch.cat(maps).float().numpy()


def _place(network: nn.Module, images: Tensor, layer: str | None) -> tuple[nn.Module, bool]:
    """Where Grad-CAM looks: a layer, and whether at what it gets instead of what it gives."""
    if layer is not None:
        return layer_named(network, layer, images), False
    try:
        return ending(network, images).pool, True
    except NoMapError:
        if not (layer := getattr(network, "map_layer", "")):
            raise
    try:
        return layer_named(network, layer, images), False
    except ValueError as error:
        raise NoMapError(
            f"{type(network).__name__} has no map (B, F, h, w) of where the evidence is, as its "
            "last layers get no map but tokens; choose a network that has one, such as "
            "timm:convnext_tiny, or name a layer of grad_cam that gives one"
        ) from error


def evidence_maps(network: nn.Module, images: Tensor, classes: Classes) -> np.ndarray:
    """Class activation maps, or where the network ends otherwise Grad-CAM: (B, h, w).

    Arguments and errors as in `class_activation_maps`; NoMapError only where it has neither.
    """
    try:
        return class_activation_maps(network, images, classes)
    except NoMapError:
        return grad_cam(network, images, classes)


def attention_maps(network: nn.Module, images: Tensor) -> dict[str, np.ndarray]:
    """Where each ARL block attends: block name -> (B, h, w), 1 where attention is uniform.

    These are the weights R(O), without their factor α. Softmax over positions: the mean over the
    channels times h·w; 2 is twice uniform attention, and the mean over all positions is 1. Softmax
    over channels: the mean over the channels is 1/C everywhere, so this is the largest of the C
    weights times C, from 1 (all channels alike) to C (one channel has it all).

    A block is a module with a parameter `alpha`, a method `branch`, which gives O, and `attention`,
    which is R. Empty for a network without such blocks. Raises TypeError or ValueError for invalid
    images, or an attention that is no softmax.
    """
    maps: dict[str, list[Tensor]] = {}

    def add(name: str, block: Any, branch: Tensor, _: Tensor) -> None:
        maps.setdefault(name, []).append(_attention_map(name, block.attention(branch)).cpu())

    _watch_blocks(network, images, "branch", add)
    return {name: torch.cat(each).numpy() for name, each in maps.items()}


def attention_use(network: nn.Module, images: Tensor) -> pd.DataFrame:
    """How much each ARL block uses its attention; a row per block, named as in `attention_maps`.

    Columns α and "|α R(O) x| / |x|": the norm of what attention adds to the block's sum relative to
    that of the input x; both norms over all images, channels and positions. A softmax over n
    numbers gives weights of about 1/n, so the same α may double the input of one block and hardly
    change another's. No rows for a network without such blocks. A block also has the method
    `attend`, which gets O and x. Raises TypeError or ValueError for invalid images.
    """
    blocks = _attention_blocks(network)
    squares = {name: np.zeros(2) for name in blocks}

    def add(name: str, block: Any, _: Tensor, branch: Tensor, identity: Tensor) -> None:
        for number, values in enumerate((block.attention(branch) * identity, identity)):
            squares[name][number] += values.double().square().sum().item()

    _watch_blocks(network, images, "attend", add)
    norms = np.sqrt(np.reshape([*squares.values()], (-1, 2)))
    alphas = np.array([block.alpha.item() for block in blocks.values()])
    columns = {"α": alphas, "|α R(O) x| / |x|": abs(alphas) * norms[:, 0] / norms[:, 1]}
    return pd.DataFrame(columns, index=pd.Index(blocks, name="block"))


def shown_blocks(names: Sequence[str], most: int = 4) -> list[str]:
    """The last block of each stage, of the last `most` stages, for a figure without room for all.

    names as `attention_maps` gives them: "layer3.5" is block 5 of stage "layer3".
    """
    last = {name.rpartition(".")[0]: name for name in names}
    return list(last.values())[-most:]


def normalised(maps: np.ndarray) -> np.ndarray:
    """Each map of (..., h, w) stretched to 0…1 for drawing, float32; a constant one becomes 0.

    Constant means up to rounding, so that noise is not drawn as a finding. Raises ValueError where
    a value is not finite.
    """
    maps = np.asarray(maps, dtype=np.float32)
    if not np.isfinite(maps).all():
        raise ValueError(
            "the maps contain nan or inf, expected finite numbers: look at the network's weights, "
            "its training may have diverged"
        )
    low, high = maps.min((-2, -1), keepdims=True), maps.max((-2, -1), keepdims=True)
    varies = high - low > ROUNDING * np.maximum(abs(low), abs(high))
    return np.where(varies, maps - low, 0) / np.where(varies, high - low, 1)


def _logits(network: nn.Module, classes: Tensor, images: Tensor) -> Tensor:
    """(B, C) for images whose classes (B,) are all below C; two columns for a single logit."""
    logits = _both_sides(network(images), dim=1)
    _check_range(classes, logits.shape[1])
    return logits


def _both_sides(values: Tensor, dim: int) -> Tensor:
    """The values of the classes along dim; for a single logit, the value and its opposite."""
    return torch.cat([values, -values], dim) if values.shape[dim] == 1 else values


def _check_range(classes: Tensor, count: int) -> None:
    if classes.min() < 0 or classes.max() >= count:
        raise ValueError(
            f"got classes {sorted(set(classes.tolist()))}, expected numbers from 0 to {count - 1}: "
            "this network has no others"
        )


def _attention_blocks(network: nn.Module) -> dict[str, Any]:
    """The ARL blocks by name, recognised by their attributes, as utils does not import nets."""
    return {
        name: module
        for name, module in parts(network).items()
        if isinstance(getattr(module, "alpha", None), nn.Parameter)
        and callable(getattr(module, "branch", None))
        and callable(getattr(module, "attention", None))
    }


def _watch_blocks(
    network: nn.Module, images: Tensor, method: str, see: Callable[..., None]
) -> None:
    """Run the network, and see(name, block, output, *inputs) for each block's method."""
    with left_as_found(network), torch.no_grad():
        for batch, _ in chunks(network, images, 0):
            with ExitStack() as recordings:
                for name, block in _attention_blocks(network).items():
                    recordings.enter_context(_watched(block, method, partial(see, name, block)))
                network(batch)


@contextmanager
def _watched(block: nn.Module, method: str, see: Callable[..., None]) -> Iterator[None]:
    """While it is open, each call of the block's method calls see(output, *inputs)."""
    original = getattr(block, method)

    def watched(*inputs: Tensor) -> Tensor:
        output = original(*inputs)
        see(output, *inputs)
        return output

    # Hooks see modules, not methods; an instance's attribute takes precedence over the method.
    setattr(block, method, watched)
    try:
        yield
    finally:
        delattr(block, method)


def _attention_map(name: str, weights: Tensor) -> Tensor:
    """(B, h, w) from weights R(O) (B, C, h, w) that sum to 1 over positions or over channels."""
    channels, positions = weights.shape[1], weights[0, 0].numel()
    for dims, summary in (
        ((2, 3), weights.mean(1) * positions),
        ((1,), weights.amax(1) * channels),
    ):
        total = weights.sum(dims)
        if torch.allclose(total, torch.ones_like(total), atol=1e-3):
            return summary.float()
    raise ValueError(
        f"got attention weights in block {name} that sum to 1 neither over the positions nor over "
        "the channels, expected one of these two softmaxes"
    )
