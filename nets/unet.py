"""U-Net, and what all segmenters share: any size of image, and the decoder.

Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015,
https://arxiv.org/abs/1505.04597. Deviations, as in nearly every U-Net since: convolutions are
padded, so the logits are as large as the image and no skip is cropped; a BN follows each 3x3
convolution, which then needs no bias; no dropout at the bottom. No ReLU works in place, see
`nets/resnet.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from nets.normalise import IMAGENET, Normalise
from nets.resnet import conv3x3, initialise


class Segmenter(nn.Module):
    """One logit per class and pixel, for images of any size.

    Weights of ImageNet or of a classifier go into its `encoder`; the keys of their file that have
    no place there (head, last stage) are in `spare`.

    Args:
        normalisation: mean and standard deviation that the encoder was trained with.
        stride: pixels per position of the coarsest map.
    """

    spare: Sequence[str] = ()

    def __init__(self, normalisation: tuple[Sequence[float], Sequence[float]], stride: int) -> None:
        super().__init__()
        self.normalise = Normalise(*normalisation)
        self.stride = stride

    def logits(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W), sides multiples of the stride -> (B, classes, H, W)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), uint8 0..255 or floating 0..1, any size -> logits (B, num_classes, H, W).

        Where the stride does not divide a side, the last row or column is repeated, and their
        logits are cropped.
        """
        x = self.normalise(images)
        height, width = x.shape[2:]
        below, right = -height % self.stride, -width % self.stride
        if below or right:
            x = functional.pad(x, (0, right, 0, below), mode="replicate")
        return self.logits(x)[..., :height, :width]


class DoubleConv(nn.Module):
    """3x3 convolution, BN, ReLU, twice: (B, in, H, W) -> (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)))


class Up(nn.Module):
    """Upsample by two (nearest, as in smp), concatenate the encoder's map, DoubleConv."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.enlarge: nn.Module = nn.Upsample(scale_factor=2, mode="nearest")
        self.convs = DoubleConv(in_channels + skip_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """(B, in, H, W), and a skip (B, skip, 2H, 2W) or none -> (B, out, 2H, 2W)."""
        x = self.enlarge(x)
        return self.convs(x if skip is None else torch.cat([x, skip], dim=1))


class UpConv(Up):
    """The paper's: a learned 2x2 convolution upsamples, and halves the channels."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__(in_channels // 2, skip_channels, out_channels)
        self.enlarge = nn.ConvTranspose2d(in_channels, in_channels // 2, 2, stride=2)


class Decoder(nn.Module):
    """From the encoder's maps back to a fine one, a step of `Up` for each of `channels`.

    Args:
        encoder_channels: channels of the encoder's maps, from fine to coarse.
        channels: output channels of each step, from coarse to fine; steps beyond the finest map of
            the encoder have no skip.
        up: the kind of step.
    """

    def __init__(
        self, encoder_channels: Sequence[int], channels: Sequence[int], up: type[Up] = Up
    ) -> None:
        super().__init__()
        *skips, bottom = encoder_channels
        skips = [0] * (len(channels) - len(skips)) + skips
        steps = zip((bottom, *channels), reversed(skips), channels, strict=False)
        self.ups = nn.ModuleList(up(*step) for step in steps)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps from fine to coarse, the last (B, C, H, W) -> (B, channels[-1], 2^n H, 2^n W)."""
        *skips, x = maps
        for up in self.ups:
            x = up(x, skips.pop() if skips else None)
        return x


class UNet(Segmenter):
    """The paper's U-Net: 64 channels at full resolution, doubled at each of four halvings."""

    CHANNELS = (64, 128, 256, 512, 1024)

    def __init__(self, num_classes: int = 1) -> None:
        super().__init__(IMAGENET, stride=16)
        self.downs = nn.ModuleList(DoubleConv(*step) for step in pairwise((3, *self.CHANNELS)))
        self.pool = nn.MaxPool2d(2)
        self.decoder = Decoder(self.CHANNELS, self.CHANNELS[-2::-1], UpConv)
        self.head = nn.Conv2d(self.CHANNELS[0], num_classes, 1)

    def logits(self, x: Tensor) -> Tensor:
        maps: list[Tensor] = []
        for down in self.downs:
            x = down(self.pool(x) if maps else x)
            maps.append(x)  # (B, 64, H, W), (B, 128, H/2, W/2) … (B, 1024, H/16, W/16)
        return self.head(self.decoder(maps))
