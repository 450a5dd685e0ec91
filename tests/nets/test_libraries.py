"""Networks of timm and smp by their names there: the libraries themselves are the referees."""

from __future__ import annotations

import json
import pickle
import re
import time
from copy import deepcopy
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from networks import count, pictures
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import experiments
import nets
from nets import WeightsError, hub
from nets.normalise import HALF, IMAGENET
from utils.model import device, explain, inspection, recipe

# By name the side of the images, in px, and what explains an answer.
CLASSIFIERS = {
    "resnet10t": (64, "class activation"),
    "convnext_atto": (64, "Grad-CAM"),
    "mobilenetv3_small_050": (64, "Grad-CAM"),
    "swin_s3_tiny_224": (224, "class activation"),
    "vit_tiny_patch16_224": (224, ""),
}
SEGMENTERS = [
    "Unet/resnet18",
    "UnetPlusPlus/efficientnet-b0",
    "FPN/resnet18",
    "DeepLabV3Plus/resnet18",
    "Unet/tu-convnext_atto",
]


def classifier(name: str, num_classes: int = 3, **more: object) -> nn.Module:
    torch.manual_seed(0)
    return nets.build(f"timm:{name}", num_classes, **more)


def numbers(images: Tensor, network: nn.Module) -> Tensor:
    """Images as timm's documentation brings them to a network."""
    settings = timm.data.resolve_model_data_config(network)
    mean, std = (torch.tensor(settings[name])[:, None, None] for name in ("mean", "std"))
    return (images / 255 - mean) / std


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_answers_as_timm_does(name: str) -> None:
    size, _ = CLASSIFIERS[name]
    network = classifier(name).eval()
    theirs = timm.create_model(name, num_classes=3).eval()
    theirs.load_state_dict(network.state_dict())  # by timm's own names
    images = pictures(2, 3, size, size)
    with torch.no_grad():
        assert torch.allclose(network(images), theirs(numbers(images, theirs)), atol=1e-5)
    assert count(network) == count(theirs) == inspection.cost(network, images[:1])["parameters"]
    assert len(inspection.trace_shapes(network, images)) > 2


def test_colours_are_the_librarys_where_they_are_not_imagenets() -> None:
    for name, (mean, std) in (("resnet10t", IMAGENET), ("test_vit", HALF)):
        normalise = classifier(name).normalise
        assert normalise.mean.flatten().tolist() == pytest.approx(mean)
        assert normalise.std.flatten().tolist() == pytest.approx(std)
    assert hub.colours_of("resnet18") == IMAGENET
    assert hub.colours_of("xception") == HALF
    assert hub.colours_of("tu-test_vit") == HALF
    # https://github.com/rwightman/pytorch-dpn-pretrained: 0.0167 of values 0..255
    assert hub.colours_of("dpn92")[1][0] == pytest.approx(1 / 4.2585)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_segmenter_answers_as_smp_does(name: str) -> None:
    torch.manual_seed(0)
    network = nets.build(f"smp:{name}", 1).eval()
    architecture, encoder = name.split("/")
    theirs = smp.create_model(architecture, encoder, encoder_weights=None, classes=1).eval()
    state = {k.replace("head.", "segmentation_head.", 1) if k.startswith("head.") else k: v
             for k, v in network.state_dict().items()}  # fmt: skip
    theirs.load_state_dict(state)
    images = pictures(2, 3, 64, 96)
    mean, std = (torch.tensor(values)[:, None, None] for values in hub.colours_of(encoder))
    with torch.no_grad():
        assert torch.allclose(network(images), theirs((images / 255 - mean) / std), atol=1e-4)
        assert network(pictures(1, 3, 50, 37)).shape == (1, 1, 50, 37)


