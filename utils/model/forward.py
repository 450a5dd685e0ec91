"""Predictions of a network: finite numbers, or an error."""

from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from utils.data.loaders import LesionDataset, batches
from utils.data.workers import faults_in_words
from utils.model.device import ieee_convolutions, laid_out
from utils.model.recipe import autocast
from utils.system.allocation import memory_kept
from utils.system.console import progress
from utils.system.errors import listed

# Flip across, flip down, transpose: the plain image, then flips, then quarter turns (squares only).
VIEWS = tuple(
    (across, down, transpose)
    for transpose in (False, True)
    for down in (False, True)
    for across in (False, True)
)


class OutputError(ValueError):
    """A network's output is nan or infinite; `found` is the message without the cure."""

    def __init__(self, found: str) -> None:
        self.found = found
        super().__init__(
            f"{found}. They cannot be scored: use another run, or train this one again "
            "(resume='restart') with a lower learning_rate or precision='fp32'."
        )


def require_finite(
    logits: Tensor, network: nn.Module, loader: DataLoader, batch: dict[str, Tensor]
) -> None:
    """OutputError, naming the images, where a logit (B * V, …) of the loader's batch is not finite.

    A nan is never above a threshold: it would be scored as "no lesion".
    """
    if torch.isfinite(logits).all():
        return
    wrong = ~torch.isfinite(logits).reshape(len(batch["index"]), -1).all(1).cpu()
    ids = cast(LesionDataset, loader.dataset).ids
    names = listed(ids[index] for index in batch["index"][wrong].tolist())
    found = f"the network gives nan or infinite numbers for the images {names}"
    state = network.state_dict()
    if broken := [name for name, value in state.items() if not torch.isfinite(value).all()]:
        found += f"; its own weights are not finite either: {listed(broken)}"
    raise OutputError(found)


def answers(
    network: nn.Module, loader: DataLoader, precision: str, doing: str
) -> Iterator[tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]]:
    """Each batch of an evaluation loader, its images on the network's device, and a function.

    The function gives the float32 logits of images made from the batch's, V for each of them, with
    the network in evaluation mode; OutputError where one is not finite. On a GPU, too, "fp32" is
    fp32 here. doing labels the progress bar.
    """
    was_training, device = network.training, next(network.parameters()).device
    network.eval()
    try:
        with memory_kept():
            for batch in progress(batches(loader), doing, "batches", total=len(loader)):

                def ask(images: Tensor, batch: dict[str, Tensor] = batch) -> Tensor:
                    with autocast(device, precision), ieee_convolutions():
                        logits = network(images)
                    require_finite(logits, network, loader, batch)
                    return logits.float()

                images = laid_out(batch["image"].to(device, non_blocking=True), device)
                yield batch | {"image": images}, ask
    finally:
        network.train(was_training)


@faults_in_words()
@torch.inference_mode()
def predict(
    network: nn.Module, loader: DataLoader, precision: str = "fp32", average: str = "probabilities"
) -> np.ndarray:
    """Probabilities (n, C) for the n images of an evaluation loader, averaged over their views.

    Several logits go through a softmax, a single one through a sigmoid. average "logits" averages
    the views before that function, "probabilities" after it. OutputError for logits that are not
    finite.
    """
    if average not in ("probabilities", "logits"):
        raise ValueError(f"average is {average!r}; expected 'probabilities' or 'logits'.")
    results = []
    for batch, ask in answers(network, loader, precision, "predicting"):
        views = batch["image"]
        logits = ask(views.flatten(0, 1)).unflatten(0, views.shape[:2])  # (B, V, C)
        if average == "logits":
            logits = logits.mean(dim=1, keepdim=True)
        squash = torch.sigmoid if logits.shape[-1] == 1 else nn.Softmax(dim=-1)
        results.append(squash(logits).mean(dim=1).cpu())
    return torch.cat(results).numpy()


@torch.inference_mode()
def probabilities(
    network: nn.Module, loader: DataLoader, precision: str = "fp32", views: int = 1
) -> Iterator[tuple[int, np.ndarray]]:
    """Index and probability of lesion, (H, W) float32 at the network's size, image by image.

    views 1 is the plain image; 4 averages over its flips, 8 over its quarter turns, too.
    OutputError for logits that are not finite.
    """
    turns = VIEWS[:views]
    for batch, ask in answers(network, loader, precision, "predicting"):
        images = batch["image"]
        total = torch.zeros((), device=images.device)
        for turn in turns:
            total = total + turned(torch.sigmoid(ask(turned(images, turn))), turn, back=True)
        mean = (total / len(turns))[:, 0].cpu().numpy()
        yield from zip(batch["index"].tolist(), mean, strict=True)


def turned(images: Tensor, turn: tuple[bool, bool, bool], back: bool = False) -> Tensor:
    """(B, C, H, W) transposed and flipped as an entry of VIEWS says; back undoes it."""
    across, down, transpose = turn
    axes = [axis for axis, flipped in ((-1, across), (-2, down)) if flipped]
    if transpose and not back:
        images = images.transpose(-1, -2)
    images = images.flip(axes) if axes else images
    return images.transpose(-1, -2) if transpose and back else images
