"""Dense-UNet and Lite-UNet: encoder and decoder of segmentation-models-pytorch (smp).

https://github.com/qubvel-org/segmentation_models.pytorch, its `Unet` around DenseNet-121 (Huang et
al., https://arxiv.org/abs/1608.06993) and EfficientNet-Lite0 (see `nets/lite.py`). smp can only
fetch its weights from a hub; here they are loaded as for every network, see `nets/weights.py`.
Deviations: layers that no gradient would reach are removed, and no ReLU works in place, see
`nets/resnet.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from nets.depthwise import keep_depthwise_float32
from nets.lite import Lite0, Lite1, Lite2
from nets.normalise import HALF, IMAGENET
from nets.res_unet import DECODER
from nets.unet import Segmenter

# The layers of Lite0 after its last map.
BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
HEAD = ("conv_head.weight", *(f"bn2.{part}" for part in BN), "classifier.weight", "classifier.bias")


class SmpUNet(Segmenter):
    """The parts of an smp.Unet; `encoder` has the key names of the classifier it comes from."""

    def __init__(
        self,
        net: smp.Unet,
        encoder: nn.Module,
        normalisation: tuple[Sequence[float], Sequence[float]],
    ) -> None:
        super().__init__(normalisation, net.encoder.output_stride)
        self.encoder, self.decoder, self.head = encoder, net.decoder, net.segmentation_head
        for module in self.modules():
            if isinstance(module, nn.ReLU | nn.ReLU6):
                module.inplace = False


class DenseUNet(SmpUNet):
    """DenseNet-121 up to its third block, and the decoder of the published rows."""

    def __init__(self, num_classes: int = 1) -> None:
        net = smp.Unet(
            "densenet121",
            encoder_depth=4,
            encoder_weights=None,
            decoder_channels=DECODER,
            classes=num_classes,
        )
        super().__init__(net, net.encoder, IMAGENET)
        keys = list(self.encoder.state_dict())
        layers: Any = self.encoder.features
        # smp keeps, unused, the layers after the fourth map, which is the ReLU of transition3.
        del layers.transition3.conv, layers.transition3.pool, layers.denseblock4, layers.norm5
        kept = self.encoder.state_dict()
        self.spare = [key for key in keys if key not in kept]
        self.spare += ["classifier.weight", "classifier.bias"]

    def logits(self, x: Tensor) -> Tensor:
        return self.head(self.decoder(self.encoder(x)))

    @staticmethod
    def translate(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The names in torchvision's older file, `denselayer1.norm.1`, without their last dot."""
        pattern = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")
        return {pattern.sub(r"\1", key): value for key, value in state.items()}


class LiteUNet(SmpUNet):
    """EfficientNet-Lite0 up to stride 32, and smp's own, narrower decoder."""

    classifier: type[Lite0] = Lite0

    def __init__(self, num_classes: int = 1) -> None:
        name = f"tu-{self.classifier.timm_name}"
        net = smp.Unet(name, encoder_weights=None, classes=num_classes)
        keep_depthwise_float32(net)
        super().__init__(net, net.encoder.model, HALF)
        blocks = self.encoder.named_modules()
        # The attention weights of an ARL run are not used here.
        alphas = [f"{name}.alpha" for name, block in blocks if getattr(block, "has_skip", False)]
        self.spare = [*HEAD, *alphas]

    def logits(self, x: Tensor) -> Tensor:
        return self.head(self.decoder([x, *self.encoder(x)]))

    translate = staticmethod(Lite0.translate)


class Lite1UNet(LiteUNet):
    """The same on EfficientNet-Lite1."""

    classifier = Lite1


class Lite2UNet(LiteUNet):
    """The same on EfficientNet-Lite2."""

    classifier = Lite2


class SmpSegmenter(SmpUNet):
    """An architecture of smp around one of its encoders, each by its name there."""

    def __init__(
        self,
        architecture: str,
        encoder: str,
        normalisation: tuple[Sequence[float], Sequence[float]],
        num_classes: int = 1,
    ) -> None:
        net = smp.create_model(architecture, encoder, encoder_weights=None, classes=num_classes)
        keep_depthwise_float32(net)
        super().__init__(net, net.encoder, normalisation)

    def logits(self, x: Tensor) -> Tensor:
        return self.head(self.decoder(self.encoder(x)))

    def translate(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Names of timm's own file as its encoders here have them; the layers after are spare."""
        own = self.encoder.state_dict()
        # "model.stages_0.blocks…" is "stages.0.blocks…" there.
        ours = {re.sub(r"^model\.(\w+?)_(\d+)\.", r"\1.\2.", key): key for key in own}
        ours |= {key.removeprefix("model."): key for key in own}
        state = {ours.get(key, key): value for key, value in state.items()}
        parts = {key.split(".")[0] for key in own}
        self.spare = [key for key in state if key.split(".")[0] not in parts]
        return state
