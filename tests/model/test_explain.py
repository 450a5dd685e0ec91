"""What a classifier looked at: sums by hand, the papers' theorems, squares to be found."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import nets
from utils.model import explain, probe
from utils.model.explain import attention_maps, attention_use, class_activation_maps, grad_cam

NAMES = ["resnet18", "arl14", "arl18", "lite0", "arl_lite0"]
ARL = [name for name in NAMES if "arl" in name]
# Another map than the last one, and how each family ends.
MIDDLE = {name: "blocks.4" if "lite" in name else "layer3" for name in NAMES}


def pictures(count: int, height: int = 64, width: int = 96, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def build(name: str, num_classes: int = 3, **options: object) -> nn.Module:
    """A network whose logits and maps differ from image to image, as those of a trained one do."""
    torch.manual_seed(0)
    network = nets.build(name, num_classes=num_classes, **options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # average over what follows
    with torch.no_grad():
        network(pictures(4, seed=1))
        for parameter in (last_linear(network).weight, last_linear(network).bias):
            parameter.normal_()
    return network.eval()


def last_linear(network: nn.Module) -> nn.Linear:
    return network.classifier if hasattr(network, "classifier") else network.fc


def last_map(network: nn.Module, images: Tensor) -> Tensor:
    maps = network.features(images)[-1]
    return network.bn2(network.conv_head(maps)) if hasattr(network, "conv_head") else maps


class Tiny(nn.Module):
    """Two convolutions, ReLU in place, mean over all positions, one linear layer."""

    def __init__(self, classes: int = 2, pool: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 5, stride=2, padding=2)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(8, 8, 5, stride=2, padding=2)
        self.relu2 = nn.ReLU(inplace=True)
        self.pool = pool or nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu1(self.conv1(images.float() / 255))
        x = self.pool(self.relu2(self.conv2(x)))
        return self.fc(x.flatten(1))


# Class activation maps


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_classes", [1, 3])
def test_the_mean_of_a_map_plus_the_bias_is_the_logit(name: str, num_classes: int) -> None:
    network, images = build(name, num_classes), pictures(3)
    logits = network(images).detach().numpy()
    bias = last_linear(network).bias.detach().numpy()
    for number in range(num_classes):
        maps = class_activation_maps(network, images, number)
        assert maps.shape == (3, 2, 3)
        assert maps.dtype == np.float32
        assert maps.std((1, 2)).min() > 0.01  # they say where
        np.testing.assert_allclose(
            maps.mean((1, 2)) + bias[number], logits[:, number], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_last_layer_makes_the_logits_of_pooled_features(name: str) -> None:
    network, images = build(name, 3), pictures(3)
    pooled = explain.pooled_features(network, images)
    logits = last_linear(network)(torch.from_numpy(pooled)).detach()
    np.testing.assert_allclose(logits, network(images).detach(), rtol=1e-4, atol=1e-4)


class U(nn.Module):
    """Down to a third of the side and up again, with a gate of one position on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.gate = nn.Conv2d(3, 4, 3, stride=3), nn.AdaptiveAvgPool2d(1)
        self.bottom = nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU())
        self.up = nn.Sequential(nn.Upsample(scale_factor=3), nn.Conv2d(6, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        small = self.down(images.float())
        return self.up(self.bottom(small * self.gate(small).sigmoid()))


def test_the_features_of_a_segmenter_are_the_means_of_its_smallest_map() -> None:
    torch.manual_seed(0)
    network, images = U(), pictures(20)[..., :30, :24]  # more than a portion
    small = network.down(images.float())
    bottom = network.bottom(small * small.mean((2, 3), keepdim=True).sigmoid())
    found = explain.bottom_features(network, images)
    np.testing.assert_allclose(found, bottom.detach().numpy().mean((2, 3)), rtol=1e-5)
    flat = nn.Sequential(Scaled(), nn.Linear(2160, 1))
    with pytest.raises(explain.NoMapError, match=r"Sequential has no part that gives a map"):
        explain.bottom_features(flat, images)


class Scaled(nn.Module):
    """Numbers instead of bytes, without positions."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().flatten(1)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_is_the_weighted_sum_of_the_last_channels(name: str) -> None:
    network, images, classes = build(name), pictures(3), [2, 0, 1]
    with torch.no_grad():
        expected = [
            sum(
                w * channel for w, channel in zip(last_linear(network).weight[c], maps, strict=True)
            )
            for c, maps in zip(classes, last_map(network, images), strict=True)
        ]
    found = class_activation_maps(network, images, classes)
    np.testing.assert_allclose(found, torch.stack(expected).numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "kind", [lambda c: c, np.array, torch.tensor, lambda c: np.array(c, np.int32)]
)
def test_classes_come_as_list_array_or_tensor(kind: Callable) -> None:
    network, images = Tiny(), pictures(2)
    each = [class_activation_maps(network, images[i : i + 1], i)[0] for i in (0, 1)]
    found = class_activation_maps(network, images, kind([0, 1]))
    np.testing.assert_allclose(found, each, rtol=1e-5, atol=1e-6)


def test_a_single_logit_has_an_opposite() -> None:
    network, images = build("arl14", 1), pictures(2)
    melanoma, opposite = (class_activation_maps(network, images, number) for number in (0, 1))
    np.testing.assert_array_equal(opposite, -melanoma)
    positions = melanoma[0].size
    for number, evidence in enumerate((melanoma, opposite)):
        cam = grad_cam(network, images, number)
        np.testing.assert_allclose(cam, evidence.clip(0) / positions, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"got classes \[2\], expected numbers from 0 to 1"):
        class_activation_maps(network, images, 2)


# Grad-CAM


def grad_cam_by_hand(network: nn.Module, images: Tensor, number: int, layer: str | None) -> Tensor:
    """One image at a time, with torch.autograd: equations 1 and 2 of the paper."""
    results, kept = [], []
    for image in images.split(1):
        if layer is None:
            maps = last_map(network, image)
            logits = last_linear(network)(maps.mean((2, 3)))
        else:
            hook = network.get_submodule(layer).register_forward_hook(
                lambda *call: kept.append(call[2])
            )
            logits = network(image)
            hook.remove()
            maps = kept[-1]
        (gradient,) = torch.autograd.grad(logits[0, number], maps)
        weight = gradient.mean((2, 3), keepdim=True)
        results.append(functional.relu((weight * maps).sum(1)))
    return torch.cat(results).detach()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["last", "middle"])
def test_grad_cam_is_the_papers_formula(name: str, where: str) -> None:
    # float64: in float32, rounding that depends on the batch opens or shuts a ReLU here and there,
    # and moves a map by a hundredth.
    network, images = build(name).double(), pictures(3)
    layer = None if where == "last" else MIDDLE[name]
    for number in range(3):
        expected = grad_cam_by_hand(network, images, number, layer).numpy()
        found = grad_cam(network, images, number, layer)
        assert found.dtype == np.float32
        assert found.shape == ((3, 2, 3) if where == "last" else (3, 4, 6))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_at_the_last_map_grad_cam_is_the_positive_part_of_the_activation_map(name: str) -> None:
    network, images, classes = build(name), pictures(4), [0, 1, 2, 0]
    evidence = class_activation_maps(network, images, classes)
    assert (evidence < 0).any()
    assert (evidence > 0).any()
    expected = evidence.clip(0) / evidence[0].size
    found = grad_cam(network, images, classes)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_a_relu_in_place_before_the_pooling_does_not_mislead() -> None:
    torch.manual_seed(0)
    network, images = Tiny(), pictures(4)
    evidence = class_activation_maps(network, images, 1)
    expected = evidence.clip(0) / evidence[0].size
    np.testing.assert_allclose(grad_cam(network, images, 1), expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("layer", ["conv2", "relu2"])
def test_a_relu_in_place_changes_no_map_of_the_layer_before_it(layer: str) -> None:
    torch.manual_seed(0)
    network, images = Tiny(), pictures(2)
    x = functional.relu(network.conv1(images.float() / 255))
    before = network.conv2(x)
    maps = {"conv2": before, "relu2": functional.relu(before)}
    logits = network.fc(maps["relu2"].mean((2, 3)))
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), maps[layer])
    expected = functional.relu((gradient.mean((2, 3), keepdim=True) * maps[layer]).sum(1))
    found = grad_cam(network, images, 1, layer)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-4, atol=1e-7)


# Attention


def attention_by_hand(network: nn.Module, images: Tensor, kind: str) -> dict[str, np.ndarray]:
    """A second pass of each block's branch, and the softmax written out in float64."""
    inputs = {}
    blocks = {key.removesuffix(".alpha") for key, _ in network.named_parameters() if "alpha" in key}
    for name in blocks:
        network.get_submodule(name).register_forward_pre_hook(
            lambda _, arguments, name=name: inputs.update({name: arguments[0]})
        )
    network(images)
    expected = {}
    for name, x in inputs.items():
        branch = network.get_submodule(name).branch(x).detach().double().numpy()
        axes = (2, 3) if kind == "spatial" else (1,)
        weights = np.exp(branch - branch.max(axes, keepdims=True))
        weights /= weights.sum(axes, keepdims=True)
        _, channels, height, width = weights.shape
        expected[name] = (
            weights.mean(1) * height * width if kind == "spatial" else weights.max(1) * channels
        )
    return expected


@pytest.mark.parametrize("name", ARL)
@pytest.mark.parametrize("kind", ["spatial", "channel"])
def test_attention_maps_are_those_of_the_blocks(name: str, kind: str) -> None:
    network, images = build(name, attention=kind), pictures(3)
    found = attention_maps(network, images)
    expected = attention_by_hand(network, images, kind)
    assert list(found) == [
        key.removesuffix(".alpha") for key, _ in network.named_parameters() if "alpha" in key
    ]
    for block, maps in found.items():
        assert maps.dtype == np.float32
        np.testing.assert_allclose(maps, expected[block], rtol=1e-3, err_msg=block)
        assert maps.std() > 1e-3, block
        if kind == "spatial":
            np.testing.assert_allclose(maps.mean((1, 2)), 1, rtol=1e-4)


@pytest.mark.parametrize("kind", ["spatial", "channel"])
def test_one_stands_for_uniform_attention(kind: str) -> None:
    network = build("arl14", attention=kind)
    for stage in (network.layer1, network.layer4):
        nn.init.zeros_(stage[0].bn3.weight)  # O no longer depends on the position
        nn.init.zeros_(stage[0].bn3.bias)  # … nor on the channel
    found = attention_maps(network, pictures(2))
    np.testing.assert_allclose(found["layer1.0"], 1, rtol=1e-5)
    np.testing.assert_allclose(found["layer4.0"], 1, rtol=1e-5)
    assert found["layer2.0"].max() > 1.1


class OneBlock(nn.Module):
    """Nothing but an ARL block whose branch gives 0, so that attention is uniform."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.block = nets.arl.ARLBasicBlock(3, 3, alpha=alpha)
        self.block.branch = lambda x: 0 * x

    def forward(self, images: Tensor) -> Tensor:
        return self.block(images.float())


def test_the_use_of_attention_by_hand() -> None:
    # R(O) is 1/4 everywhere, so that α R(O) x is x times α/4.
    found = attention_use(OneBlock(-0.6), pictures(20, 2, 2))
    assert found.index.tolist() == ["block"]
    assert found.loc["block", "α"] == pytest.approx(-0.6)
    assert found.loc["block", "|α R(O) x| / |x|"] == pytest.approx(0.15)
    # Twice as many positions: the same α is used half as much.
    found = attention_use(OneBlock(-0.6), pictures(20, 2, 4))
    assert found.loc["block", "|α R(O) x| / |x|"] == pytest.approx(0.075)
    assert attention_use(OneBlock(0.0), pictures(1)).loc["block"].tolist() == [0, 0]


def test_attention_costs_one_forward_pass() -> None:
    network, calls = build("arl14"), []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *call: calls.append(call[0]))
    attention_maps(network, pictures(3))
    assert len(calls) == len(set(calls)) == sum(isinstance(m, nn.Conv2d) for m in network.modules())


def test_a_network_without_attention_gives_no_maps() -> None:
    assert attention_maps(build("lite0"), pictures(1)) == {}
    assert attention_use(build("lite0"), pictures(1)).empty


def test_an_attention_that_is_no_softmax_is_refused() -> None:
    network = build("arl14")
    network.layer2[0].attention = lambda branch: branch.sigmoid()
    before = state(network)
    with pytest.raises(ValueError, match=r"block layer2\.0 that sum to 1 neither"):
        attention_maps(network, pictures(1))
    assert state(network) == before


def test_shown_blocks_are_the_last_of_the_last_stages() -> None:
    arl50 = [f"layer{s}.{b}" for s, count in enumerate((3, 4, 6, 3), 1) for b in range(count)]
    assert explain.shown_blocks(arl50) == ["layer1.2", "layer2.3", "layer3.5", "layer4.2"]
    assert explain.shown_blocks(arl50, most=2) == ["layer3.5", "layer4.2"]
    lite = list(attention_maps(build("arl_lite0"), pictures(1, 32, 32)))
    assert len(lite) == 9
    assert explain.shown_blocks(lite) == ["blocks.2.1", "blocks.3.2", "blocks.4.2", "blocks.5.3"]
    assert explain.shown_blocks([]) == []


# What is found


@pytest.fixture(scope="module")
def square_finder() -> Tiny:
    """Trained on images of one square: class 0 if it is red, class 1 if it is green."""
    torch.manual_seed(0)
    network, rng = Tiny(), np.random.default_rng(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        labels = rng.integers(2, size=32)
        images, _ = squares([[label] for label in labels], rng)
        loss = functional.cross_entropy(network(images), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    return network


def squares(colours: list[list[int]], rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    """Noise with one bright 10 px square for each colour, side by side; and their masks."""
    images = rng.integers(0, 100, (len(colours), 3, 40, 40), dtype=np.uint8)
    masks = np.zeros((len(colours), 2, 40, 40), dtype=bool)
    for image, mask, several in zip(images, masks, colours, strict=True):
        sides = rng.permutation(2)
        for side, colour in zip(sides, several, strict=False):
            top, left = rng.integers(30), 20 * side + rng.integers(10)
            image[colour, top : top + 10, left : left + 10] = 255
            mask[colour, top : top + 10, left : left + 10] = True
    return torch.from_numpy(images), masks


def hits(maps: np.ndarray, masks: np.ndarray) -> float:
    """The share of maps (B, h, w) whose peak lies in the mask (B, H, W)."""
    scale = masks.shape[1] // maps.shape[1]
    centres = masks[:, scale // 2 :: scale, scale // 2 :: scale]
    peaks = maps.reshape(len(maps), -1).argmax(1)
    return float(np.mean(centres.reshape(len(maps), -1)[np.arange(len(maps)), peaks]))


@pytest.mark.parametrize("method", [class_activation_maps, grad_cam])
def test_of_two_squares_the_one_that_decides_is_found(
    method: Callable, square_finder: Tiny
) -> None:
    images, masks = squares([[0, 1]] * 40, np.random.default_rng(1))
    for number in (0, 1):
        maps = method(square_finder, images, number)
        assert hits(maps, masks[:, number]) > 0.95
        assert hits(maps, masks[:, 1 - number]) < 0.05
        torch.manual_seed(0)
        assert hits(method(Tiny(), images, number), masks[:, number]) < 0.6  # before training


# Left as found

METHODS = {
    "cam": lambda network, images: class_activation_maps(network, images, 1),
    "grad_cam": lambda network, images: grad_cam(network, images, 1),
    "grad_cam of a layer": lambda network, images: grad_cam(network, images, 1, "layer3"),
    "attention": lambda network, images: np.stack(
        [maps.mean((1, 2)) * maps.max((1, 2)) for maps in attention_maps(network, images).values()]
    ),
    "use": lambda network, images: attention_use(network, images).to_numpy(),
}
each_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def state(network: nn.Module) -> dict[str, object]:
    """All that a look inside must not change."""
    return {
        "modes": [module.training for module in network.modules()],
        "hooks": [
            len(module._forward_hooks) + len(module._forward_pre_hooks)
            for module in network.modules()
        ],
        "replaced": [{"branch", "attend", "attention"} & vars(m).keys() for m in network.modules()],
        "requires_grad": [parameter.requires_grad for parameter in network.parameters()],
        "grad": [None if p.grad is None else p.grad.sum().item() for p in network.parameters()],
        "values": [value.double().sum().item() for value in network.state_dict().values()],
    }


@each_method
def test_a_network_in_training_is_left_as_it_was(method: Callable) -> None:
    network, images = build("arl14"), pictures(2)
    expected = method(network, images)
    network.train()
    network.layer1.eval()  # a frozen stage stays frozen
    network.conv1.weight.requires_grad_(False)
    functional.cross_entropy(network(images), torch.tensor([0, 1])).backward()
    network.load_state_dict(build("arl14").state_dict())
    before = state(network)
    np.testing.assert_allclose(method(network, images), expected, rtol=1e-5)
    assert state(network) == before
    assert torch.is_grad_enabled()


@each_method
def test_an_error_in_the_middle_leaves_nothing_behind(method: Callable) -> None:
    network = build("arl14").train()
    before = state(network)

    def fail(_: Tensor) -> Tensor:
        raise RuntimeError("out of memory")

    network.layer4.forward = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        method(network, pictures(2))
    assert state(network) == before


@each_method
@pytest.mark.parametrize(
    "mode",
    [torch.inference_mode, torch.no_grad, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["inference", "no_grad", "autocast"],
)
def test_the_caller_may_be_in_any_mode(method: Callable, mode: Callable) -> None:
    network, images = build("arl14"), pictures(2)
    expected = method(network, images)
    with mode():
        found = method(network, images.clone())
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@each_method
@pytest.mark.parametrize("how", ["frozen", "channels_last"])
def test_the_network_may_be_in_any_state(method: Callable, how: str) -> None:
    network, images = build("arl14").double(), pictures(2)
    expected = method(network, images)
    if how == "frozen":
        network.requires_grad_(False)
    else:
        network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(method(network, images), expected, rtol=1e-5, atol=1e-7)


@each_method
@pytest.mark.parametrize("how", ["in place", "wrapped"])
def test_a_compiled_network_is_looked_into_uncompiled(method: Callable, how: str) -> None:
    network, images = build("arl14"), pictures(2)
    expected = method(network, images)
    if how == "in place":
        network.compile(backend="eager")
    else:
        network = torch.compile(network, backend="eager")
    with torch.no_grad():
        network(images)  # compiled now: hooks that come later are not in it
    np.testing.assert_allclose(method(network, images), expected, rtol=1e-5)


def test_the_blocks_of_a_compiled_network_keep_their_names() -> None:
    network = torch.compile(build("arl14"), backend="eager")
    names = ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]
    assert list(attention_maps(network, pictures(1))) == names


@each_method
def test_any_number_of_images_runs_in_portions(
    method: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "CHUNK", 2)
    network, images, sizes = build("arl14").double(), pictures(5), []
    network.conv1.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    found = method(network, images)
    assert max(sizes) == 2
    monkeypatch.setattr(probe, "CHUNK", 16)
    np.testing.assert_allclose(found, method(network, images), rtol=1e-5, atol=1e-7)
    assert max(sizes) == 5


@each_method
@pytest.mark.gpu
def test_a_network_on_a_gpu_gives_the_same(method: Callable) -> None:
    network, images = build("arl14").double(), pictures(3)
    expected = method(network, images)
    found = method(network.cuda(), images)  # images wherever they are
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


# Drawing


def test_normalised_maps_run_from_0_to_1() -> None:
    maps = np.array([[[-2, 0], [2, 6]], [[5, 5], [5, 5]], [[0, 0], [0, 0]]], dtype=np.float32)
    found = explain.normalised(maps)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], [[0, 0.25], [0.5, 1]])
    np.testing.assert_array_equal(found[1:], 0)
    np.testing.assert_array_equal(explain.normalised(maps[0]), found[0])  # a single map


def test_rounding_is_not_drawn_as_a_finding() -> None:
    nearly = np.float32(1) + np.float32(1e-6) * np.arange(4, dtype=np.float32).reshape(2, 2)
    assert nearly.std() > 0
    np.testing.assert_array_equal(explain.normalised(nearly), 0)
    small = 1e-12 * np.arange(4).reshape(2, 2)  # small numbers that differ are no rounding
    np.testing.assert_allclose(explain.normalised(small), np.arange(4).reshape(2, 2) / 3, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"nan or inf.*training may have diverged"):
        explain.normalised(np.array([[0, value]]))


# What does not fit


@each_method
def test_images_that_do_not_fit_are_refused(method: Callable) -> None:
    network, images = build("arl14"), pictures(2)
    for wrong, message in (
        (images / 255, r"torch\.float32, expected a torch tensor of uint8"),
        (images.numpy(), r"uint8, expected a torch tensor"),
        ([[0]], r"type list, expected a torch tensor"),
    ):
        with pytest.raises(TypeError, match=message):
            method(network, wrong)
    for wrong, message in (
        (images[0], r"\(3, 64, 96\), expected \(B, 3, H, W\).*batch dimension"),
        (images.movedim(1, -1), r"\(2, 64, 96, 3\), expected .*movedim\(-1, 1\)"),
        (images[:0], r"\(0, 3, 64, 96\), expected .*B at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            method(network, wrong)


@pytest.mark.parametrize("method", [class_activation_maps, grad_cam])
def test_classes_that_do_not_fit_are_refused(method: Callable) -> None:
    network, images = Tiny(classes=3), pictures(2)
    for wrong, message in (
        ([0, 3], r"got classes \[0, 3\], expected numbers from 0 to 2"),
        (-1, r"got classes \[-1\], expected numbers from 0 to 2"),
        ([0, 1, 2], r"classes of shape \(3,\) for 2 images, expected .* \(2,\)"),
        ([[0, 1]], r"classes of shape \(1, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            method(network, images, wrong)
    for wrong in (0.5, [True, False], ["melanoma"] * 2):
        with pytest.raises(TypeError, match=r"got classes of type .* use integers"):
            method(network, images, wrong)


@pytest.mark.parametrize("method", [class_activation_maps, grad_cam])
@pytest.mark.parametrize(
    ("network", "found"),
    [
        (nn.Sequential(nn.Conv2d(3, 2, 3)), "has no linear layer"),
        (nn.Sequential(Tiny(), nn.Softmax(1)), "last linear layer does not give its output"),
        (Tiny(pool=nn.AdaptiveMaxPool2d(1)), "takes the mean over a map's positions"),
        (nn.Sequential(Tiny(), nn.Linear(2, 2)), "takes the mean over a map's positions"),
    ],
    ids=["no linear", "softmax", "maximum", "hidden layer"],
)
def test_a_network_that_ends_otherwise_is_refused(
    method: Callable, network: nn.Module, found: str
) -> None:
    if isinstance(network[0] if isinstance(network, nn.Sequential) else network, nn.Conv2d):
        network.insert(0, AsFloat())
    with pytest.raises(ValueError, match=f"{found}; expected .* pooling layer .*name a layer"):
        method(network, pictures(2), 0)


class AsFloat(nn.Module):
    """uint8 0…255 to float 0…1."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float() / 255


def test_grad_cam_with_a_layer_needs_no_special_ending() -> None:
    network, images = Tiny(pool=nn.AdaptiveMaxPool2d(1)), pictures(2)
    assert grad_cam(network, images, 1, "conv2").shape == (2, 16, 24)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("layer5", r"got layer 'layer5', expected .* one of conv1, relu1, conv2, relu2, pool, fc"),
        ("fc", r"got layer 'fc', which gives no map"),
        ("", r"got layer '', which gives no map"),
    ],
)
def test_a_layer_that_does_not_fit_is_refused(layer: str, message: str) -> None:
    network = Tiny()
    with pytest.raises(ValueError, match=message):
        grad_cam(network, pictures(1), 0, layer)
    assert not network.fc._forward_hooks


def test_a_layer_that_is_never_called_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got layer 'blocks', which gives no map"):
        grad_cam(build("lite0"), pictures(1), 0, "blocks")  # its stages are called one by one
