"""python predict.py --export: one file that answers as the network does, without this code."""

import functools
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image

import experiments
import nets
import predict
from utils import data, logger, model, photographs
from utils.evaluation.out_of_fold import RELEASED
from utils.photographs import export, found
from utils.system import project

NEVER = "import sys; sys.modules.update(nets=None, utils=None, experiments=None)\n"  # ImportError
WHOLE = """
about = {"about.json": ""}
module = torch.export.load(file, extra_files=about).module()
images = torch.from_numpy(np.load(folder / "images.npy"))
found = {name: given.detach().numpy() for name, given in module(images).items()}
np.savez(folder / "found.npz", **found, about=about["about.json"])
"""


def answers(file: Path, images: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """What a file gives in a process that cannot import this project; "about" is its metadata."""
    if file.suffix == ".onnx":
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        given = dict(zip(names, session.run(None, {"images": images}), strict=True))
        return given | {"about": session.get_modelmeta().custom_metadata_map}
    np.save(folder / "images.npy", images)
    code = f"import numpy as np, torch\nfrom pathlib import Path\nfile = {str(file)!r}\n"
    command = [sys.executable, "-I", "-c", f"{NEVER}{code}folder = Path.cwd()\n{WHOLE}"]
    subprocess.run(command, cwd=folder, check=True)
    given = dict(np.load(folder / "found.npz"))
    return given | {"about": json.loads(str(given["about"]))}


@pytest.fixture
def call(models: Path, monkeypatch: pytest.MonkeyPatch):
    """The command, with the models of the fixture; its exit status."""
    monkeypatch.setattr(found.find_runs, "__defaults__", (None, models))
    monkeypatch.setattr(export, "ROUNDS", 3)
    return lambda *words: predict.main([str(word) for word in words])


def images_of(folder: Path, count: int, split: str) -> pd.DataFrame:
    images = data.read(folder)
    return images[images["split"] == split].head(count).reset_index(drop=True)


def loaded(run: logger.RunFolder) -> tuple:
    experiment = experiments.restore(run.config["row"])
    options = experiment.network_options(nets.options(experiment.network))
    network = nets.build(experiment.network, getattr(experiment, "num_classes", 1), **options)
    model.load_weights(network, run / "best.safetensors")
    return experiment, network


def own(run: logger.RunFolder, folder: Path, count: int, split: str) -> tuple[np.ndarray, ...]:
    """Pixels (n, H, W, 3) as the evaluation's first view has them, and its answers to that view."""
    experiment, network = loaded(run)
    images = images_of(folder, count, split)
    store = data.prepare(folder, images, experiment.stored_size)
    if experiment.task == "labels":
        seen = data.patches.views_of(experiment, store, images, 1)
        given = model.predict(network, data.evaluation_loader(seen, 16, 0))
        plain = [
            data.view(store.image(i), 0, experiment.image_size) for i in store.positions(images)
        ]
        return np.stack(plain), given
    seen = data.TestImages(store, images, experiment.image_size, experiment.test_image)
    loader = data.evaluation_loader(seen, 16, 0)
    pixels = torch.cat([batch["image"] for batch in loader]).movedim(1, -1).numpy()
    return pixels, np.stack([given for _, given in model.probabilities(network, loader)])


@pytest.fixture(scope="module")
def exported(models: Path, mktemp: Callable[[str], Path]):
    """The file of a kind, of a run of the fixture."""
    folder = mktemp("exported")
    table = pd.read_csv(models / "demo-demo/1-4-s0/predictions-holdout.csv")
    table["melanoma"] = np.where(table["label"] == 0, 0.7, 0.2)
    table.loc[0, "melanoma"] = 0.9 - table.loc[0, "melanoma"]  # so that a temperature is determined

    @functools.cache
    def made(kind: str, name: str) -> tuple[logger.RunFolder, Path]:
        run = folder / kind / "demo-demo" / name
        shutil.copytree(models / "demo-demo" / name, run)
        if name == "1-4-s0":
            table.to_csv(run / "predictions-holdout.csv", index=False)
        assert predict.main(["--export", kind, str(run)]) == 0
        return logger.RunFolder(run), run / export.KINDS[kind]

    return made


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("onnx", "1-3-s0"),
        pytest.param("onnx", "1-4-s0", marks=pytest.mark.whole),
        pytest.param("onnx", "seg-4-s0", marks=pytest.mark.whole),
        pytest.param("torch", "1-3-s0", marks=pytest.mark.whole),
        pytest.param("torch", "1-4-s0", marks=pytest.mark.slow),
        pytest.param("torch", "seg-4-s0", marks=pytest.mark.slow),
    ],
)
def test_a_file_answers_as_the_evaluation_of_one_view(
    kind, name, exported, demo_set, tmp_path
) -> None:
    run, file = exported(kind, name)
    assert logger.folders._RESULT.fullmatch(file.name)  # goes when the weights go
    assert str(project.PROJECT).encode() not in file.read_bytes()
    pixels, ours = own(run, demo_set, 8, "test")
    assert pixels.dtype == np.uint8
    theirs = answers(file, np.ascontiguousarray(pixels), tmp_path)
    masks = name.startswith("seg")
    given = theirs["lesion_probabilities" if masks else "probabilities"]
    assert given.shape == ours.shape
    assert abs(given - ours).max() < 1e-5
    assert np.std(ours, axis=0).max() > 1e-4  # not one answer for all images
    one = answers(file, np.ascontiguousarray(pixels[3:4]), tmp_path)
    assert abs(one["lesion_probabilities" if masks else "probabilities"] - ours[3:4]).max() < 1e-5
    about = theirs["about"]
    assert about["caution"] == photographs.CAUTION
    assert (about["run"], about["row"]) == (name, name[:-3])
    assert json.loads(about["image_size"]) == [*pixels.shape[2:0:-1]]
    if masks:
        assert (about["threshold"], about["test_image"]) == ("0.5", "whole")
        return
    assert tuple(json.loads(about["classes"])) == data.CLASSES[: ours.shape[1]]
    temperature = float(about["temperature"])
    assert "hold-out images of the run" in about["fitted"]
    assert temperature != pytest.approx(1, abs=0.05)
    p = np.hstack([ours, 1 - ours]) if ours.shape[1] == 1 else ours
    powers = p ** (1 / temperature)
    calibrated = (powers / powers.sum(1, keepdims=True))[:, : ours.shape[1]]
    assert abs(theirs["calibrated_probabilities"] - calibrated).max() < 1e-5


