"""ARL-UNet: Res-UNet whose encoder attends to its own output; and the coursework's own.

The encoder is that of ARL-CNN (`nets/arl.py`; Zhang et al., IEEE TMI 38(9), 2019,
https://doi.org/10.1109/TMI.2019.2893944), which the paper used for classification only. With
alpha=0 this is exactly Res-UNet.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from nets.arl import ARLNet
from nets.normalise import IMAGENET
from nets.res_unet import DECODER, ResidualUNet
from nets.resnet import DEPTHS
from nets.unet import Decoder, Segmenter, UpConv


class ARLUNet(ResidualUNet):
    """ARL-CNN of any depth as encoder; the other options are those of `nets.arl.Attention`."""

    def __init__(
        self,
        num_classes: int = 1,
        *,
        depth: int = 18,
        attention: str = "spatial",
        alpha: float = 0.001,
        train_alpha: bool = True,
        float32_sum: bool = True,
    ) -> None:
        family = partial(
            ARLNet,
            attention=attention,
            alpha=alpha,
            train_alpha=train_alpha,
            float32_sum=float32_sum,
        )
        super().__init__(family, depth, num_classes)


class DeepARLUNet(Segmenter):
    """The coursework's ARL-UNet: all four stages of the encoder, learned 2x2 up-convolutions.

    19.07 M parameters with depth 18. Its coarsest map has stride 32, its finest 2, which is
    enlarged linearly, corners on corners, before the last 3x3 convolution.
    """

    def __init__(
        self,
        num_classes: int = 1,
        *,
        depth: int = 18,
        attention: str = "spatial",
        alpha: float = 0.001,
        train_alpha: bool = True,
        float32_sum: bool = True,
    ) -> None:
        super().__init__(IMAGENET, stride=32)
        if depth not in DEPTHS:
            raise ValueError(f"got depth={depth}, expected one of {', '.join(map(str, DEPTHS))}")
        self.encoder = ARLNet(
            depth,
            attention=attention,
            alpha=alpha,
            train_alpha=train_alpha,
            float32_sum=float32_sum,
        )
        self.spare = ["fc.weight", "fc.bias"]
        # Images arrive normalised, and no gradient reaches the head of the classifier.
        for name in ("normalise", "avgpool", "fc"):
            delattr(self.encoder, name)
        self.decoder = Decoder(self.encoder.feature_channels, DECODER, UpConv)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.head = nn.Conv2d(DECODER[-1], num_classes, 3, padding=1)

    def logits(self, x: Tensor) -> Tensor:
        return self.head(self.enlarge(self.decoder(self.encoder.maps(x))))
