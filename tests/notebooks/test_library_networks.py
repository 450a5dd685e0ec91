"""A network of timm and one of smp through the notebooks: trained, resumed, evaluated, shown."""

import json
from pathlib import Path

import huggingface_hub
import nbformat
import pandas as pd
import pytest
import small_run
import timm
import torch
from safetensors.torch import save_file
from ways import outputs, papermill

import experiments
import nets
import predict
from utils.model.training import _Training
from utils.photographs import found
from utils.system.errors import RunError
from utils.system.project import PROJECT

CONVOLUTIONS, TOKENS = "timm:test_convnext", "timm:test_vit"


def printed(executed: nbformat.NotebookNode) -> str:
    assert not outputs(executed, "stderr")
    return "".join(outputs(executed, "stdout"))


@pytest.mark.slow
def test_a_classifier_of_timm(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "model"
    folder = models / "demo-demo/3-1-timm-test_convnext-s0"
    start = tmp_path / "start.safetensors"
    save_file(timm.create_model("test_convnext", num_classes=5).state_dict(), start)
    small = {"epochs": 1, "image_size": 64, "batch_size": 8, "data_dir": demo_set}
    asked = {"experiment": "3-1", "network": CONVOLUTIONS, "weights": start, "run_dir": folder}
    first = printed(papermill("ARL-CNN.ipynb", tmp_path, **small, **asked))
    size = sum(p.numel() for p in timm.create_model("test_convnext", num_classes=3).parameters())
    assert f"network          {CONVOLUTIONS}" in first
    assert f"{CONVOLUTIONS}: {size / 1e6:.2f} M parameters, 0 of them" in first
    assert f"starts from {start}; not used of it: head.fc.* (5 classes there, 3 here)" in first
    assert json.loads((folder / "config.json").read_text())["network"]["parameters"] == size
    start.unlink()  # a finished run needs no initial weights
    again = printed(papermill("ARL-CNN.ipynb", tmp_path, **small, **asked))
    assert "is finished after 1 epochs; nothing to train" in again
    assert "starts from its own checkpoint" in again
    # Beside a Vision Transformer, which has no map to show.
    tokens = models / "demo-demo/3-1-timm-test_vit-s0"
    sizes = {"image_size": 160, "stored_size": 160}
    small_run.finished(demo_set, tokens, "3-1", network=TOKENS, **sizes)
    both = {"runs": f"{folder},{tokens}", "data_dir": demo_set}
    said = printed(papermill("Evaluation-Cls.ipynb", tmp_path, **both))
    assert "3-1-timm-test_vit-s0: VisionTransformer has no map (B, F, h, w) of where" in said
    (figures,) = models.glob("demo-demo/evaluation-cls-test/figures")
    maps = {path.name for path in figures.glob("maps-*.png")}
    assert maps == {"maps-3-1-timm-test_convnext-s0.png"}
    # Photographs: with a map, and without one.
    monkeypatch.setattr(found.find_runs, "__defaults__", (None, models))
    photo = next((demo_set / "ISIC-2017_Test_v2_Data").glob("*.jpg"))
    table = pd.read_csv(folder / "predictions-test.csv").set_index("id")
    for name, pictures in ((folder.name, 1), (tokens.name, 0)):
        out = tmp_path / name
        assert predict.main([str(photo), "--runs", name, "--out", str(out)]) == 0
        assert len(list(out.rglob("*-cam.jpg"))) == pictures
        answer = pd.read_csv(next(out.glob("*.csv")))["p_melanoma"].item()
        if pictures:
            assert answer == pytest.approx(table["melanoma"][photo.stem], abs=1e-6)


@pytest.mark.slow
def test_a_segmenter_of_smp(demo_set: Path, tmp_path: Path) -> None:
    folder, network = tmp_path / "run", "smp:FPN/resnet18"
    small = {"epochs": 1, "image_size": 32, "batch_size": 8, "data_dir": demo_set}
    asked = {"experiment": "seg-6", "network": network, "weights": "none", "run_dir": folder}
    first = printed(papermill("Segmentation.ipynb", tmp_path, **small, **asked))
    size = sum(p.numel() for p in nets.build(network, 1).parameters())
    assert f"{network}: {size / 1e6:.2f} M parameters" in first
    again = printed(papermill("Segmentation.ipynb", tmp_path, **small, **asked))
    assert "is finished after 1 epochs; nothing to train" in again
    runs = {"runs": folder, "data_dir": demo_set}
    printed(papermill("Evaluation-Seg.ipynb", tmp_path, **runs))
    assert (folder / "scores-test.json").exists()


@pytest.mark.parametrize("network", [CONVOLUTIONS, TOKENS])
def test_it_resumes_to_the_last_bit(
    network: str, demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 64 if network == CONVOLUTIONS else 160
    small = {"image_size": size, "stored_size": size, "epochs": 2, "batch_size": 8}
    small |= {"precision": "fp32", "workers": 0, "weights": "none", "ema_decay": 0.9}
    row = experiments.get("3-1", "demo", network=network, **small)

    def train(folder: Path, seed: int) -> None:
        torch.manual_seed(seed)
        small_run.train(demo_set, folder, row, nets.build(network, 3), size)

    train(tmp_path / "whole", 0)
    end_epoch = _Training.end_epoch

    def stop(training: _Training, score: object) -> None:
        end_epoch(training, score)
        raise KeyboardInterrupt

    monkeypatch.setattr(_Training, "end_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "halves", 0)
    monkeypatch.undo()
    train(tmp_path / "halves", 1)  # its weights are those of the folder
    small_run.same_files(tmp_path / "whole", tmp_path / "halves")


def cells(notebook: str, number: int, **parameters: object) -> dict:
    """What the first cells of code leave behind, with these parameters."""
    code = [c.source for c in nbformat.read(PROJECT / notebook, as_version=4).cells
            if c.cell_type == "code"]  # fmt: skip
    left: dict = {}
    exec(code[0], left)
    left |= parameters
    exec("\n".join(code[1:number]), left)
    return left


@pytest.mark.parametrize(
    ("notebook", "parameters", "found"),
    [
        ("ARL-CNN.ipynb", {"network": "timm:convnxt_tiny"}, "near it are timm:convnext_tiny"),
        ("ARL-CNN.ipynb", {"network": "smp:Unet/resnet18"}, "such as 'timm:convnext_tiny'"),
        ("ARL-CNN.ipynb", {"network": "timm:vit_tiny_patch16_224"}, "set image_size to 224"),
        ("ARL-CNN.ipynb", {"network": "timm:convnext_tiny"}, "could not fetch https://.*'none'"),
        ("Segmentation.ipynb", {"network": "smp:UNet/resnet18"}, "near it are smp:Unet/resnet18"),
        ("Segmentation.ipynb", {"network": "smp:FPN/resnet18"}, "could not fetch https://.*'none'"),
    ],
)
def test_what_cannot_be_is_refused_before_the_data_is_prepared(
    notebook: str, parameters: dict, found: str, demo_set: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    row = "3-1" if notebook == "ARL-CNN.ipynb" else "seg-6"
    where = {"data_dir": demo_set, "run_dir": tmp_path / "run", "experiment": row}
    with pytest.raises((ValueError, nets.WeightsError), match=found):
        cells(notebook, 4, **where, **parameters)
    assert not (tmp_path / "run").exists()


def test_a_network_that_was_built_to_go_on_begins_nothing(demo_set: Path, tmp_path: Path) -> None:
    small = {"image_size": 64, "stored_size": 64, "epochs": 1, "batch_size": 8, "workers": 0}
    row = experiments.get("3-1", "demo", network=CONVOLUTIONS, weights="start.pth", **small)
    network = nets.build(CONVOLUTIONS, 3)  # without start.pth, as where a run is resumed
    with pytest.raises(RunError, match=r"without 'start\.pth', and there is no run to go on with"):
        small_run.train(demo_set, tmp_path / "run", row, network, 64)