@pytest.mark.whole
@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ("1-2", {"network": "timm:resnet10t"}),
        ("seg-1", {"image_size": "48x32"}),
        pytest.param("seg-6", {"network": "smp:FPN/resnet18"}, marks=pytest.mark.slow),
    ],
)
def test_of_other_networks(row, changes, demo_set, tmp_path, call) -> None:
    run = made_up(tmp_path / f"demo-demo/{row}-s0", row, changes)
    assert call("--export", "onnx", run.path) == 0
    pixels, ours = own(run, demo_set, 5, "test")
    theirs = answers(run / "model.onnx", np.ascontiguousarray(pixels), tmp_path)
    name = "lesion_probabilities" if row.startswith("seg") else "probabilities"
    assert abs(theirs[name] - ours).max() < 1e-5
    assert np.std(ours) > 1e-3
    assert set(theirs) == {name, "about"}  # nothing was fitted


def test_a_baseline_has_nothing_to_export(call, tmp_path, capsys) -> None:
    run = made_up(tmp_path / "demo-demo/seg-0-1-s0", "seg-0-1", {})
    with pytest.raises(SystemExit, match="2"):
        call("--export", "torch", run.path)
    assert "seg-0-1-s0 is a baseline; expected a run with" in capsys.readouterr().err


def test_a_baseline_of_classifiers_takes_more_than_a_photograph(call, tmp_path, capsys) -> None:
    row = experiments.get("0-2", "demo")
    run = logger.start_run(tmp_path / "demo-demo/0-2-s0", row, {"set": "synthetic demo data"})
    run.save_json("config.json", run.config | {"finished": True})
    with pytest.raises(SystemExit, match="2"):
        call("--export", "torch", run.path)
    said = capsys.readouterr().err
    assert "0-2-s0 has no network that sees a photograph (age_sex); expected" in said


def made_up(folder: Path, row: str, changes: dict) -> logger.RunFolder:
    """A run whose network was never trained, but gives answers that differ."""
    run = logger.RunFolder(folder)
    small = {"weights": "none", "stored_size": 64, "image_size": 32}
    experiment = experiments.get(row, "demo", **(small | changes))
    settings = json.loads(json.dumps(experiment, default=vars))
    run.save_json("config.json", {"row": settings, "data": {"set": "demo"}, "finished": True})
    options = experiment.network_options(nets.options(experiment.network))
    model.seed_torch(0)
    network = nets.build(experiment.network, getattr(experiment, "num_classes", 1), **options)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0  # statistics of one batch, so that answers are not extreme
    network.train()(torch.randint(0, 256, (8, 3, 32, 48), dtype=torch.uint8))
    model.save_weights(network, run / "best.safetensors")
    return run


