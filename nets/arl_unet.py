"""ARL-UNet: Res-UNet whose encoder attends to its own output.

The encoder is that of ARL-CNN (`nets/arl.py`; Zhang et al., IEEE TMI 38(9), 2019,
https://doi.org/10.1109/TMI.2019.2893944), which the paper used for classification only. With
alpha=0 this is exactly Res-UNet.
"""

from __future__ import annotations

from functools import partial

from nets.arl import ARLNet
from nets.res_unet import ResidualUNet


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
