"""What all losses share: class weights, and the check of gamma."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Weighted(nn.Module):
    """A loss with class weights, None for all ones; classes are their names where they are known.

    ValueError for weights that are not positive and finite, or not one per class.
    """

    weights: Tensor | None
    classes: Sequence[str] = ()

    def __init__(self, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        # Not persistent: the weights belong to the configuration of a run, not to its checkpoint.
        self.register_buffer("weights", _tensor(weights, self.classes), persistent=False)


def _tensor(weights: Sequence[float] | None, classes: Sequence[str]) -> Tensor | None:
    if weights is None:
        return None
    values = [float(weight) for weight in weights]
    wrong = len(values) != len(classes) if classes else not values
    if wrong or not all(math.isfinite(value) and value > 0 for value in values):
        expected = "one finite number > 0 per class"
        if classes:
            expected = f"{len(classes)} finite numbers > 0, {' and '.join(classes)}"
        raise ValueError(f"class weights are {values}; expected {expected}")
    return torch.tensor(values)


def gamma(value: float) -> float:
    """gamma itself; ValueError for one that a focal loss cannot use."""
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"gamma is {value}; focal loss needs a finite number >= 0 (paper: 2)")
    return value
