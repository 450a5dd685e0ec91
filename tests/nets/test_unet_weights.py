"""A segmenter's pretrained encoder: every tensor of the file is in it, or there is an error."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import networks
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import densenet
from weight_files import save_hashed, torchvision_net

import nets
from nets import WeightsError, loading, weights
from nets.smp_unet import DenseUNet

PRETRAINED = ["dense_unet", "res_unet", "arl_unet", "deep_arl_unet", "lite_unet"]
LITE_HEAD = {"conv_head.weight", "classifier.weight", "classifier.bias"} | {
    f"bn2.{part}"
    for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
}


def old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As in torchvision's densenet121 file: `norm.1`, and from a time before batch counters."""
    state = {key: value for key, value in state.items() if not key.endswith("tracked")}
    return {re.sub(r"\.(norm|conv)([12])\.", r".\1.\2.", key): state[key] for key in state}


def offer(name: str, folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """The ImageNet file of a segmenter's encoder, and its tensors under the encoder's names."""
    if name == "lite_unet":
        path = weights.imagenet("lite0")
        return path, nets.lite.Lite0.translate(torch.load(path, weights_only=True))
    plain = "densenet121" if name == "dense_unet" else "resnet18"
    state = torchvision_net(plain).state_dict()
    return save_hashed(old_names(state) if plain[0] == "d" else state, folder, plain), state


def spare_keys(name: str, state: dict[str, Tensor]) -> set[str]:
    """What the encoder has no place for, found by the names of the parts."""
    unused = {
        "dense_unet": r"features\.(transition3\.conv|denseblock4|norm5)\.|classifier\.",
        "res_unet": r"layer4\.|fc\.",
        "arl_unet": r"layer4\.|fc\.",
        "deep_arl_unet": r"fc\.",
        "lite_unet": r"conv_head\.|bn2\.|classifier\.",
    }
    return {key for key in state if re.match(unused[name], key)}


@pytest.mark.parametrize("name", PRETRAINED)
def test_every_tensor_of_the_imagenet_file_arrives(name: str, model_dir: Path) -> None:
    path, state = offer(name, model_dir)
    network = nets.build(name, weights="imagenet")
    own, spare = network.encoder.state_dict(), spare_keys(name, state)
    for key, value in own.items():
        if not key.endswith((".alpha", "num_batches_tracked")):
            assert torch.equal(value, state[key]), key
    missing, left_out, _ = loading.load(network, path)
    counters = {key for key in own if key.endswith("num_batches_tracked")}
    alphas = {key for key in own if key.endswith(".alpha")}
    assert set(missing) == (counters if name == "dense_unet" else alphas)
    assert len(alphas) == {"arl_unet": 6, "deep_arl_unet": 8}.get(name, 0)
    assert set(left_out) == {key for key in spare if name != "dense_unet" or "tracked" not in key}
    assert own.keys() | spare == state.keys() | alphas
    if name == "lite_unet":
        assert set(left_out) == LITE_HEAD
        assert len(own) == 288


@pytest.mark.parametrize("name", PRETRAINED)
def test_without_weights_nothing_of_the_file_is_there(name: str, model_dir: Path) -> None:
    """`pretrained` once meant the opposite in networks like these."""
    _, state = offer(name, model_dir)
    torch.manual_seed(7)
    loaded = nets.build(name, weights="imagenet")
    torch.manual_seed(7)
    scratch = nets.build(name)
    for key, value in scratch.encoder.state_dict().items():
        if value.ndim == 4:
            assert not torch.equal(value, state[key]), key
    # And only the encoder is loaded: the rest is as the seed made it.
    for part in ("decoder", "head"):
        own, other = getattr(loaded, part).state_dict(), getattr(scratch, part).state_dict()
        assert all(torch.equal(own[key], other[key]) for key in own)


def outputs(network: nn.Module, names: list[str], images: Tensor) -> list[Tensor]:
    """What the parts of that name gave."""
    kept: dict[str, Tensor] = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(
            lambda _layer, _inputs, output, name=name: kept.update({name: output.clone()})
        )
    network(images)
    return [kept[name] for name in names]


@pytest.mark.parametrize("name", ["dense_unet", "res_unet", "arl_unet"])
def test_the_encoder_computes_torchvisions_maps(name: str, model_dir: Path) -> None:
    """Through the whole `forward`, so that normalisation and padding are included."""
    offer(name, model_dir)
    options = {"alpha": 0.0} if name == "arl_unet" else {}
    network = nets.build(name, weights="imagenet", **options).eval()
    if name == "dense_unet":
        theirs = torchvision_net("densenet121")
        stages = [f"transition{number}.relu" for number in (1, 2, 3)]
        parts = [f"features.{part}" for part in ("relu0", *stages)]
    else:
        theirs = torchvision_net("resnet18")
        parts = ["layer1", "layer2", "layer3"]
    images = torch.rand(2, 3, 64, 96)
    normalised = torchvision.transforms.functional.normalize(
        images, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )
    with torch.no_grad():
        expected = outputs(theirs, parts, normalised)
        kept: list[Tensor] = []
        network.decoder.register_forward_pre_hook(lambda _layer, inputs: kept.extend(inputs[0]))
        network(images)
    found = kept[-len(parts) :]  # from fine to coarse, as the decoder gets them
    torch.testing.assert_close(found, expected)
    assert all(maps.std() > 0.1 for maps in expected)


def test_the_lite_encoder_computes_lite0s_maps() -> None:
    """Lite0 itself is compared with a network written by hand in test_weights.py."""
    network = nets.build("lite_unet", weights="imagenet").eval()
    plain = nets.build("lite0", weights="imagenet").eval()
    images, kept = torch.rand(2, 3, 64, 96), []
    network.decoder.register_forward_pre_hook(lambda _layer, inputs: kept.extend(inputs[0]))
    with torch.no_grad():
        network(images)
        torch.testing.assert_close(kept[1:], plain.features(images))


def test_the_older_names_are_renamed_as_torchvision_does() -> None:
    theirs = torchvision_net("densenet121")
    state = old_names(theirs.state_dict())
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    translated = DenseUNet.translate(state)
    other = torchvision.models.densenet121()
    file = SimpleNamespace(get_state_dict=lambda **_: dict(state))
    densenet._load_state_dict(other, file, progress=False)  # strict, in torchvision's own way
    expected = {k: v for k, v in other.state_dict().items() if not k.endswith("tracked")}
    assert translated.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in translated.items())
    assert DenseUNet.translate(expected).keys() == expected.keys()