@pytest.mark.whole
@pytest.mark.parametrize("name", ["3-1-s0", pytest.param("seg-6-s0", marks=pytest.mark.slow)])
def test_released_runs_on_50_real_images(name, isic2017, tmp_path, capsys) -> None:
    file = tmp_path / "model.onnx"
    assert predict.main(["--export", "onnx", str(RELEASED / name), "--out", str(file)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"ONNX Runtime [\d.]+ ms, eager PyTorch [\d.]+ ms, [\d.]+ times", said)
    pixels, ours = own(logger.RunFolder(RELEASED / name), isic2017, 50, "train")
    theirs = answers(file, np.ascontiguousarray(pixels), tmp_path)
    given = theirs["probabilities" if name == "3-1-s0" else "lesion_probabilities"]
    assert len(given) == 50
    assert abs(given - ours).max() < 1e-4
    assert np.std(ours) > 0.1


def test_the_example_of_the_docs(exported, photos, tmp_path) -> None:
    text = (project.PROJECT / "docs/predict.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import json\n.+?)```", text, re.DOTALL)
    assert len(code.splitlines()) <= 12
    run, file = exported("onnx", "1-3-s0")
    shutil.copy(file, tmp_path)
    small = Image.open(photos[0]).convert("RGB").resize((32, 32))  # nothing is left to resize
    small.save(tmp_path / "photo.jpg", format="PNG")
    command = [sys.executable, "-I", "-c", NEVER + code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    _, network = loaded(run)
    pixels = torch.from_numpy(np.array(small)).movedim(-1, 0)[None]
    with torch.inference_mode():
        ours = network.eval()(pixels).softmax(1)[0]
    for name, p in zip(data.CLASSES, ours.tolist(), strict=True):
        assert f"{name}: {p:.3f}" in done.stdout
    assert photographs.CAUTION in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("onxx", "1-3-s0"), "--export onxx: expected one of onnx, torch"),
        (("onnx", "1-3-s0,1-3-s1"), "writes one run, and these are 1-3-s0, 1-3-s1; name one"),
        (("onnx", "1-3-s0", "--out", "photo.jpg"), "photo.jpg; expected a file whose .* in .onnx"),
        (("onnx", "1-3-s9"), "no run '1-3-s9'; near it"),
        (("onnx", "1-3-s0", "photo.jpg"), "name photos .* or --export"),
    ],
)
def test_what_cannot_be_exported(words, said, call, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        call("--export", *words)
    assert re.search(said, capsys.readouterr().err)


def test_a_missing_package_is_named_before_the_work(call, monkeypatch, capsys) -> None:
    find = importlib.util.find_spec
    there = lambda name: None if name == "onnxscript" else find(name)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", there)
    monkeypatch.setattr(predict, "_loaded", lambda *_: pytest.fail("networks were loaded"))
    with pytest.raises(SystemExit, match="2"):
        call("--export", "onnx", "1-3-s0")
    error = " ".join(capsys.readouterr().err.split())
    assert "onnxscript is not installed; install them (pip install '.[onnx]')" in error


def test_a_file_that_answers_otherwise_is_removed(call, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(export.Portable, "forward", spoiled(export.Portable.forward))
    with pytest.raises(SystemExit, match="2"):
        call("--export", "torch", "1-3-s0", "--out", tmp_path / "model.pt2")
    assert "otherwise than the network" in capsys.readouterr().err
    assert not (tmp_path / "model.pt2").exists()


def spoiled(forward):
    """What an exporter with a fault makes of it."""

    def wrong(self: export.Portable, images: torch.Tensor) -> dict[str, torch.Tensor]:
        shift = 0.001 if torch.compiler.is_exporting() else 0.0
        return {name: p + shift for name, p in forward(self, images).items()}

    return wrong


def test_a_network_that_torch_cannot_write_is_said(call, monkeypatch, tmp_path, capsys) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("data-dependent\nand much more")

    monkeypatch.setattr(torch.export, "export", refuse)
    file = tmp_path / "model.pt2"
    with pytest.raises(SystemExit, match="2"):
        call("--export", "torch", "1-3-s0", "--out", file)
    error = " ".join(capsys.readouterr().err.split())
    assert "cannot write this network as one computation (data-dependent); export a run" in error
    assert not file.exists()
