"""Depthwise convolutions: float32 in bf16 autocast on a CPU, untouched everywhere else."""

import pytest
import timm
import torch
from networks import pictures
from timm.layers import Conv2dSame
from torch import nn

import nets
from nets.depthwise import KINDS, keep_depthwise_float32


@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_is_of_float32_products_and_the_result_of_autocasts_type(kind) -> None:
    torch.manual_seed(0)
    padding = {} if kind is Conv2dSame else {"padding": 1}
    plain = kind(8, 8, 3, stride=2, groups=8, bias=False, **padding)
    ours = nn.Sequential(plain)
    x = torch.randn(2, 8, 15, 15).bfloat16()
    expected = plain(x.float())
    keep_depthwise_float32(ours)
    assert torch.equal(ours(x.float()), expected)
    with torch.autocast("cpu", torch.bfloat16):
        result = ours(x)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, expected.bfloat16())
    result.sum().backward()
    assert ours[0].weight.grad.dtype == torch.float32


@pytest.mark.parametrize("name", ["lite0", "arl_lite0", "lite_unet"])
def test_every_depthwise_convolution_is_one_of_them(name: str) -> None:
    layers = [m for m in nets.build(name).modules() if isinstance(m, nn.Conv2d)]
    depthwise = [type(layer) for layer in layers if layer.groups > 1]
    assert len(depthwise) == 16
    assert set(depthwise) == set(KINDS.values())


def test_without_autocast_it_is_timms_network_to_the_last_bit() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=3).eval()
    ours = nets.build("lite0").eval()
    ours.load_state_dict(theirs.state_dict())
    images = pictures(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(ours.normalise(images)))