@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_vit", "smp:FPN/resnet18"])
def test_it_trains_as_ours_do(name: str) -> None:
    """Gradients, one logit, bf16, copies, and no decay of norms, biases and places."""
    row = experiments.get("seg-6" if "smp" in name else "3-1", "light", weights="none")
    network = device.placed(nets.build(name, 1), torch.device("cpu")).train()
    side = 64 if "smp" in name else 160
    images = device.laid_out(pictures(2, 3, side, side), torch.device("cpu"))
    with recipe.autocast(torch.device("cpu"), "bf16"):
        logits = network(images).float()
    assert logits.shape == (2, 1, side, side)[: logits.ndim]
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    decayed, spared = (g["params"] for g in recipe.make_optimizer(network, row).param_groups)
    assert all(one.ndim >= 2 for one in decayed)
    assert len(decayed) + len(spared) == len(list(network.parameters()))
    if name == "timm:test_vit":
        assert any(one is network.pos_embed for one in spared)
    again = deepcopy(network).eval()
    assert torch.equal(again(images), network.eval()(images))


def test_it_can_be_compiled_and_exported() -> None:
    network = nets.build("timm:test_convnext").eval()
    images = pictures(2, 3, 64, 64)
    expected = network(images)
    compiled = torch.compile(network, backend="eager")
    assert torch.allclose(compiled(images), expected, atol=1e-5)
    exported = torch.export.export(network, (images,)).module()
    assert torch.allclose(exported(images), expected, atol=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_what_explains_its_answers(name: str) -> None:
    size, what = CLASSIFIERS[name]
    network, images = classifier(name).eval(), pictures(2, 3, size, size)
    features = explain.pooled_features(network, images)
    assert features.shape == (2, network.get_classifier().in_features)
    with torch.no_grad():  # the last layer weighs them
        logits = network.get_classifier()(torch.from_numpy(features))
        assert torch.allclose(logits, network(images), atol=1e-4)
    if not what:
        with pytest.raises(explain.NoMapError, match=r"VisionTransformer has no map .* but tokens"):
            explain.evidence_maps(network, images, 0)
        return
    maps = explain.evidence_maps(network, images, 0)
    assert maps.shape == (2, size // 32, size // 32)
    if what == "class activation":
        bias = network.get_classifier().bias[0].item()
        assert maps.mean((1, 2)) + bias == pytest.approx(network(images)[:, 0].tolist(), abs=1e-4)
    else:
        with pytest.raises(explain.NoMapError, match=r"one nn\.Linear"):
            explain.class_activation_maps(network, images, 0)
        assert np.allclose(maps, by_hand(network, images), atol=1e-5)


def test_several_maps_at_once_are_none() -> None:
    """CrossViT has two branches of tokens."""
    network, images = classifier("crossvit_tiny_240").eval(), pictures(1, 3, 240, 240)
    with pytest.raises(explain.NoMapError, match="has no map"):
        explain.evidence_maps(network, images, 0)
    assert explain.pooled_features(network, images).ndim == 2


def by_hand(network: nn.Module, images: Tensor) -> np.ndarray:
    """Grad-CAM of class 0 at what timm's `forward_features` gives (equations 1 and 2)."""
    maps = network.forward_features(network.normalise(images))
    maps.retain_grad()
    network.forward_head(maps)[:, 0].sum().backward()
    return torch.einsum("bfhw,bf->bhw", maps, maps.grad.mean((2, 3))).relu().detach().numpy()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("timm:convnxt_tiny", "timm has no 'convnxt_tiny'; near it are timm:convnext_tiny"),
        ("timm:ResNet18", "timm has no 'ResNet18'; near it are timm:resnet18"),
        ("timm:resnet18.a1_in2k", "near it are timm:resnet18.a1_in1k"),
        ("timm:", "timm has no ''; it has, for instance, timm:"),
        ("timm:hf-hub:someone/something", "timm has no 'hf-hub:someone/something'"),
        ("smp:unetplusplus/resnet18", "near it are smp:UnetPlusPlus/resnet18"),
        ("smp:Unet/resnet19", "smp has no 'resnet19'; near it are smp:Unet/resnet18"),
        ("smp:Unet/tu-convnxt_tiny", "near it are smp:Unet/tu-convnext_tiny"),
        ("smp:Unet", "smp has no ''"),
        ("smp:UnetPlusPlus/mit_b0", "smp cannot build smp:UnetPlusPlus/mit_b0 .*; take anoth"),
        (
            "timm:deepseek_vit_412m_enc",
            r"timm cannot build .*_enc for this task",
        ),
        ("torchvision:resnet18", "whose library is unknown; expected timm:NAME such as"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(name: str, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        nets.build(name)


@pytest.mark.parametrize(
    ("name", "size", "found"),
    [
        ("timm:vit_tiny_patch16_224", 192, r"image_size is 192, which .* set image_size to 224"),
        ("timm:swin_tiny_patch4_window7_224", 64, "set image_size to 224"),
        ("timm:inception_v4", 32, "set image_size to 299"),
        ("smp:PAN/resnet18", 64, "set image_size to a larger one, or take another network"),
    ],
)
def test_a_size_that_it_cannot_take_is_refused_at_once(name: str, size: int, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        nets.require_size(name, size)


def test_other_sizes_are_taken() -> None:
    sizes = {"timm:convnext_atto": 64, "smp:Unet/resnet18": (50, 37), "smp:FPN/mit_b0": 64}
    for name, size in (sizes | {"arl14": 9}).items():
        nets.require_size(name, size)


def test_weights_of_another_number_of_classes_leave_the_head_out(tmp_path: Path) -> None:
    theirs = timm.create_model("convnext_atto", num_classes=7)
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    for file in ("theirs.safetensors", "theirs.pth"):
        network = nets.build("timm:convnext_atto", 3, tmp_path / file)
        assert torch.equal(network.stem[0].weight, theirs.stem[0].weight)
        assert torch.equal(network.head.norm.weight, theirs.head.norm.weight)
        assert network.head.fc.out_features == 3
        assert "not used of it: head.fc.* (7 classes there, 3 here)" in network.start


def test_a_runs_weights_are_timms_own(tmp_path: Path) -> None:
    network = classifier("test_vit")
    save_file(network.state_dict(), tmp_path / "best.safetensors")
    timm.create_model("test_vit", num_classes=3, checkpoint_path=tmp_path / "best.safetensors")
    again = nets.build("timm:test_vit", 3, tmp_path / "best.safetensors")
    assert torch.equal(again.head.weight, network.head.weight)


def facebooks(key: str) -> str:
    """A key of timm's ConvNeXt in https://github.com/facebookresearch/ConvNeXt."""
    key = re.sub(r"^stem", "downsample_layers.0", key)
    key = re.sub(r"^stages\.(\d)\.downsample", r"downsample_layers.\1", key)
    key = key.replace("blocks.", "").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
    return key.replace("head.norm", "norm").replace("head.fc", "head")


def test_the_original_authors_names_are_translated_where_timm_knows_them(tmp_path: Path) -> None:
    theirs = timm.create_model("convnext_atto", num_classes=5)
    state = {facebooks(key): value for key, value in theirs.state_dict().items()}
    assert not {"stem.0.weight", "head.norm.weight"} & state.keys()
    save_file(state, tmp_path / "theirs.safetensors")
    network = nets.build("timm:convnext_atto", 5, tmp_path / "theirs.safetensors")
    for key, value in theirs.state_dict().items():
        assert torch.equal(network.state_dict()[key], value), key


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    for name in ("timm:convnext_atto", "timm:swin_s3_tiny_224", "smp:Unet/tu-convnext_atto"):
        with pytest.raises(WeightsError, match="does not fit"):
            nets.build(name, weights=tmp_path / "other.safetensors")


@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18", "tu-convnext_atto"])
def test_an_encoder_takes_its_part_of_a_classifiers_file(encoder: str, tmp_path: Path) -> None:
    theirs = timm.create_model(encoder.removeprefix("tu-"), num_classes=5)
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    network = nets.build(f"smp:Unet/{encoder}", weights=tmp_path / "theirs.safetensors")
    used = [k for k in theirs.state_dict() if not k.startswith(("fc.", "head."))]
    own = network.encoder.state_dict()
    assert len(own) == len(used)
    for value, name in zip(own.values(), used, strict=True):
        assert torch.equal(value, theirs.state_dict()[name])
    assert "not used of it: " in network.start


def test_the_file_of_a_deeper_network_is_refused(tmp_path: Path) -> None:
    save_file(timm.create_model("resnet34").state_dict(), tmp_path / "deep.safetensors")
    for name in ("smp:Unet/resnet18", "timm:resnet18"):
        with pytest.raises(WeightsError, match=r"unexpected \(layer1\.2"):
            nets.build(name, weights=tmp_path / "deep.safetensors")


def test_a_file_that_would_execute_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "code.pth"
    path.write_bytes(pickle.dumps(print))
    with pytest.raises(WeightsError, match=r"code\.pth is refused"):
        nets.build("timm:test_resnet", weights=path)


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub that is not there."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "https://hub.invalid")
    return tmp_path


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize("name", ["timm:convnext_tiny", "smp:Unet/resnet18", "smp:FPN/tu-resnet18"])
def test_without_a_network_imagenet_is_refused_quickly(
    name: str, offline: bool, no_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(nets.libraries, "classifier", pytest.fail)  # before anything is built
    monkeypatch.setattr(nets.libraries, "segmenter", pytest.fail)
    began = time.monotonic()
    with pytest.raises(WeightsError, match=r"could not fetch .*; name a local file, or .*'none'"):
        nets.build(name, weights="imagenet")
    assert time.monotonic() - began < 10
    assert not list(no_hub.rglob("*.safetensors"))


def cached(cache: Path, repo: str, file: str, revision: str = "main") -> Path:
    """Where the hub's own cache keeps a file, once it was fetched."""
    commit = revision if len(revision) == 40 else "0" * 40
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / revision).write_text(commit)
    path = folder / "snapshots" / commit / file
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_what_was_fetched_once_needs_no_network(no_hub: Path) -> None:
    repo = timm.models.get_pretrained_cfg("test_resnet").hf_hub_id
    theirs = timm.create_model("test_resnet")
    save_file(theirs.state_dict(), cached(no_hub, repo, "model.safetensors"))
    network = nets.build("timm:test_resnet", 3, "imagenet")
    assert torch.equal(network.conv1[0].weight, theirs.conv1[0].weight)
    assert "(1000 classes there, 3 here)" in network.start


def test_smps_weights_must_expect_the_colours_that_it_gets(no_hub: Path) -> None:
    place = smp.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    where = no_hub, place["repo_id"]
    about = {"mean": IMAGENET[0], "std": IMAGENET[1], "input_range": [0, 1]}
    cached(*where, "config.json", place["revision"]).write_text(json.dumps(about))
    theirs = timm.create_model("resnet18").state_dict()
    weights = cached(*where, "model.safetensors", place["revision"])
    save_file(theirs, weights)
    network = nets.build("smp:Unet/resnet18", weights="imagenet")
    assert torch.equal(network.encoder.conv1.weight, load_file(weights)["conv1.weight"])
    about["input_range"] = [0, 255]
    cached(*where, "config.json", place["revision"]).write_text(json.dumps(about))
    with pytest.raises(WeightsError, match=r"expect mean, deviation and range .*255\], and here"):
        nets.build("smp:Unet/resnet18", weights="imagenet")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("timm:gcvit_tiny", "which is not fetched here; name a local file"),
        ("smp:Unet/resnext101_32x48d", "no ImageNet weights for resnext101_32x48d, only instagram"),
    ],
)
@pytest.mark.usefixtures("no_hub")
def test_weights_that_there_are_not(name: str, found: str) -> None:
    with pytest.raises(WeightsError, match=found):
        nets.build(name, weights="imagenet")


@pytest.mark.usefixtures("no_hub")
def test_a_network_without_weights_of_its_library() -> None:
    without = sorted({*timm.list_models()} - {n.split(".")[0] for n in timm.list_pretrained()})
    with pytest.raises(WeightsError, match=f"timm has no weights for timm:{without[0]}; name a"):
        hub.of_timm(without[0])
