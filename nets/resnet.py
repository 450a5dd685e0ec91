"""ResNet, a block as the paper draws it: ReLU(branch(x) + shortcut(x)).

He et al., Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385.
Deviations: the stride is in the 3x3 convolution, as in torchvision ("v1.5",
https://ngc.nvidia.com/catalog/model-scripts/nvidia:resnet_50_v1_5_for_pytorch), and depth 14 is
the plain twin of ARL-CNN14 (Zhang et al., https://doi.org/10.1109/TMI.2019.2893944).
Parameter names are torchvision's, so its weight files load as they are. No ReLU works in place:
hooks, such as those of Grad-CAM, see every map unchanged, and a training step costs the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from nets.normalise import NORMALISATIONS, Normalise


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps height and width at stride 1; a BN follows, hence no bias."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution: a linear map of the channels at each position."""
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


class Block(nn.Module):
    """What both kinds of block share: the sum of branch and shortcut, then ReLU."""

    expansion: int  # channels of the output per channel of the 3x3 convolution
    downsample: nn.Module | None

    def branch(self, x: Tensor) -> Tensor:
        """The residual branch O, up to its last BN and before the sum."""
        raise NotImplementedError

    def shortcut(self, x: Tensor) -> Tensor:
        """x itself, or its 1x1 projection where stride or channels change."""
        return x if self.downsample is None else self.downsample(x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, width * expansion, ceil(H / stride), ceil(W / stride))."""
        return functional.relu(self.branch(x) + self.shortcut(x))


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """The shortcut's 1x1 convolution and BN, or None where the identity fits as it is."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


class BasicBlock(Block):
    """Two 3x3 convolutions (depths 18 and 34)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = projection(in_channels, width, stride)

    def branch(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))


class Bottleneck(Block):
    """1x1 down, 3x3, 1x1 up to four times the width (depths 14, 50, 101 and 152)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = conv1x1(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = projection(in_channels, out_channels, stride)

    def branch(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


# Depth: kind of block, and how many of them in each of the four stages (table 1 of the paper).
DEPTHS: dict[int, tuple[type[Block], tuple[int, int, int, int]]] = {
    14: (Bottleneck, (1, 1, 1, 1)),
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """Stem, four stages of blocks, mean over all positions, one linear layer.

    Args:
        depth: a key of DEPTHS.
        num_classes: how many logits.
        block: makes a block from (in_channels, width, stride); the depth's own kind by default.
        normalise: a key of NORMALISATIONS.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 3,
        block: Callable[..., Block] | None = None,
        *,
        normalise: str = "imagenet",
    ) -> None:
        super().__init__()
        if normalise not in NORMALISATIONS:
            expected = f"expected one of {list(NORMALISATIONS)}"
            raise ValueError(f"got normalise={normalise!r}, {expected}")
        kind, counts = DEPTHS[depth]
        block = block or kind
        self.normalise = Normalise(*NORMALISATIONS[normalise])
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = [64]
        for stage, count in enumerate(counts):
            width = 64 * 2**stage
            # Each stage but the first halves height and width in its first block.
            blocks = [block(channels[-1], width, 1 if stage == 0 else 2)]
            blocks += [block(width * kind.expansion, width, 1) for _ in range(count - 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            channels.append(width * kind.expansion)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels[-1], num_classes)
        self.feature_channels: tuple[int, ...] = tuple(channels)
        self.apply(initialise)

    def features(self, images: Tensor) -> list[Tensor]:
        """Five maps of stride 2, 4, 8, 16, 32, with `feature_channels` channels."""
        return self.maps(self.normalise(images))

    def maps(self, x: Tensor, count: int = 5) -> list[Tensor]:
        """The first `count` of the five, from normalised images, without the later stages."""
        x = functional.relu(self.bn1(self.conv1(x)))
        maps = [x]  # (B, 64, H/2, W/2), before the max-pool
        x = self.maxpool(x)
        for stage in range(1, count):
            x = getattr(self, f"layer{stage}")(x)
            maps.append(x)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), uint8 0..255 or floating 0..1 -> logits (B, num_classes)."""
        x = self.avgpool(self.features(images)[-1])
        return self.fc(torch.flatten(x, 1))


def initialise(module: nn.Module) -> None:
    """Kaiming's normal distribution for convolutions (https://arxiv.org/abs/1502.01852)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
