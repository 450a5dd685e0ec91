"""What every loss asks of its class weights and its gamma."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def class_weights(weights: Sequence[float] | None, classes: Sequence[str] = ()) -> Tensor | None:
    """A factor for each class, float32; None for all ones.

    classes are the names of the classes where they are known. ValueError for weights that are not
    positive and finite, and for another number of them than of classes.
    """
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
    """gamma, if a focal loss can take it; ValueError otherwise."""
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"gamma is {value}; focal loss needs a finite number >= 0 (paper: 2)")
    return value
