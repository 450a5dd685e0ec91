"""Losses of masks: overlap (Dice), per pixel (cross-entropy, focal), and their sums.

Soft Dice: Milletari et al., "V-Net", 3DV 2016, https://arxiv.org/abs/1606.04797, section 3. The
paper sums squares of p in the denominator. Here, as in most later code, it is p itself: then the
loss is 1 - 2 tp / (2 tp + fp + fn) of soft counts tp = sum p g, fp = sum p (1 - g),
fn = sum (1 - p) g, the score of `evaluation.masks` before the threshold. p is the probability
of lesion, sigmoid of the logit z, and g the mask.
Focal: Lin et al., https://arxiv.org/abs/1708.02002, eq. 5, with a sigmoid as there.

Shared by all: logits (B, 1, H, W) of any float type, masks (B, H, W) of 0/1 in uint8, bool or
int64, result a float32 scalar. Other values in a mask are a ValueError on a CPU, and make the loss
nan on a GPU, which a look at them would stop. `weights` are two positive numbers, background and
lesion, or None.
In cross-entropy and focal they are a factor per pixel under a plain mean, as in `loss.labels`.
Dice has no mean over pixels: there the losses of background and of lesion are averaged with them,
and None is the lesion alone.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.loss import checks

# One pixel in numerator and denominator: no lesion and none predicted scores 1, as in the official
# scores, instead of 0/0, and a false lesion still has a loss and a gradient. For a lesion of 1000
# pixels the loss changes by less than 0.001.
SMOOTH = 1.0
COURSEWORKS_SMOOTH = 1e-5
_MASK_TYPES = (torch.uint8, torch.bool, torch.int64)
_LOOKED_AT = ("cpu",)  # kinds of device on which looking at values is no wait


class _Weighted(checks.Weighted):
    classes = ("background", "lesion")


class Dice(_Weighted):
    """l = 1 - (2 sum p g + s) / (sum p + sum g + s) of each image, s = SMOOTH; mean over the batch.

    With weights (w0, w1): (w0 l(1 - p, 1 - g) + w1 l(p, g)) / (w0 + w1). Per image, so that a small
    lesion counts as much as a large one. Raises ValueError for weights, logits or masks that are
    not as above.
    """

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        z, g = _pixels(logits, masks)
        lesion = _dice_loss(z.sigmoid(), g)
        if self.weights is None:
            return lesion.mean()
        # sigmoid(-z), not 1 - p, which loses its digits as p nears 1.
        losses = torch.stack([_dice_loss((-z).sigmoid(), 1 - g), lesion], dim=1)  # (B, 2)
        # Not a matrix product, which autocast would compute in half precision.
        return (losses * self.weights).sum(1).mean() / self.weights.sum()


class SquaredDice(_Weighted):
    """The coursework's: l(p, g) = 1 - (2 sum p g + s) / (sum p^2 + sum g + s), of both classes.

    With its s = 1e-5: of a lesion of a few pixels that is missed the loss is all but 1.

    As in the paper, the probability is squared. The mean of background and lesion, weighted as in
    Dice: None is the plain one. Its two logits and their softmax are our one logit, their
    difference, and its sigmoid.
    """

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        z, g = _pixels(logits, masks)
        pairs = [((-z).sigmoid(), 1 - g), (z.sigmoid(), g)]
        losses = torch.stack([_squared_dice_loss(*pair) for pair in pairs], dim=1)
        if self.weights is None:
            return losses.mean()
        return (losses * self.weights).sum(1).mean() / self.weights.sum()


class CrossEntropy(_Weighted):
    """l = -log p_g of each pixel, with p_1 = sigmoid(z) and p_0 = sigmoid(-z).

    Weights and errors as in Dice.
    """

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        z, g = _pixels(logits, masks)
        return _weighted_mean(-F.logsigmoid(_towards_truth(z, g)), g, self.weights)


class Focal(_Weighted):
    """l = -(1 - p_g)^gamma log p_g of each pixel: easy pixels count less; gamma 0: cross-entropy.

    Weights (the paper's alpha) and errors as in Dice; ValueError also for `gamma` < 0.
    """

    def __init__(self, weights: Sequence[float] | None = None, gamma: float = 2.0) -> None:
        super().__init__(weights)
        self.gamma = checks.gamma(gamma)

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        z, g = _pixels(logits, masks)
        towards = _towards_truth(z, g)
        # log(1 - p_g) from the logit: 1 - p_g loses all its digits as p_g nears 1, and the gradient
        # of a power with gamma < 1 is infinite at 0.
        losses = -torch.exp(self.gamma * F.logsigmoid(-towards)) * F.logsigmoid(towards)
        return _weighted_mean(losses, g, self.weights)


class Sum(nn.Module):
    """The sum of several losses."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        return sum(part(logits, masks) for part in self.parts)


def _pixels(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """z and g, both (B, H * W) float32: half precision counts only to 2048."""
    shape = tuple(masks.shape)
    if masks.ndim != 3 or tuple(logits.shape) != (shape[0], 1, *shape[1:]) or masks.numel() == 0:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and masks {shape}; expected (B, 1, H, W) and "
            "(B, H, W), none of them 0: build the network with num_classes=1, one logit per pixel"
        )
    if not logits.is_floating_point():
        raise ValueError(f"logits are {logits.dtype}; expected a float type")
    if masks.dtype not in _MASK_TYPES:
        raise ValueError(f"masks are {masks.dtype}; expected 0/1 as torch.uint8, bool or int64")
    z, g = logits.float().flatten(1), masks.float().flatten(1)
    if masks.dtype == torch.bool:
        return z, g
    wrong = ((masks != 0) & (masks != 1)).flatten(1)
    if masks.device.type not in _LOOKED_AT:
        return z.masked_fill(wrong, torch.nan), g  # the loss is nan, which training reports
    if wrong.any():
        low, high = masks.min().item(), masks.max().item()
        raise ValueError(f"masks hold {low} to {high}; expected 0 and 1: use masks > 127 for 0/255")
    return z, g


def _dice_loss(p: Tensor, g: Tensor) -> Tensor:
    """Of each image, (B,)."""
    return 1 - (2 * (p * g).sum(1) + SMOOTH) / (p.sum(1) + g.sum(1) + SMOOTH)


def _squared_dice_loss(p: Tensor, g: Tensor) -> Tensor:
    overlap, total = (p * g).sum(1), p.square().sum(1) + g.sum(1)
    return 1 - (2 * overlap + COURSEWORKS_SMOOTH) / (total + COURSEWORKS_SMOOTH)


def _towards_truth(z: Tensor, g: Tensor) -> Tensor:
    """z on the lesion and -z elsewhere: its sigmoid is p_g."""
    return torch.where(g > 0, z, -z)


def _weighted_mean(losses: Tensor, g: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return losses.mean()
    return (torch.where(g > 0, weights[1], weights[0]) * losses).mean()
