"""The segmenters: countable facts, then smp and formulas written out as referees."""

from __future__ import annotations

import re
from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from networks import count, empty, network, pictures, settled
from torch import Tensor, nn
from torch.nn import functional

import nets
from nets.normalise import HALF, IMAGENET, Normalise
from nets.resnet import DEPTHS, ResNet

NAMES = list(nets.SEGMENTERS)
SMP = {"encoder_weights": None, "classes": 1}
PUBLISHED = {**SMP, "encoder_depth": 4, "decoder_channels": (512, 256, 128, 64)}
STRIDES = {name: 32 if name in ("lite_unet", "deep_arl_unet") else 16 for name in NAMES}


def but(names: str) -> list:
    """All segmenters, these only in the slow tests: they are large, and share the others' code."""
    slow = names.split()
    return [pytest.param(n, marks=pytest.mark.slow) if n in slow else n for n in NAMES]


def test_unet_has_the_well_known_31_million_parameters() -> None:
    """Counted by hand; 31 037 633 is what other U-Nets with BN and transposed convolutions have."""
    widths = (64, 128, 256, 512, 1024)
    convs = sum(9 * (i * o + o * o) + 4 * o for i, o in pairwise((3, *widths)))  # two BN of 2 o
    for low, high in pairwise(widths):
        convs += 9 * (high * low + low * low) + 4 * low  # high = low of the skip + low from below
        convs += 4 * high * low + low  # the 2x2 convolution that enlarges, and its bias
    assert count(empty("unet")) == convs + 64 + 1 == 31_037_633


@pytest.mark.parametrize(
    ("name", "encoder", "settings", "unused"),
    [
        ("res_unet", "resnet18", PUBLISHED, ("layer4",)),
        ("arl_unet", "resnet18", PUBLISHED, ("layer4",)),
        (
            "dense_unet",
            "densenet121",
            PUBLISHED,
            ("features.transition3.conv", "features.denseblock4", "features.norm5"),
        ),
        ("lite_unet", "tu-tf_efficientnet_lite0", SMP, ()),
    ],
)
def test_parameters_are_smps_without_what_it_leaves_unused(
    name: str, encoder: str, settings: dict, unused: tuple[str, ...]
) -> None:
    with torch.device("meta"):
        theirs = smp.Unet(encoder, **settings)
    left_out = sum(count(theirs.encoder.get_submodule(part)) for part in unused)
    alphas = 6 if name == "arl_unet" else 0
    assert count(empty(name)) == count(theirs) - left_out + alphas


def smps_name(key: str) -> str:
    """`decoder.ups.0.convs.bn1.weight` is `decoder.blocks.0.conv1.1.weight` in smp."""
    key = re.sub(r"^head\.", "segmentation_head.0.", key)
    key = re.sub(r"^decoder\.ups\.(\d)\.convs\.conv(\d)", r"decoder.blocks.\1.conv\2.0", key)
    return re.sub(r"^decoder\.ups\.(\d)\.convs\.bn(\d)", r"decoder.blocks.\1.conv\2.1", key)


