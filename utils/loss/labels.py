"""Losses of labels, which training minimises.

Focal loss: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
https://arxiv.org/abs/1708.02002, eq. 4-5, here for C classes with a softmax.

Shared by all: logits (B, C) of any float type, targets (B,) int64, result a float32 scalar, the
plain mean over the batch of weights[y_i] * l_i. torch's own weighted cross-entropy divides by the
*sum of the weights* in the batch instead; dividing by B keeps the scale of a batch independent of
which classes it happened to draw, and focal loss with gamma 0 equal to cross-entropy.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.loss import checks


class CrossEntropy(checks.Weighted):
    """l = -(1 - s) log p_y - s/C sum_k log p_k, with p = softmax(logits), C >= 2 and s = smoothing.

    Label smoothing s: Szegedy et al., CVPR 2016, https://arxiv.org/abs/1512.00567, section 7.
    Raises ValueError where weights are not positive and finite, smoothing is not in [0, 1), or
    where logits, targets and weights do not match.
    """

    def __init__(self, weights: Sequence[float] | None = None, smoothing: float = 0.0) -> None:
        super().__init__(weights)
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing is {smoothing}; expected a number from 0 to below 1")
        self.smoothing = smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        _check_batch(logits, targets)
        losses = -_log_likelihood(logits, targets)
        if self.smoothing:
            of_all = -F.log_softmax(logits.float(), dim=1).mean(dim=1)
            losses = torch.lerp(losses, of_all, self.smoothing)
        return _weighted_mean(losses, targets, self.weights, logits)


class Focal(CrossEntropy):
    """l = -(1 - p_y)^gamma log p_y: easy examples count less; gamma 0 is cross-entropy.

    `weights` as in CrossEntropy (the paper's alpha); ValueError also for `gamma` < 0.
    """

    def __init__(self, weights: Sequence[float] | None = None, gamma: float = 2.0) -> None:
        super().__init__(weights)
        self.gamma = checks.gamma(gamma)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        _check_batch(logits, targets)
        log_p = _log_likelihood(logits, targets)
        # log(1 - p_y) from the other classes' logits, not from p_y: 1 - p_y loses all its digits
        # as p_y nears 1, and the gradient of a power with gamma < 1 is infinite at 0.
        others = logits.float().scatter(1, targets[:, None], -math.inf)  # (B, C)
        log_rest = others.logsumexp(1) - logits.float().logsumexp(1)  # (B,)
        losses = -torch.exp(self.gamma * log_rest) * log_p
        return _weighted_mean(losses, targets, self.weights, logits)


class BinaryCrossEntropy(checks.Weighted):
    """One class against the rest: l = -log sigmoid(z) for class `positive`, else -log sigmoid(-z).

    For networks with one logit: melanoma (class 0) against the rest, which is the order of weights.
    """

    classes = ("the class", "the rest")

    def __init__(self, positive: int = 0, weights: Sequence[float] | None = None) -> None:
        super().__init__(weights)
        self.positive = positive

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        _check_shapes(logits, targets)
        if logits.shape[1] != 1:
            raise ValueError(
                f"logits have shape {tuple(logits.shape)}; binary cross-entropy needs (B, 1): "
                "build the network with num_classes=1, or choose 'cross_entropy'"
            )
        truth = (targets == self.positive).float()
        factor = (
            None
            if self.weights is None
            else torch.where(truth > 0, self.weights[0], self.weights[1])
        )
        return F.binary_cross_entropy_with_logits(logits.float().squeeze(1), truth, factor)


def _check_shapes(logits: Tensor, targets: Tensor) -> None:
    if logits.ndim != 2 or targets.shape != logits.shape[:1] or len(targets) == 0:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and targets {tuple(targets.shape)}; "
            "expected (B, C) and (B,) with B >= 1"
        )
    if targets.dtype != torch.int64:
        raise ValueError(f"targets are {targets.dtype}; expected class numbers as torch.int64")


def _check_batch(logits: Tensor, targets: Tensor) -> None:
    _check_shapes(logits, targets)
    if logits.shape[1] < 2:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)}; a softmax needs at least two classes: "
            "choose the loss 'binary' for one logit"
        )


def _log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """log p_y, (B,) float32: half precision keeps three digits of a logarithm, too few to train."""
    return F.log_softmax(logits.float(), dim=1).gather(1, targets[:, None]).squeeze(1)


def _weighted_mean(
    losses: Tensor, targets: Tensor, weights: Tensor | None, logits: Tensor
) -> Tensor:
    if weights is None:
        return losses.mean()
    if len(weights) != logits.shape[1]:
        raise ValueError(
            f"{len(weights)} class weights for logits of {logits.shape[1]} classes; "
            "give one weight per class"
        )
    # A new tensor: earlier code assigned to the attribute itself and lost its class weights.
    return (weights[targets] * losses).mean()