@pytest.mark.parametrize(
    ("run", "name", "depth"),
    [("arl18", "arl_unet", 18), ("arl14", "arl_unet", 14), ("resnet14", "res_unet", 14)],
)
def test_the_encoder_of_a_run_of_ours(run: str, name: str, depth: int, tmp_path: Path) -> None:
    classifier = nets.build(run)
    for number, (key, value) in enumerate(classifier.state_dict().items()):
        if key.endswith("alpha"):
            value.fill_(number)
    save_file(classifier.state_dict(), tmp_path / "best.safetensors")
    network = nets.build(name, weights=tmp_path / "best.safetensors", depth=depth)
    state, own = classifier.state_dict(), network.encoder.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in own.items())
    missing, spare, _ = loading.load(network, tmp_path / "best.safetensors")
    assert missing == []
    assert set(spare) == spare_keys(name, state) == state.keys() - own.keys()


def test_a_plain_run_enters_arl_unet_but_for_alpha(tmp_path: Path) -> None:
    save_file(nets.build("resnet14").state_dict(), tmp_path / "best.safetensors")
    network = nets.build("arl_unet", weights=tmp_path / "best.safetensors", depth=14)
    missing, spare, _ = loading.load(network, tmp_path / "best.safetensors")
    assert missing == [f"layer{stage}.0.alpha" for stage in (1, 2, 3)]
    assert len(spare) == 26  # one block: 4 convolutions, 4 BN of 5; the head: 2


def test_runs_of_both_lites_enter_lite_unet(tmp_path: Path) -> None:
    for run, beyond in (("lite0", 8), ("arl_lite0", 8 + 9)):
        path = tmp_path / f"{run}.safetensors"
        classifier = nets.build(run)
        save_file(classifier.state_dict(), path)
        network = nets.build("lite_unet", weights=path)
        state = classifier.state_dict()
        own = network.encoder.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in own.items())
        missing, spare, _ = loading.load(network, path)
        assert missing == []
        alphas = {key for key in state if key.endswith(".alpha")}
        assert set(spare) == LITE_HEAD | alphas
        assert len(spare) == beyond


def test_files_of_other_networks_are_refused_with_the_cure(tmp_path: Path) -> None:
    def path(of: str) -> Path:
        torch.save(nets.build(of).state_dict(), tmp_path / f"{of}.pth")
        return tmp_path / f"{of}.pth"

    cases = {
        ("res_unet", path("arl18")): r"keys 8 unexpected \(layer1\.0\.alpha, .*alpha",
        ("arl_unet", path("resnet14")): r"missing \(.* unexpected \(.* another shape \(",
        ("dense_unet", path("lite0")): r"missing \(features\.conv0\.weight, .* unexpected \(conv_s",
        ("lite_unet", path("resnet14")): r"missing \(conv_stem\.weight, .* unexpected \(conv1\.w",
        ("res_unet", path("res_unet")): r"missing \(conv1\.weight, .* unexpected \(encoder\.conv1",
    }
    for (name, file), message in cases.items():
        network = networks.network(name)
        before = {key: value.clone() for key, value in network.state_dict().items()}
        with pytest.raises(WeightsError, match=message) as error:
            loading.load(network, file)
        assert f"{file} does not fit the encoder of {type(network).__name__}" in str(error.value)
        assert "give the file of a classifier that is this encoder" in str(error.value)
        after = network.state_dict()
        assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize("chosen", ["imagenet", "best.safetensors"])
def test_unet_has_no_weights_to_load(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nets.NETS, "unet", lambda **_: pytest.fail("was built"))
    monkeypatch.setattr(nets, "options", lambda _: [])
    with pytest.raises(WeightsError, match=rf"weights='{chosen}' for unet, .*weights='none' .*or"):
        nets.build("unet", weights=chosen)
