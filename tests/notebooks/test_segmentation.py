"""Segmentation.ipynb and Evaluation-Seg.ipynb three ways, seg_main.py, and runs that are killed.

The third way, a person in JupyterLab, is in test_browser.py.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import small_run
import small_seg
import torch
from safetensors.torch import load_file
from study_folders import classifier
from ways import RUN_FILES, TIMES, contents, outputs, papermill, run, script

import experiments
import nets
import seg_main
from study import notebooks
from utils import data
from utils.data import store
from utils.logger import runs
from utils.model import encoder
from utils.model.training import TrainingError
from utils.system.errors import RunError
from utils.system.project import PROJECT

LESSON, EVALUATION = "Segmentation.ipynb", "Evaluation-Seg.ipynb"
OUTPUTS = RUN_FILES | {"per-image-test.csv", "thresholds-test.csv", "scores-test.json"}
SHARED = {"case", "distribution", "side-by-side", "threshold", "threshold-curves"}


@pytest.fixture(scope="module")
def models(demo_set: Path, mktemp: Callable[[str], Path]) -> Path:
    """A folder with a classification run and two segmentation runs."""
    models = mktemp("model")
    small_run.finished(demo_set, models / "demo-demo/1-5-s0", "1-5")
    small_seg.finished(demo_set, models / "demo-demo/seg-4-s0")
    oblong = {"image_size": "48x32", "stored_size": "48x32", "clean_up": True}
    small_seg.finished(demo_set, models / "demo-demo/seg-6-s0", "seg-6", **oblong)
    return models


@pytest.mark.whole
class TestLesson:
    def test_papermill_from_another_folder_with_an_encoder_of_ones_own(
        self, models: Path, demo_set: Path, tmp_path: Path
    ) -> None:
        own = models / "demo-demo/1-5-s0"
        executed = papermill(
            LESSON, tmp_path, experiment="seg-5", epochs=1, image_size=32, batch_size=8,
            encoder_from=own, data_dir=demo_set, run_dir=tmp_path / "run", save_masks=True,
            views=8, message="a note",
        )  # fmt: skip
        folder = tmp_path / "run"
        assert {path.name for path in folder.iterdir()} == OUTPUTS | {"masks-test"}
        assert not outputs(executed, "stderr")
        figures = list((folder / "figures").glob("*.png"))
        assert len(outputs(executed, "image/png")) == len(figures) == 5
        config = json.loads((folder / "config.json").read_text())
        assert config["message"] == "a note"
        assert config["row"]["encoder_from"] == str(own)
        assert config["data"]["encoder"]["run"] == str(own)
        printed = "".join(outputs(executed, "stdout"))
        assert f"encoder starts from {own / 'best.safetensors'}" in printed
        masks = sorted((folder / "masks-test").glob("*.png"))
        assert len(masks) == 8
        assert cv2.imread(str(masks[0]), cv2.IMREAD_UNCHANGED).shape == (72, 96)

    @pytest.mark.parametrize("times", TIMES)
    def test_a_converted_script_in_another_folder(
        self, times: int, demo_set: Path, tmp_path: Path
    ) -> None:
        where = {"data_dir": str(demo_set), "run_dir": str(tmp_path / "run")}
        small = {"image_size": "48x32", "batch_size": 8, "epochs": 2, "workers": 1}
        file = script(LESSON, tmp_path, experiment="seg-6", weights="none", **small, **where)
        elsewhere = tmp_path / "else where"
        elsewhere.mkdir()
        printed = run([sys.executable, str(file)], elsewhere)
        assert "epoch 2/2  loss" in printed
        assert not list(elsewhere.iterdir())
        first = contents(tmp_path / "run")
        for _ in range(1, times):
            again = run([sys.executable, str(file)], elsewhere)
            assert "is finished after 2 epochs; nothing to train" in again
            assert contents(tmp_path / "run") == first


@pytest.mark.slow  # tests/model/test_training.py kills what trains both
def test_a_run_killed_anywhere_ends_like_one_that_was_not(demo_set: Path, tmp_path: Path) -> None:
    run([sys.executable, str(Path(small_seg.__file__)), str(demo_set), str(tmp_path)], tmp_path)
    whole, killed = (
        load_file(tmp_path / name / "best.safetensors") for name in ("whole", "killed")
    )
    assert all(torch.equal(tensor, killed[name]) for name, tensor in whole.items())
    for file in ("history.csv", "per-image-test.csv", "scores-test.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "killed" / file).read_bytes()


@pytest.mark.whole
def test_it_learns_where_the_lesion_is(demo_set: Path, tmp_path: Path) -> None:
    history = small_seg.finished(demo_set, tmp_path / "run", "seg-6", epochs=12, learning_rate=1e-2)
    table = pd.read_csv(tmp_path / "run/per-image-test.csv")
    rows = data.read(demo_set)
    prepared = store.prepare(demo_set, rows, (40, 40))
    images = data.masks.TestImages(prepared, rows, (40, 40))
    truth = np.stack([images[k]["label"] for k in range(len(rows))])
    usual = truth.mean(axis=0) > 0.5  # what could be said without looking
    blind = [(mask & usual).sum() / (mask | usual).sum() for mask in truth == 1]
    assert history["jaccard"].max() > np.mean(blind) + 0.1
    assert table["jaccard"].mean() > np.mean(blind) + 0.1


@pytest.mark.whole
class TestEvaluation:
    def test_papermill_evaluates_several_runs(
        self, models: Path, demo_set: Path, tmp_path: Path
    ) -> None:
        folders = [models / "demo-demo/seg-4-s0", models / "demo-demo/seg-6-s0"]
        wanted = ",".join(map(str, folders))
        executed = papermill(EVALUATION, tmp_path, runs=wanted, data_dir=demo_set)
        assert not outputs(executed, "stderr")
        made = folders[0].parent / "evaluation-seg-test"
        names = {path.stem for path in (made / "figures").iterdir()}
        each = {f"{what}-{f.name}" for what in ("gallery", "errors") for f in folders}
        assert names == SHARED | each
        assert len(outputs(executed, "image/png")) == len(names)
        printed = "".join(outputs(executed, "stdout"))
        assert "each run minus seg-4-s0" in printed
        assert "images under 0.65" in printed

    @pytest.mark.slow
    def test_twice_in_a_row_by_papermill_and_once_as_a_script(
        self, models: Path, demo_set: Path, tmp_path: Path
    ) -> None:
        where = {"runs": str(models / "demo-demo/seg-6-s0"), "data_dir": str(demo_set)}
        executed = papermill(EVALUATION, tmp_path, **where)
        first = contents(models / "demo-demo")
        again = papermill(EVALUATION, tmp_path, **where)
        assert outputs(again, "image/png") == outputs(executed, "image/png")
        assert contents(models / "demo-demo") == first
        run([sys.executable, str(script(EVALUATION, tmp_path, **where))], tmp_path)
        assert contents(models / "demo-demo") == first

    def test_a_script_on_another_split_with_other_views_and_masks(
        self, models: Path, demo_set: Path, tmp_path: Path
    ) -> None:
        folder = models / "demo-demo/seg-4-s0"
        where = {"runs": str(folder), "data_dir": str(demo_set), "save_masks": True}
        photos = sorted((demo_set / "ISIC-2017_Validation_Data").glob("*.jpg"))[:2]
        where["photos"] = [*map(str, photos)]
        file = script(EVALUATION, tmp_path, split="validation", views=4, **where)
        elsewhere = tmp_path / "else where"
        elsewhere.mkdir()
        printed = run([sys.executable, str(file)], elsewhere)
        assert "the scores flatter: seg-4-s0" in printed
        assert not list(elsewhere.iterdir())
        made = folder.parent / "evaluation-seg-validation-4-views/photos-seg-4-s0"
        said = pd.read_csv(made / "photos.csv")
        scored = pd.read_csv(folder / "per-image-validation-4-views.csv").set_index("id")
        scored = scored.loc[[photo.stem for photo in photos]]
        assert said["area_px"].tolist() == (scored["tp"] + scored["fp"]).tolist()
        assert f"{photos[1].name}: lesion of" in printed
        first = contents(folder)
        assert "seg-4-s0/per-image-validation-4-views.csv" in first
        assert len(list((folder / "masks-validation-4-views").glob("*_segmentation.png"))) == 8


class TestEncoderFrom:
    def find(self, models: Path, demo_set: Path, name: str | None, **changes) -> encoder.Start:
        row = experiments.get("seg-5", "demo", encoder_from=name, **changes)
        rows = experiments.classification.ROWS
        return encoder.start_of(row, demo_set, rows, models, nets.options)

    @pytest.mark.parametrize("name", ["1-5-s0", "1-5", "demo-demo/1-5-s0"])
    def test_it_is_the_runs_best_epoch_by_any_name(self, name, models, demo_set) -> None:
        start = self.find(models, demo_set, name)
        file = models / "demo-demo/1-5-s0/best.safetensors"
        assert start.weights == file
        assert start.experiment.encoder_from == "demo-demo/1-5-s0"
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert start.facts["encoder"]["sha256"] == digest[:16]

    def test_without_one_the_row_decides(self, models, demo_set) -> None:
        assert self.find(models, demo_set, None, weights="imagenet").weights == "imagenet"
        assert self.find(models, demo_set, None).weights is None

    def test_a_segmenter_is_no_encoder(self, models: Path, demo_set: Path) -> None:
        with pytest.raises(RunError, match=r"holds row seg-4; expected one of 1-1, 1-2"):
            self.find(models, demo_set, str(models / "demo-demo/seg-4-s0"))

    def test_another_attention_is_refused(self, models: Path, demo_set: Path) -> None:
        with pytest.raises(RunError, match=r"is a 'spatial' softmax; this one's is 'channel'"):
            self.find(models, demo_set, "1-5", attention="channel")

    def test_what_networks_take_decides_not_their_names(self, models: Path, demo_set: Path) -> None:
        row = experiments.get("seg-5", "demo", encoder_from="1-5", attention="channel")
        takes, rows = {"arl_unet": ["attention"], "arl18": []}, experiments.classification.ROWS
        assert encoder.start_of(row, demo_set, rows, models, takes.get).weights

    def test_an_encoder_that_has_seen_the_hold_out_is_told(self, models, demo_set) -> None:
        said = self.find(models, demo_set, "1-5", select_on="holdout", seed=1).warning
        assert "trained on images that select the epoch here" in said
        assert (
            "validation split: scores there flatter" in self.find(models, demo_set, "1-5").warning
        )
        of_fold = self.find(models, demo_set, "1-5", fold="1/2", select_on="fold", keep="last")
        assert "did not hold out fold '1/2': it was trained on images that" in of_fold.warning

    def test_one_name_for_several_runs(self, demo_set: Path, tmp_path: Path) -> None:
        for seed in (0, 1):
            classifier(tmp_path / f"demo-demo/1-5-s{seed}", experiments.get("1-5", "demo"))
        with pytest.raises(RunError, match=r"'1-5', which names 2 runs: demo-demo/1-5-s0, demo-d"):
            self.find(tmp_path, demo_set, "1-5")


def test_runs_are_found_under_any_name(models: Path, demo_set: Path, tmp_path: Path) -> None:
    for name in ("my-try", "seg-4-scratch-s0", "seg-4-s0.1"):
        shutil.copytree(models / "demo-demo/seg-4-s0", tmp_path / "demo-demo" / name)
    rows = experiments.segmentation.ROWS
    assert set(runs.find(None, demo_set, rows, models=tmp_path)) == {"my-try", "seg-4-scratch-s0"}
    assert list(runs.find("my-try", demo_set, rows, models=tmp_path)) == ["my-try"]
    for scores in (tmp_path / "demo-demo/my-try").glob("scores-*.json"):
        scores.unlink()
    run = tmp_path / "demo-demo/my-try/config.json"
    run.write_text(run.read_text().replace('"finished": true', '"finished": false'))
    with pytest.raises(RunError, match=r"not finished; resume it with\n    the command that"):
        runs.find("my-try", demo_set, rows, models=tmp_path)


def test_results_of_weights_that_are_gone_are_removed(
    models: Path, demo_set: Path, tmp_path: Path
) -> None:
    shutil.copytree(models / "demo-demo/seg-4-s0", tmp_path / "run")
    (tmp_path / "run/masks-test").mkdir()
    first = (tmp_path / "run/per-image-test.csv").read_bytes()
    for name in ("last.pt", "best.safetensors"):
        (tmp_path / "run" / name).unlink()
    run = tmp_path / "run/config.json"
    run.write_text(run.read_text().replace('"finished": true', '"finished": false'))
    small_seg.finished(demo_set, tmp_path / "run", learning_rate=0.05)
    assert (tmp_path / "run/per-image-test.csv").read_bytes() != first
    assert not (tmp_path / "run/masks-test").exists()


def test_an_epoch_of_masks_that_are_no_numbers_is_not_scored(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = small_seg.SmallSegmenter.logits

    def diverged(self: small_seg.SmallSegmenter, x: torch.Tensor) -> torch.Tensor:
        return original(self, x) * (1 if self.training else float("nan"))

    monkeypatch.setattr(small_seg.SmallSegmenter, "logits", diverged)
    row = experiments.get("seg-6", "demo", **small_seg.SMALL)
    with pytest.raises(
        TrainingError, match=r"scoring epoch 1, .* lower learning_rate \(it is 0\.0"
    ):
        small_seg.train(demo_set, tmp_path / "run", row, small_seg.SmallSegmenter)
    assert not (tmp_path / "run/best.safetensors").exists()


class TestCommandLine:
    def parameters(self, demo_set: Path, *words: str) -> dict:
        chosen = seg_main.parser().parse_args([*words, "--data-dir", str(demo_set)])
        return seg_main.parameters_of(chosen, demo_set)

    @pytest.mark.parametrize(
        ("words", "experiment", "weights"),
        [
            (("-c=0", "-p=0"), "seg-2", "none"),
            (("-p=1",), "seg-3", "imagenet"),
            (("-n", "res", "-p", "1"), "seg-4", "imagenet"),
            (("--net", "unet"), "seg-1", "none"),
            (("-n=arl", "--pretrained", "0"), "seg-5", "none"),
            (("-n", "lite", "-p", "1"), "seg-6", "imagenet"),
            (("-n", "arl", "--encoder-from", "none"), "seg-5", "none"),
        ],
    )
    def test_the_network_and_its_start(self, demo_set, words, experiment, weights):
        found = self.parameters(demo_set, *words)
        assert (found["experiment"], found["weights"]) == (experiment, weights)
        row = seg_main.experiment_of(found)
        assert row.name == experiment
        assert row.weights == (None if weights == "none" else weights)

    @pytest.mark.parametrize(
        ("words", "value"), [((), None), (("0",), False), (("1",), True), (("auto",), "auto")]
    )
    def test_compiled_or_not(self, demo_set, words, value):
        option = ("--compile-network",) if words else ()
        assert self.parameters(demo_set, *option, *words)["compile_network"] is value

    def test_continue_or_restart(self, demo_set):
        assert self.parameters(demo_set)["resume"] == "auto"
        assert self.parameters(demo_set, "-c", "0")["resume"] == "restart"

    @pytest.mark.parametrize(
        ("words", "name"),
        [
            (("-n", "lite", "-p", "1"), "seg-6-s0"),
            (("-n", "res", "-p", "0"), "seg-4-scratch-s0"),
            (("-n", "arl", "--encoder-from", "1-5-s0", "--seed", "3"), "seg-5-own-s3"),
            (("-n", "lite", "-i", "my-try"), "my-try"),
        ],
    )
    def test_what_the_folder_is_called(self, demo_set, words, name):
        chosen = seg_main.parser().parse_args([*words, "--profile", "best"])
        row = seg_main.experiment_of(seg_main.parameters_of(chosen, demo_set))
        path = seg_main.folder_of(row, demo_set, chosen.id)
        assert path == PROJECT / "model/demo-best" / name

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("-n", "unet", "-p", "1"), "UNet has no pretrained weights; use -p 0"),
            (("-p", "1", "--encoder-from", "1-5-s0"), "both give the encoder weights"),
            (("--image-size", "big"), "image_size is 'big'; expected px such as 256"),
            (("--views", "3"), "views is 3"),
            (("-i", "a/b"), "-i is 'a/b'; expected a plain name"),
            (("-i", "try.1"), "-i is 'try.1'; expected a plain name"),
            (("-i", "seg-1-s0"), "-i is 'seg-1-s0', the name of another run; this one is seg-2-s0"),
            (("-n", "vgg"), "invalid choice: 'vgg'"),
            (("-p", "2"), "invalid choice: 2"),
            (("--epochs", "0"), "epochs is 0; expected at least 1"),
            (("--depth", "34"), "--depth is of res and arl alone; leave it out with -n dense"),
        ],
    )
    def test_what_is_refused_on_one_line(self, demo_set, words, message, capsys):
        with pytest.raises(SystemExit) as ended:
            seg_main.main([*words, "--data-dir", str(demo_set)])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err

    def test_help_for_a_student(self, capsys):
        with pytest.raises(SystemExit):
            seg_main.main(["--help"])
        said = capsys.readouterr().out
        for words in ("python seg_main.py -n lite -p 1", "dense (row seg-3)", "--encoder-from RUN"):
            assert words in said

    @pytest.mark.whole
    def test_a_run_from_the_command_line(
        self, models: Path, demo_set: Path, tmp_path: Path
    ) -> None:
        earlier = models / "demo-demo/seg-4-s0"
        shutil.copytree(earlier, tmp_path / "run")
        words = [sys.executable, str(PROJECT / "seg_main.py"), "-c=0", "-p=0", "-n", "res",
                 "-m", "first try", "--data-dir", str(demo_set), "--run-dir", "run",
                 "--epochs", "1", "--image-size", "32", "--batch-size", "8"]  # fmt: skip
        printed = run(words, tmp_path)
        assert "mean Jaccard:" in printed
        folder = tmp_path / "run"
        assert {path.name for path in folder.iterdir()} == OUTPUTS | {"run.ipynb", "run.html"}
        assert json.loads((folder / "config.json").read_text())["message"] == "first try"
        kept = tmp_path / "run.1/best.safetensors"  # -c=0: begun again
        assert kept.read_bytes() == (earlier / "best.safetensors").read_bytes()

    def test_the_cure_for_changed_settings_is_one_of_this_command_line(
        self, demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def changed(*_: object) -> None:
            raise notebooks.CellError("RunError: Use resume='restart' …")

        monkeypatch.setattr(notebooks, "run_notebook", changed)
        with pytest.raises(SystemExit, match=r"RunError: Use .*\n.*resume='restart' is -c 0"):
            seg_main.main(["--data-dir", str(demo_set), "--run-dir", str(tmp_path)])
