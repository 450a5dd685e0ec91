"""The networks: countable facts, then torchvision and hand-written formulas as referees."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from math import ceil, log

import numpy as np
import pytest
import timm
import torch
import torchvision
from networks import count, empty, network, pictures, settled
from torch import Tensor, nn
from torch.nn import functional

import nets
from nets.arl import ATTENTIONS, ARLBasicBlock, ARLBottleneck, AttendOnCPU, Attention
from nets.lite import ARLInvertedResidual, from_timm
from nets.normalise import IMAGENET, Normalise
from nets.resnet import DEPTHS

ARL = [name for name in nets.CLASSIFIERS if "arl" in name]
SMALL = ["resnet14", "resnet18", "arl14", "arl18", "lite0", "arl_lite0"]
# The deepest take most of the time and add no kind of block.
DEEP = ("34", "101", "152")


def slow_if_deep(names: list[str]) -> list:
    return [
        pytest.param(name, marks=pytest.mark.slow) if name.endswith(DEEP) else name
        for name in names
    ]


def alphas(network: nn.Module) -> dict[str, nn.Parameter]:
    return {k: p for k, p in network.named_parameters() if k.endswith("alpha")}


@pytest.mark.parametrize(
    ("name", "millions"), [("arl14", 8.02), ("arl50", 23.51), ("resnet14", 8.02)]
)
def test_published_parameter_counts(name: str, millions: float) -> None:
    assert round(count(empty(name, 3)) / 1e6, 2) == millions


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_names_and_shapes_are_torchvisions(depth: int) -> None:
    ours = empty(f"resnet{depth}", 1000).state_dict()
    with torch.device("meta"):
        theirs = torchvision.models.get_model(f"resnet{depth}").state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    added = empty(f"arl{depth}", 1000).state_dict().keys() - ours.keys()
    assert all(key.endswith(".alpha") for key in added)
    assert len(added) == sum(DEPTHS[depth][1])


@pytest.mark.parametrize("depth", [18, 50])
def test_the_same_seed_starts_from_torchvisions_weights(depth: int) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(f"resnet{depth}", num_classes=3).state_dict()
    for family in ("resnet", "arl"):
        torch.manual_seed(0)
        ours = nets.build(f"{family}{depth}").state_dict()
        assert all(torch.equal(ours[key], value) for key, value in theirs.items())


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_float32_sum_keeps_the_term_that_bf16_rounds_away(attention: str) -> None:
    torch.manual_seed(0)
    branch, identity = torch.randn(2, 2, 16, 14, 14).bfloat16()
    sums = []
    for alpha in (0.0, 0.001):
        kinds = {"attention": attention, "alpha": alpha}
        block = ARLBasicBlock(16, 16, **kinds)
        sums.append(block.attend(branch, identity))
        block.float32_sum = False
        sums.append(block.attend(branch, identity))
    plain, plain_bf16, ours, ours_bf16 = sums
    assert torch.equal(plain, branch.float() + identity.float())
    assert (ours != plain).float().mean() > 0.5
    assert (ours_bf16 != plain_bf16).float().mean() < 0.05
    assert ours_bf16.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["arl18", "arl_lite0", "arl_unet"])
def test_a_float32_sum_changes_nothing_in_fp32(name: str) -> None:
    torch.manual_seed(0)
    plain = nets.build(name, float32_sum=False).eval()
    summed = nets.build(name).eval()
    summed.load_state_dict(plain.state_dict())
    images = pictures(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(summed(images), plain(images))
        with torch.autocast("cpu", torch.bfloat16):
            assert not torch.equal(summed(images), plain(images))


@pytest.mark.parametrize("name", slow_if_deep(ARL))
def test_alpha_zero_is_the_plain_network_exactly(name: str) -> None:
    plain = settled(nets.build(name.replace("arl_", "").replace("arl", "resnet")))
    arl = nets.build(name, alpha=0.0).eval()
    arl.load_state_dict(plain.state_dict(), strict=False)
    images = pictures(2, 3, 48, 48)
    assert torch.equal(arl(images), plain(images))
    plain.train(), arl.train()
    for ours, theirs in zip(arl.features(images), plain.features(images), strict=True):
        assert torch.equal(ours, theirs)


def test_alpha_zero_is_exact_in_bfloat16_and_channels_last() -> None:
    plain, arl = nets.build("resnet18"), nets.build("arl18", alpha=0.0, float32_sum=False)
    arl.load_state_dict(plain.state_dict(), strict=False)
    images = pictures(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = [net.to(memory_format=torch.channels_last)(images) for net in (plain, arl)]
    assert outputs[0].dtype == outputs[1].dtype == torch.bfloat16
    assert torch.equal(*outputs)


@pytest.mark.parametrize("name", slow_if_deep(ARL))
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_gradients_reach_every_alpha(name: str, attention: str) -> None:
    network = nets.build(name, attention=attention)
    blocks = [m for m in network.modules() if isinstance(m, Attention)]
    labels = torch.tensor([0, 1])
    functional.cross_entropy(network(pictures(2, 3, 64, 64)), labels).backward()
    assert len(alphas(network)) == len(blocks) > 0
    for key, alpha in alphas(network).items():
        assert alpha.shape == (), key
        assert alpha.item() == pytest.approx(0.001)
        assert torch.isfinite(alpha.grad), key
        assert alpha.grad != 0, key


@pytest.mark.parametrize("name", ["arl18", "arl_lite0"])
def test_a_frozen_alpha_stays(name: str) -> None:
    network = nets.build(name, alpha=0.0, train_alpha=False)
    network(pictures(2, 3, 64, 64)).sum().backward()
    without = [key for key, p in network.named_parameters() if p.grad is None]
    assert without == list(alphas(network))


def reference(block: Attention, x: Tensor, axes: tuple[int, ...], relu: bool) -> Tensor:
    """The block's formula with a softmax written out."""
    branch, identity = block.branch(x), block.shortcut(x)
    weights = branch.exp() / branch.exp().sum(axes, keepdim=True)
    total = branch + identity + block.alpha * weights * identity
    return total.clamp(min=0) if relu else total


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("attention", "axes"), [("spatial", (2, 3)), ("channel", (1,))])
def test_blocks_against_the_formula(
    attention: str, axes: tuple[int, ...], memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    options = {"attention": attention, "alpha": 0.7}
    lite = nets.build("arl_lite0", **options).blocks[2][1]
    blocks = [
        ARLBasicBlock(40, 24, 2, **options),
        ARLBasicBlock(40, 40, 1, **options),
        ARLBottleneck(40, 10, 1, **options),
        ARLBottleneck(40, 24, 2, **options),
        lite,
    ]
    for block in blocks:
        block = block.double().to(memory_format=memory_format)
        x = torch.randn(2, 40, 9, 6, dtype=torch.float64).contiguous(memory_format=memory_format)
        x.requires_grad_()
        expected = reference(block, x, axes, relu=not isinstance(block, ARLInvertedResidual))
        output = block(x)
        torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
        assert output.is_contiguous(memory_format=memory_format)
        for found, wanted in zip(
            torch.autograd.grad(output.square().sum(), [block.alpha, x]),
            torch.autograd.grad(expected.square().sum(), [block.alpha, x]),
            strict=True,
        ):
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("attention", ATTENTIONS.values())
def test_the_written_out_derivative(attention, memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 2, 3, 5, 4, dtype=torch.float64)
    branch, identity = (m.contiguous(memory_format=memory_format).requires_grad_() for m in maps)
    for alpha in (0.0, 0.7):
        start = torch.tensor(alpha, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda *inputs: AttendOnCPU.apply(*inputs, attention), (branch, identity, start)
        )


def test_compiled_is_eager() -> None:
    """The compiler gets the plain formula, eager mode the derivative written out."""
    torch.manual_seed(0)
    block, x = ARLBasicBlock(8, 8, alpha=0.7).double(), torch.randn(2, 8, 6, 5).double()
    compiled = torch.compile(block, backend="aot_eager")
    found, wanted = (
        torch.autograd.grad(net(x).square().sum(), list(block.parameters()))
        for net in (compiled, block)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_softmaxes_by_hand() -> None:
    maps = torch.zeros(1, 2, 1, 3)
    maps[0, 0, 0, 0] = torch.tensor(2.0).log()  # e^x = 2 against 1 and 1
    expected = [[[[0.5, 0.25, 0.25]], [[1 / 3, 1 / 3, 1 / 3]]]]
    torch.testing.assert_close(ATTENTIONS["spatial"](maps), torch.tensor(expected))
    expected = [[[[2 / 3, 0.5, 0.5]], [[1 / 3, 0.5, 0.5]]]]
    torch.testing.assert_close(ATTENTIONS["channel"](maps), torch.tensor(expected))


def test_channel_softmax_is_softmax2d() -> None:
    maps = torch.randn(2, 5, 4, 3)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        found = ATTENTIONS["channel"](maps.contiguous(memory_format=memory_format))
        torch.testing.assert_close(found, nn.Softmax2d()(maps))


@pytest.mark.parametrize("name", [*SMALL, *nets.SEGMENTERS])
def test_bytes_and_floats_give_the_same(name: str) -> None:
    images = pictures(2, 3, 48, 64)
    with torch.no_grad():
        assert torch.equal(network(name)(images), network(name)(images.float() / 255))


def test_normalise_against_torchvision() -> None:
    images = pictures(2, 3, 5, 4).contiguous(memory_format=torch.channels_last)
    theirs = torchvision.transforms.functional.normalize(images / 255, *IMAGENET)
    ours = Normalise(*IMAGENET)(images)
    torch.testing.assert_close(ours, theirs)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert not Normalise(*IMAGENET).state_dict()


def test_normalise_has_the_networks_type() -> None:
    for dtype in (torch.bfloat16, torch.float64):
        normalise = Normalise(*IMAGENET).to(dtype)
        assert normalise(pictures(1, 3, 4, 4)).dtype == dtype
        assert normalise(torch.rand(1, 3, 4, 4)).dtype == dtype


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (3, 8, 8), (8, 8, 3)])
def test_normalise_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"got images of shape .* expected \(B, 3, H, W\)"):
        Normalise(*IMAGENET)(torch.rand(shape))


