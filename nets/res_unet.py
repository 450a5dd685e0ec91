"""Res-UNet: the first three stages of a ResNet, and a U-Net's way back to full resolution.

The layers are those of segmentation-models-pytorch's `Unet("resnet18", encoder_depth=4)`, here for
any depth: https://github.com/qubvel-org/segmentation_models.pytorch. The last step back, from half
the sides to all of them, has no skip.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from nets.normalise import IMAGENET
from nets.resnet import DEPTHS, ResNet
from nets.unet import Decoder, Segmenter

DECODER = (512, 256, 128, 64)  # of the published rows; smp's own is (256, 128, 64, 32, 16)


class ResidualUNet(Segmenter):
    """A U-Net around four maps of a ResNet, plain or with attention.

    Args:
        family: makes the classifier from its depth.
        depth: a key of `nets.resnet.DEPTHS`.
        num_classes: logits per pixel.
    """

    def __init__(self, family: Callable[[int], ResNet], depth: int, num_classes: int) -> None:
        super().__init__(IMAGENET, stride=16)
        if depth not in DEPTHS:
            raise ValueError(f"got depth={depth}, expected one of {', '.join(map(str, DEPTHS))}")
        self.encoder = family(depth)
        keys = list(self.encoder.state_dict())
        # No gradient reaches the layers after the fourth map; images arrive normalised.
        for name in ("normalise", "layer4", "avgpool", "fc"):
            delattr(self.encoder, name)
        kept = self.encoder.state_dict()
        self.spare = [key for key in keys if key not in kept]
        self.decoder = Decoder(self.encoder.feature_channels[:4], DECODER)
        self.head = nn.Conv2d(DECODER[-1], num_classes, 3, padding=1)

    def logits(self, x: Tensor) -> Tensor:
        return self.head(self.decoder(self.encoder.maps(x, count=4)))


class ResUNet(ResidualUNet):
    """A plain ResNet as encoder."""

    def __init__(self, num_classes: int = 1, *, depth: int = 18) -> None:
        super().__init__(ResNet, depth, num_classes)
