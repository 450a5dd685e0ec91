"""The first layer of every network: stored images become the numbers it was trained on.

ImageNet's ResNets expect its mean and standard deviation, EfficientNet-Lite expects 0.5 and 0.5.
Each network has its own, so no loader, script or exported file can confuse them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Per channel, red green blue, for values 0..1: torchvision's and timm's documented settings.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# Of the crops that the re-implementation of row 1-4 trained on, as in its code.
LESIONS = ((0.7079057, 0.59156483, 0.54687315), (0.09372108, 0.11136277, 0.12577087))
NORMALISATIONS = {"imagenet": IMAGENET, "lesions": LESIONS}


class Normalise(nn.Module):
    """Subtract the mean and divide by the standard deviation of each colour channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # Not persistent: the state dict has exactly the names of the published weight files.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise (B, 3, H, W), uint8 0..255 or floating 0..1, keeping the memory format.

        The result has the network's own floating type, whatever came in.
        """
        # Checked here because a grey image would be broadcast to three channels silently.
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"got images of shape {tuple(images.shape)}, expected (B, 3, H, W): "
                "add the batch dimension, and convert grey images to RGB"
            )
        if images.dtype == torch.uint8:
            images = images.to(self.mean.dtype) / 255
        elif not images.is_floating_point():
            raise TypeError(
                f"got images of type {images.dtype}, expected uint8 in 0..255 or floats in 0..1: "
                "convert them first"
            )
        return (images.to(self.mean.dtype) - self.mean) / self.std

    def extra_repr(self) -> str:
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"
