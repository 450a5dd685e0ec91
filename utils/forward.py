"""What a network gives for a batch on its way to a score: finite numbers, or an error."""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from utils.data import name_offenders


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
