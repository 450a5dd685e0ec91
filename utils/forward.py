"""What a network gives for images on their way to a score: finite numbers, or an error."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from utils.console import progress
from utils.data import name_offenders
from utils.loaders import batches
from utils.recipe import autocast
from utils.workers import faults_in_words


class OutputError(ValueError):
    """A network gives nan or infinite numbers. `found` is what was found, without the cure."""

    def __init__(self, found: str) -> None:
        self.found = found
        super().__init__(
            f"{found}. Nothing can be scored by them: take another run, or train this one again "
            "(resume='restart') with a lower learning_rate or precision='fp32'."
        )


def require_finite(
    logits: Tensor, network: nn.Module, loader: DataLoader, batch: dict[str, Tensor]
) -> None:
    """OutputError, naming the images, where a logit (B, …) of the loader's batch is not finite.

    A nan is above no threshold: it would be scored as "no lesion here".
    """
    if torch.isfinite(logits).all():
        return
    wrong = ~torch.isfinite(logits).flatten(1).all(1).cpu()
    names = name_offenders(loader.dataset.ids[index] for index in batch["index"][wrong].tolist())
    found = f"the network gives nan or infinite numbers for the images {names}"
    state = network.state_dict()
    if broken := [name for name, value in state.items() if not torch.isfinite(value).all()]:
        found += f"; its own weights are not finite either: {name_offenders(broken)}"
    raise OutputError(found)


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
    was_training, device = network.training, next(network.parameters()).device
    network.eval()
    results = []
    for batch in progress(batches(loader), "predicting", "batches", total=len(loader)):
        views = batch["image"].to(device, non_blocking=True)
        with autocast(device, precision):
            logits = network(views.flatten(0, 1))
        logits = logits.float().unflatten(0, views.shape[:2])  # (B, V, C)
        require_finite(logits, network, loader, batch)
        if average == "logits":
            logits = logits.mean(dim=1, keepdim=True)
        squash = torch.sigmoid if logits.shape[-1] == 1 else nn.Softmax(dim=-1)
        results.append(squash(logits).mean(dim=1).cpu())
    network.train(was_training)
    return torch.cat(results).numpy()