def test_res_unet_computes_what_smps_computes() -> None:
    ours, theirs = network("res_unet"), smp.Unet("resnet18", **PUBLISHED).eval()
    state = {smps_name(key): value for key, value in ours.state_dict().items()}
    keys = theirs.load_state_dict(state, strict=False)
    assert not keys.unexpected_keys
    # The fourth stage is there, but not used at this depth.
    assert all(key.startswith("encoder.layer4.") for key in keys.missing_keys)
    images = pictures(2, 3, 48, 64)
    expected = theirs(Normalise(*IMAGENET)(images))
    torch.testing.assert_close(ours(images), expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.05


@pytest.mark.parametrize(
    ("name", "encoder", "settings", "normalisation"),
    [
        ("dense_unet", "densenet121", PUBLISHED, IMAGENET),
        ("lite_unet", "tu-tf_efficientnet_lite0", SMP, HALF),
    ],
)
def test_smps_networks_are_not_changed(
    name: str, encoder: str, settings: dict, normalisation: tuple
) -> None:
    ours, theirs = network(name), smp.Unet(encoder, **settings).eval()
    their_encoder = theirs.encoder.model if name == "lite_unet" else theirs.encoder
    # Not their method: smp's encoders have one of their own, which is strict.
    nn.Module.load_state_dict(their_encoder, ours.encoder.state_dict(), strict=False)
    theirs.decoder.load_state_dict(ours.decoder.state_dict())
    theirs.segmentation_head.load_state_dict(ours.head.state_dict())
    images = pictures(2, 3, 64, 96)
    expected = theirs(Normalise(*normalisation)(images))
    assert torch.equal(ours(images), expected)
    assert expected.std() > 0.001


def unet_by_hand(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Figure 1 of the paper, padded and with BN, on our key names."""

    def double(x: Tensor, name: str) -> Tensor:
        for part in (1, 2):
            x = functional.conv2d(x, state[f"{name}.conv{part}.weight"], padding=1)
            mean, var, gain, bias = (
                state[f"{name}.bn{part}.{key}"][:, None, None]
                for key in ("running_mean", "running_var", "weight", "bias")
            )
            x = ((x - mean) / (var + 1e-5).sqrt() * gain + bias).clamp(min=0)
        return x

    maps = []
    for level in range(5):
        x = double(x, f"downs.{level}")
        maps.append(x)
        x = functional.max_pool2d(x, 2)
    x = maps[4]
    for step in range(4):
        name = f"decoder.ups.{step}"
        weight, bias = state[f"{name}.enlarge.weight"], state[f"{name}.enlarge.bias"]
        blocks = torch.einsum("bchw,cdij->bdhiwj", x, weight)
        x = blocks.flatten(4).flatten(2, 3) + bias[:, None, None]
        x = double(torch.cat([x, maps[3 - step]], 1), f"{name}.convs")
    return functional.conv2d(x, state["head.weight"], state["head.bias"])


def test_unet_against_the_papers_figure() -> None:
    unet, images = deepcopy(network("unet")).double(), pictures(1, 3, 32, 48)
    with torch.no_grad():
        expected = unet_by_hand(Normalise(*IMAGENET).double()(images), unet.state_dict())
        torch.testing.assert_close(unet(images), expected, rtol=1e-9, atol=1e-9)
    assert expected.std() > 0.05


@pytest.mark.parametrize("name", NAMES)
def test_any_size_gives_as_many_logits(name: str) -> None:
    with torch.no_grad():
        for size in ((1, 1), (1, 40), (37, 53), (64, 32)):
            logits = network(name)(pictures(1, 3, *size))
            assert logits.shape == (1, 1, *size)
            assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes_are_as_if_the_border_went_on(name: str) -> None:
    images = pictures(1, 3, 37, 53)
    continued = np.pad(images.numpy(), ((0, 0), (0, 0), (0, 27), (0, 11)), mode="edge")
    stride = STRIDES[name]
    continued = torch.from_numpy(continued)[..., : -(-37 // stride) * stride, :]
    with torch.no_grad():
        assert torch.equal(network(name)(images), network(name)(continued)[..., :37, :53])


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str) -> None:
    trained = deepcopy(network(name)).train()
    trained(pictures(2, 3, 64, 64)).square().sum().backward()
    for key, parameter in trained.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.any(), key


@pytest.mark.parametrize("name", but("unet dense_unet res_unet arl_unet deep_arl_unet"))
def test_learns_a_disc(name: str) -> None:
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    centres = torch.tensor([[10, 12], [20, 18], [15, 22], [18, 9]])
    masks = torch.stack([(rows - y) ** 2 + (columns - x) ** 2 < 49 for y, x in centres])
    images = torch.where(masks, 90, 180).to(torch.uint8)[:, None].repeat(1, 3, 1, 1)
    trained = nets.build(name)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=2e-3)
    for _ in range(20):
        logits = trained(images)[:, 0]
        error = functional.binary_cross_entropy_with_logits(logits, masks.float())
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert ((logits > 0) == masks).float().mean() > 0.98  # disc: 15 % of the pixels


@pytest.mark.parametrize(
    "depth", [14, *(pytest.param(d, marks=pytest.mark.slow) for d in (18, 50))]
)
def test_alpha_zero_is_res_unet_exactly(depth: int) -> None:
    torch.manual_seed(0)
    plain = nets.build("res_unet", depth=depth)
    torch.manual_seed(0)
    arl = nets.build("arl_unet", depth=depth, alpha=0.0, float32_sum=False)  # as the plain sums
    state = arl.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in plain.state_dict().items())
    settled(plain), settled(arl)
    images = pictures(2, 3, 48, 40)
    assert torch.equal(arl(images), plain(images))
    plain.train(), arl.train()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(arl(images), plain(images))
    other = settled(nets.build("arl_unet", depth=depth, alpha=1.0))
    other.load_state_dict(plain.state_dict(), strict=False)
    assert not torch.equal(other(images), plain.eval()(images))


def test_the_attention_options_reach_every_block() -> None:
    chosen = nets.build("arl_unet", depth=14, attention="channel", alpha=0.5, train_alpha=False)
    alphas = {k: p for k, p in chosen.named_parameters() if k.endswith("alpha")}
    assert len(alphas) == sum(DEPTHS[14][1][:3])
    assert all(p.item() == 0.5 and not p.requires_grad for p in alphas.values())
    images, spatial = pictures(1, 3, 32, 32), nets.build("arl_unet", depth=14, alpha=0.5)
    spatial.load_state_dict(chosen.state_dict())
    assert not torch.equal(chosen.eval()(images), spatial.eval()(images))


def test_the_courseworks_arl_unet_has_19_million_parameters() -> None:
    """Counted by hand; its code printed 19.07 M."""
    encoder = 11_176_512 + 8  # a ResNet-18 without head, and an alpha for each of its blocks
    decoder, below = 0, 512
    for skip, out in zip((256, 128, 64, 64), (512, 256, 128, 64), strict=True):
        decoder += 4 * below * (below // 2) + below // 2  # the 2x2 convolution and its bias
        decoder += 9 * ((below // 2 + skip) * out + out * out) + 4 * out  # two BN of 2 out
        below = out
    built = empty("deep_arl_unet")
    assert count(built) == encoder + decoder + 9 * 64 + 1
    assert count(empty("deep_arl_unet", num_classes=2)) == 19_067_018  # its two logits
    assert built.encoder.maps(torch.empty(1, 3, 64, 96, device="meta"))[-1].shape[2:] == (2, 3)
    enlarging = [m for m in built.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [layer.stride for layer in enlarging] == [(2, 2)] * 4
    plain, ours = ResNet(18), nets.build("deep_arl_unet", alpha=0.0)
    state = {k: v for k, v in ours.encoder.state_dict().items() if not k.endswith("alpha")}
    missing = plain.load_state_dict(state, strict=False).missing_keys
    assert missing == ["fc.weight", "fc.bias"]
    images = pictures(2, 3, 64, 96)
    maps = settled(ours).encoder.maps(ours.normalise(images))
    expected = plain.eval().load_state_dict(ours.encoder.state_dict(), strict=False)
    assert expected.unexpected_keys == [k for k in ours.encoder.state_dict() if "alpha" in k]
    for one, other in zip(maps, plain.features(images), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("family", ["res_unet", "arl_unet"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_every_depth(family: str, depth: int) -> None:
    built = empty(family, depth=depth)
    assert built(torch.empty(2, 3, 32, 48, device="meta")).shape == (2, 1, 32, 48)
    kind, counts = DEPTHS[depth]
    blocks = [module for module in built.encoder.modules() if isinstance(module, kind)]
    assert len(blocks) == sum(counts[:3])
    assert not [key for key in built.state_dict() if "layer4" in key or "fc." in key]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_its_neighbours(name: str) -> None:
    exact, images = deepcopy(network(name)).double(), pictures(3, 3, 32, 48)
    with torch.no_grad():
        together = exact(images)
        alone = torch.cat([exact(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_channels_last_and_bfloat16(name: str) -> None:
    moved, images = deepcopy(network(name)), pictures(2, 3, 64, 37)
    orders = []
    with torch.no_grad():
        expected = moved(images)
        moved.to(memory_format=torch.channels_last)
        moved.decoder.register_forward_hook(
            lambda _layer, _inputs, x: orders.append(
                x.is_contiguous(memory_format=torch.channels_last)
            )
        )
        images = images.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(moved(images), expected, rtol=1e-3, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            coarse = moved(images)
    assert orders == [True, True]
    assert coarse.dtype == torch.bfloat16
    # With random weights, seven blocks more magnify the rounding.
    most = 0.2 if name in ("lite1_unet", "lite2_unet") else 0.1
    assert (coarse - expected).abs().mean() < most * expected.std()
