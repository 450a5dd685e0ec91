"""Steps of training that do not wait for the device, and yet leave out what is not finite.

To look at a loss is to wait until the device has computed it, while it has nothing else to do. So
the device itself leaves out a step whose loss or gradient is not finite, and all steps after it;
every few batches the numbers are read. On a CPU they are read at once, which costs nothing, and on
Apple's GPUs, whose optimisers cannot leave out a step.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

READ_EVERY = {"cpu": 1, "mps": 1}  # batches, by kind of device
OTHERS = 50


class NotFiniteError(ValueError):
    """A step was left out: why, its batch, and the indices of its images."""

    def __init__(self, what: str, batch: int, indices: list[int]) -> None:
        super().__init__(what)
        self.what, self.batch, self.indices = what, batch, indices


class _Step(NamedTuple):
    numbers: Tensor  # (2,): loss, norm of the gradient; on the device
    batch: int
    indices: Tensor
    buffers: tuple[Tensor, ...]  # of the network, before the step


class Steps:
    """Watches the steps of an optimiser; at once where it is no fused one."""

    def __init__(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
    ) -> None:
        self.buffers = list(network.buffers())
        self.bad = torch.zeros((), device=device)
        fused = all(group["fused"] for group in optimizer.param_groups)
        self.every = READ_EVERY.get(device.type, OTHERS) if fused else 1
        if fused and device.type != "mps":
            # Fused optimisers leave out a step where it is 1: torch made this for loss scaling.
            optimizer.found_inf = self.bad  # type: ignore[attr-defined]
        self.unread: list[_Step] = []
        self.before = self._copied()

    def begin(self) -> None:
        """Before the forward pass, which changes batch norm's statistics."""
        self.before = self._copied()

    def judge(self, loss: Tensor, norm: Tensor, batch: int, indices: Tensor) -> None:
        """Before the optimiser's step: let the device decide whether it is done."""
        numbers = torch.stack([loss.detach(), norm.detach()])
        finite = torch.isfinite(numbers).all()
        self.bad.copy_(torch.maximum(self.bad, (~finite).float()))
        self.unread.append(_Step(numbers, batch, indices, self.before))

    @property
    def due(self) -> bool:
        """Whether it is time to read."""
        return len(self.unread) >= self.every

    def read(self) -> list[float]:
        """The losses of the unread steps: the only wait for the device.

        NotFiniteError at the first that was left out. The network is then as it was before it.
        """
        if not self.unread:
            return []
        steps, self.unread = self.unread, []
        numbers = torch.stack([step.numbers for step in steps]).tolist()
        for step, (loss, norm) in zip(steps, numbers, strict=True):
            if math.isfinite(loss) and math.isfinite(norm):
                continue
            for buffer, value in zip(self.buffers, step.buffers, strict=True):
                buffer.copy_(value)
            self.bad.zero_()
            what = f"the gradient's norm became {norm}"
            if not math.isfinite(loss):
                what = f"the loss became {loss}"
            raise NotFiniteError(what, step.batch, step.indices.tolist())
        return [loss for loss, _ in numbers]

    def _copied(self) -> tuple[Tensor, ...]:
        # In one pass over all of them, where a GPU would start a kernel for each.
        return tuple(torch._foreach_mul(self.buffers, 1)) if self.buffers else ()


def seed_torch(*numbers: int) -> None:
    """Seed torch's generators with a mix of the numbers (seed, epoch, …)."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


def mixing_share(parameter: float, *numbers: int) -> float:
    """The share of the first image where two are mixed: Beta(parameter, parameter), at least 1/2.

    A function of the numbers (seed, epoch, batch). 1 for parameter 0. (mixup: Zhang et al., ICLR
    2018, https://arxiv.org/abs/1710.09412.)
    """
    if not parameter:
        return 1.0
    share = float(np.random.default_rng(numbers).beta(parameter, parameter))
    return max(share, 1 - share)


def mixed(images: Tensor, share: float) -> Tensor:
    """Images (B, 3, H, W) uint8, each with 1 - share of the one before it in the batch."""
    if share == 1:
        return images
    return torch.lerp(images.roll(1, 0).float(), images.float(), share).round().to(images.dtype)


def noisy(images: Tensor, deviation: float) -> Tensor:
    """Images (B, 3, H, W) uint8 with Gaussian noise in each value, its deviation as a share of 255.

    From torch's generator, which `Draws` seeds for each step.
    """
    if not deviation:
        return images
    values = images.float()
    values += 255 * deviation * torch.randn_like(values)
    return values.round().clamp(0, 255).to(images.dtype)


class Draws:
    """Seeds the steps of a network that draws random numbers, as dropout does.

    The first step in a process tells whether it does. Others are not seeded: on a GPU it takes some
    tenths of a millisecond a step.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.any: bool | None = None  # not known yet

    @contextmanager
    def seeded(self, *numbers: int) -> Iterator[None]:
        """Around a step: what it draws is a function of the numbers, resumed or not."""
        if self.any is False:
            yield
            return
        seed_torch(*numbers)
        before = self._states() if self.any is None else []
        yield
        if self.any is None:
            self.any = not all(map(torch.equal, before, self._states()))

    def _states(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self.device.type != "cpu":
            states.append(torch.get_device_module(self.device).get_rng_state())
        return states
