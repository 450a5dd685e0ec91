"""The losses by their names in the table of experiments."""

from collections.abc import Callable, Sequence

from torch import nn

from utils.loss import labels, masks

Weights = Sequence[float] | None


def build(
    name: str, weights: Weights = None, gamma: float = 2.0, smoothing: float = 0.0
) -> nn.Module:
    """The loss called `name`; only focal losses use gamma, only "cross_entropy" uses smoothing.

    weights: one per class; of masks: background and lesion. Raises ValueError for an unknown name,
    for invalid weights, gamma or smoothing, and for weights given to "binary", which has none.
    """
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; known: {', '.join(LOSSES)}")
    if name == "cross_entropy":
        return labels.CrossEntropy(weights, smoothing)
    if smoothing:
        raise ValueError(f"loss {name!r} has no label smoothing; use 0, or 'cross_entropy'")
    return LOSSES[name](weights, gamma)


def _binary(weights: Weights, _: float) -> nn.Module:
    if weights is not None:
        raise ValueError(f"loss 'binary' has no class weights, got {list(weights)}; use None")
    return labels.BinaryCrossEntropy()


# Three for labels, four for masks.
LOSSES: dict[str, Callable[[Weights, float], nn.Module]] = {
    "cross_entropy": lambda weights, _: labels.CrossEntropy(weights),
    "focal": labels.Focal,
    "binary": _binary,
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
