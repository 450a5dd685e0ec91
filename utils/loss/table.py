"""The losses by the names that rows of the experiment table have."""

from collections.abc import Callable, Sequence

from torch import nn

from utils.loss import labels, masks

Weights = Sequence[float] | None


def build(name: str, weights: Weights = None, gamma: float = 2.0) -> nn.Module:
    """The loss called `name`; gamma is read by the focal ones alone.

    weights: one a class, of masks background and lesion. Raises ValueError for an unknown name, for
    unusable weights or gamma, and for weights given to "binary", which has none: ignoring them
    would train another loss than the row says.
    """
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; known: {', '.join(LOSSES)}")
    return LOSSES[name](weights, gamma)


def _binary(weights: Weights, _: float) -> nn.Module:
    if weights is not None:
        raise ValueError(f"loss 'binary' has no class weights, got {list(weights)}; use None")
    return labels.BinaryCrossEntropy()


# How a row's name, class weights and gamma become a loss: three for labels, three for masks.
LOSSES: dict[str, Callable[[Weights, float], nn.Module]] = {
    "cross_entropy": lambda weights, _: labels.CrossEntropy(weights),
    "focal": labels.Focal,
    "binary": _binary,
    "dice": lambda weights, _: masks.Dice(weights),
    "dice_cross_entropy": lambda weights, _: masks.Sum(
        masks.Dice(weights), masks.CrossEntropy(weights)
    ),
    "dice_focal": lambda weights, gamma: masks.Sum(
        masks.Dice(weights), masks.Focal(weights, gamma)
    ),
}