def test_normalise_refuses_other_types() -> None:
    with pytest.raises(TypeError, match=r"got images of type torch\.int64, expected uint8"):
        Normalise(*IMAGENET)(torch.ones(1, 3, 8, 8, dtype=torch.int64))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(64, 64), (65, 97), (33, 70)])
def test_features_have_strides_2_to_32_for_any_size(name: str, size: tuple[int, int]) -> None:
    classifier, images = empty(name), torch.empty(2, 3, *size, device="meta")
    maps = classifier.features(images)
    assert tuple(m.shape[1] for m in maps) == classifier.feature_channels
    for stride, found in zip((2, 4, 8, 16, 32), maps, strict=True):
        assert found.shape[2:] == tuple(ceil(side / stride) for side in size)
    assert classifier(images).shape == (2, 3)


@pytest.mark.parametrize("name", [*SMALL, *nets.SEGMENTERS])
def test_hooks_see_what_a_layer_gave(name: str) -> None:
    """No later layer may overwrite a map in place: Grad-CAM would read rubbish, or raise."""
    watched, kept = deepcopy(network(name)), []

    def keep(_layer: nn.Module, _inputs: tuple, output: Tensor) -> None:
        kept.append((output, output.detach().clone()))

    for module in watched.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Conv2d | Attention):
            module.register_forward_hook(keep)
            module.register_full_backward_hook(lambda *_: None)
    watched(torch.rand(1, 3, 64, 64, requires_grad=True)).sum().backward()
    assert len(kept) > 20
    assert all(torch.equal(output, copy) for output, copy in kept)


