"""The moving average of a network's weights: steadier than the last step's, and free to score.

W_avg <- d W_avg + (1 - d) W after each step, with d = min(decay, (1 + steps) / (10 + steps)), so
that the initial weights are soon forgotten (Polyak and Juditsky, SIAM J. Control Optim. 30, 1992;
the rising decay is that of TensorFlow's ExponentialMovingAverage). The arithmetic is that of
torch.optim.swa_utils, whose AveragedModel itself reads a counter on the device at each step.
"""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """A copy of a network whose weights follow its own."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        states = (self.network.state_dict().values(), network.state_dict().values())
        pairs = list(zip(*states, strict=True))
        self.floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self.counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """After the network's step; steps were done before it."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        averages, weights = (list(side) for side in zip(*self.floats, strict=True))
        get_ema_multi_avg_fn(decay)(averages, weights, None)
        for count, now in self.counts:
            count.copy_(now)
