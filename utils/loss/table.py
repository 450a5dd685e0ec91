"""The losses by their names in the table of experiments."""

from collections.abc import Callable, Sequence

from torch import nn

from utils.loss import labels, masks

Weights = Sequence[float] | None


def build(
    name: str, weights: Weights = None, gamma: float = 2.0, smoothing: float = 0.0
) -> nn.Module:
    """The loss called `name`; only focal losses use gamma, only "cross_entropy" uses smoothing.

    weights: one per class; of "binary": class 0 and the rest; of masks: background and lesion.
    Raises ValueError for an unknown name, and for invalid weights, gamma or smoothing.
    """
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; known: {', '.join(LOSSES)}")
    if name == "cross_entropy":
        return labels.CrossEntropy(weights, smoothing)
    if smoothing:
        raise ValueError(f"loss {name!r} has no label smoothing; use 0, or 'cross_entropy'")
    return LOSSES[name](weights, gamma)


# Three for labels, four for masks.
LOSSES: dict[str, Callable[[Weights, float], nn.Module]] = {
    "cross_entropy": lambda weights, _: labels.CrossEntropy(weights),
    "focal": labels.Focal,
    "binary": lambda weights, _: labels.BinaryCrossEntropy(weights=weights),
    "dice": lambda weights, _: masks.Dice(weights),
    "dice_cross_entropy": lambda weights, _: masks.Sum(
        masks.Dice(weights), masks.CrossEntropy(weights)
    ),
    "dice_squared_cross_entropy": lambda weights, _: masks.Sum(
        masks.SquaredDice(weights), masks.CrossEntropy(weights)
    ),
    "dice_focal": lambda weights, gamma: masks.Sum(
        masks.Dice(weights), masks.Focal(weights, gamma)
    ),
}