EXPORTED = ["arl14", "arl_lite0", "res_unet", "lite_unet"]
EXPORTED += [pytest.param(n, marks=pytest.mark.slow) for n in ("unet", "dense_unet", "arl_unet")]


@pytest.mark.parametrize("name", EXPORTED)
def test_exports_with_a_dynamic_batch(name: str) -> None:
    exact = deepcopy(network(name)).double()
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
    program = torch.export.export(exact, (pictures(2, 3, 40, 64),), dynamic_shapes=shapes).module()
    with torch.no_grad():
        for number in (1, 3):
            images = pictures(number, 3, 40, 64, seed=number)
            torch.testing.assert_close(program(images), exact(images), rtol=1e-9, atol=1e-9)


def first_logits(build: Callable[[], nn.Module]) -> list[Tensor]:
    """What three fresh networks answer to their first batch, in training mode."""
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        network = build().train()
        with torch.no_grad():
            found.append(network(pictures(8, 3, 32, 32, seed=seed)))
    return found


def first_loss(build: Callable[[], nn.Module]) -> float:
    """Mean cross-entropy of the first batches, of classes in turn; chance is ln(classes)."""
    losses = []
    for logits in first_logits(build):
        truth = torch.arange(len(logits)) % logits.shape[1]
        losses.append(functional.cross_entropy(logits, truth).item())
    return float(np.mean(losses))


