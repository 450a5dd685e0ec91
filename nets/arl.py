"""Attention residual learning: a ResNet whose blocks look at their own output.

Zhang, Xie, Xia, Shen: Attention Residual Learning for Skin Lesion Classification, IEEE TMI 38(9),
2019, https://doi.org/10.1109/TMI.2019.2893944. A block gives

    ReLU(O + x + alpha * R(O) * x)

where O is the output of the branch's last BN, x the (projected) identity, R a softmax that turns
O into attention weights, and alpha one learned number per block. The paper's R runs over the
positions of each channel; two published code bases took `nn.Softmax2d`, over the channels at each
position. Both are here; weights trained with one make no sense with the other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from nets.resnet import DEPTHS, BasicBlock, Block, Bottleneck, ResNet


def spatial_softmax(maps: Tensor) -> Tensor:
    """Softmax over the positions of each channel: (B, C, H, W) -> the same, each map sums to 1."""
    if not is_channels_last(maps):
        return maps.flatten(2).softmax(2, dtype=maps.dtype).reshape(maps.shape)
    rows = maps.permute(0, 2, 3, 1)  # (B, H, W, C): a view in the order of the memory
    weights = rows.flatten(1, 2).softmax(1, dtype=maps.dtype)  # (B, H*W, C)
    return weights.reshape(rows.shape).permute(0, 3, 1, 2)


def channel_softmax(maps: Tensor) -> Tensor:
    """Softmax over the channels at each position: (B, C, H, W) -> the same, C weights sum to 1."""
    if not is_channels_last(maps):
        return maps.softmax(1, dtype=maps.dtype)
    return maps.permute(0, 2, 3, 1).softmax(3, dtype=maps.dtype).permute(0, 3, 1, 2)


def is_channels_last(maps: Tensor) -> bool:
    """Whether the C values of one position are adjacent in memory.

    Both softmaxes follow the order of the memory, as the other order would copy every map. They
    name their dtype because autocast on a GPU would otherwise return float32, and double the memory
    of all that follows; the sum inside is float32 either way.
    """
    return maps.is_contiguous(memory_format=torch.channels_last)


ATTENTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "spatial": spatial_softmax,
    "channel": channel_softmax,
}


# The axes over which the weights of each sum to 1.
AXES: dict[Callable[[Tensor], Tensor], tuple[int, ...]] = {
    spatial_softmax: (2, 3),
    channel_softmax: (1,),
}


class AttendOnCPU(torch.autograd.Function):
    """O + x + alpha * R(O) * x in fewer passes over memory than autograd needs.

    On a CPU passes over a map dominate the cost. With R = R(O), the incoming gradient g and <.> the
    sum over the softmax's axes (the derivative of a softmax):

        u = g R x,  dx = g + alpha g R,  dO = g + alpha (u - R <u>),  dalpha = sum of <u>
    """

    @staticmethod
    def forward(
        ctx: Any,  # torch's type has neither axes nor saved_tensors
        branch: Tensor,
        identity: Tensor,
        alpha: Tensor,
        attention: Callable[[Tensor], Tensor],
    ) -> Tensor:
        weights = attention(branch)
        ctx.save_for_backward(weights, identity, alpha)
        ctx.axes = AXES[attention]
        return torch.add(branch, identity).addcmul_(weights, identity, value=alpha.item())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        weights, identity, alpha = ctx.saved_tensors
        product = grad * weights
        to_identity = torch.add(grad, product, alpha=alpha.item())
        product.mul_(identity)  # u
        sums = product.sum(ctx.axes, keepdim=True)
        product.addcmul_(weights, sums, value=-1)
        to_branch = torch.add(grad, product, alpha=alpha.item(), out=product)
        return to_branch, to_identity, sums.sum(dtype=alpha.dtype), None


class Attention(nn.Module):
    """Turns a block into an attention block, as its first base class.

    Args:
        attention: a key of ATTENTIONS.
        alpha: its initial value.
        train_alpha: False freezes it (with alpha=0: the ablation, a plain network).
        float32_sum: sum in float32, also inside bf16 autocast. A bf16 number has three digits: at
            alpha = 0.001 the term changes one sum in a thousand, in float32 nearly all. False
            makes a step in bf16 1 to 12 % shorter.
    """

    def __init__(
        self,
        *block: object,
        attention: str = "spatial",
        alpha: float = 0.001,
        train_alpha: bool = True,
        float32_sum: bool = True,
    ) -> None:
        super().__init__(*block)
        if attention not in ATTENTIONS:
            raise ValueError(f"got attention={attention!r}, expected one of {list(ATTENTIONS)}")
        self.attention = ATTENTIONS[attention]
        self.float32_sum = float32_sum
        # A scalar keeps bf16 maps bf16, where shape (1,) would promote them to float32.
        self.alpha = nn.Parameter(torch.tensor(float(alpha)), requires_grad=train_alpha)

    def attend(self, branch: Tensor, identity: Tensor) -> Tensor:
        """O + x + alpha * R(O) * x, all (B, C, H, W).

        Summed in this order, alpha = 0 adds exact zeros to the result of the plain block.
        """
        if self.float32_sum and branch.dtype.itemsize < 4:
            branch, identity = branch.float(), identity.float()
        # torch.compile fuses the formula itself; on a GPU alpha.item() would synchronise.
        if branch.device.type == "cpu" and not torch.compiler.is_compiling():
            return AttendOnCPU.apply(branch, identity, self.alpha, self.attention)
        return branch + identity + self.alpha * (self.attention(branch) * identity)


class ARLBasicBlock(Attention, BasicBlock):
    """The block of ARL-CNN18 and 34."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.attend(self.branch(x), self.shortcut(x)))


class ARLBottleneck(Attention, Bottleneck):
    """The block of ARL-CNN14, 50, 101 and 152."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.attend(self.branch(x), self.shortcut(x)))


ARL_BLOCKS: dict[type[Block], type[Block]] = {
    BasicBlock: ARLBasicBlock,
    Bottleneck: ARLBottleneck,
}


class ARLNet(ResNet):
    """ARL-CNN of any depth; options of `Attention`, the same for every block, and of `ResNet`."""

    def __init__(
        self,
        depth: int,
        num_classes: int = 3,
        *,
        attention: str = "spatial",
        alpha: float = 0.001,
        train_alpha: bool = True,
        float32_sum: bool = True,
        normalise: str = "imagenet",
    ) -> None:
        kind, _ = DEPTHS[depth]
        block = partial(
            ARL_BLOCKS[kind],
            attention=attention,
            alpha=alpha,
            train_alpha=train_alpha,
            float32_sum=float32_sum,
        )
        super().__init__(depth, num_classes, block, normalise=normalise)