@pytest.mark.parametrize("name", slow_if_deep(list(nets.CLASSIFIERS)))
def test_a_classifier_starts_by_guessing(name: str) -> None:
    """A head that starts with large weights spends its first epochs on forgetting them."""
    assert first_loss(partial(nets.build, name)) <= 1.5 * log(3)


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("name", ["resnet18", "lite0"])
def test_any_number_of_classes_starts_by_guessing(name: str, classes: int) -> None:
    assert first_loss(partial(nets.build, name, classes)) <= 1.5 * log(classes)


@pytest.mark.parametrize("name", nets.SEGMENTERS)
def test_a_segmenter_starts_undecided(name: str) -> None:
    logits = first_logits(partial(nets.build, name))
    assert np.mean([each.abs().mean().item() for each in logits]) <= 1


class Bytes(nn.Module):
    """A network of timm, which takes floats, for the bytes of `pictures`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.float() / 255 * 2 - 1)


# One of each way in which timm starts a head.
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_050", "resnet10t"])
def test_heads_of_timm_start_as_torchs_layers_do(name: str) -> None:
    ours, theirs = (
        lambda: Bytes(from_timm(name, 3)),
        lambda: Bytes(timm.create_model(name, num_classes=3)),
    )
    assert first_loss(ours) <= 1.5 * log(3)
    if name == "tf_efficientnet_lite0":  # the one that was wrong
        assert first_loss(theirs) > 1.5 * log(3)
    torch.manual_seed(0)
    head = from_timm(name, 3).get_classifier()
    assert head.weight.abs().max() <= head.in_features**-0.5


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet19", {}, r"got network 'resnet19', expected one of resnet14, res"),
        ("resnet18", {"alpha": 0}, r"\['alpha'\] for resnet18, which takes: normalise"),
        ("arl_lite0", {"depth": 3}, r"\['depth'\] .* takes: attention, alpha, train_alpha"),
        ("dense_unet", {"depth": 18}, r"\['depth'\] for dense_unet, which takes: none"),
        ("res_unet", {"depth": 17}, r"got depth=17, expected one of 14, 18, 34, 50, 101"),
        ("arl_unet", {"depth": 17}, r"got depth=17, expected one of 14, 18, 34, 50, 101"),
        ("arl18", {"num_classes": 0}, r"got num_classes=0, expected at least 1"),
        ("arl18", {"attention": "position"}, r"'position', expected one of \['spatial', 'c"),
        ("arl_unet", {"attention": "position"}, r"'position', expected one of \['spatial', 'c"),
    ],
)
def test_unknown_names_options_and_counts(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nets.build(name, **options)


@pytest.mark.parametrize("name", slow_if_deep([*nets.CLASSIFIERS, *nets.SEGMENTERS]))
def test_numbers_of_classes(name: str) -> None:
    """A segmenter has one logit a pixel unless told otherwise, a classifier three an image."""
    default, pixels = (1, (64, 32)) if name in nets.SEGMENTERS else (3, ())
    for asked, logits in ((None, default), (1, 1), (3, 3)):
        images = torch.empty(2, 3, 64, 32, device="meta")
        assert empty(name, asked)(images).shape == (2, logits, *pixels)
