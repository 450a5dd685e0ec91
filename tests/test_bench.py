"""The benchmark: what it compares with is what it says, and its arithmetic is right."""

import json
import os
import subprocess
import sys
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms.functional import normalize, pil_to_tensor
from ways import checkout

import experiments
import nets
from bench import __main__ as command
from bench import earlier, report, timing, training
from bench.report import Result, compare
from bench.settings import NETWORKS, QUICK, SEGMENTERS, Settings
from nets.normalise import IMAGENET
from utils import task
from utils.data import loaders, patches, store
from utils.system.project import PROJECT

CPU = torch.device("cpu")
SMALL = Settings(Path(), **QUICK)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every file that PIL opens."""
    files: list[str] = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda path: (files.append(str(path)), original(path))[1])
    return files


class TestEarlier:
    @pytest.mark.parametrize("name", ["arl18", "arl50", "arl_unet"])
    def test_is_our_network_with_the_softmax_over_channels(self, name) -> None:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)
        ours = nets.build(name, attention="channel", alpha=0.5).double()
        theirs = earlier.build(name).double()
        theirs.load_state_dict(ours.state_dict())
        expected = theirs(normalize(images.double() / 255, *IMAGENET))
        torch.testing.assert_close(ours(images), expected, rtol=1e-5, atol=1e-5)
        spatial = nets.build(name).double()
        spatial.load_state_dict(ours.state_dict())
        assert (spatial(images) - expected).abs().max() > 1e-3

    @pytest.mark.parametrize("name", ["arl18", "lite_unet"])
    def test_step_trains(self, name) -> None:
        torch.manual_seed(0)
        experiment = SMALL.experiment(name)
        loss, batch = training.criterion_of(experiment), training.ready_batch(experiment, CPU)
        step = earlier.training_step(earlier.build(name), loss, *batch)
        losses = [step() for _ in range(6)]
        assert losses[-1] < 0.95 * losses[0]

    def test_decodes_every_file_in_every_epoch_and_for_every_view(self, demo_rows, opened) -> None:
        images = demo_rows.head(5)
        for name, columns in (("arl18", ["image"]), ("lite_unet", ["image", "mask"])):
            paths = [str(path) for path in images[columns].to_numpy().flat]
            epoch = earlier.data_epoch(images, SMALL.experiment(name))
            opened.clear()
            epoch(), epoch()
            assert sorted(opened) == sorted(2 * paths)
        opened.clear()
        earlier.nine_views(images, 32, 4)()
        assert sorted(opened) == sorted(9 * [str(path) for path in images["image"]])

    def test_views_are_ours(self, demo_store) -> None:
        image = demo_store.image(0)
        for number in range(9):
            view = earlier.view(Image.fromarray(image), number)
            expected = patches.view(image, number, view.height)
            assert view.height == (64 if number < 4 else 51)
            np.testing.assert_array_equal(np.asarray(view), expected)

    def test_mask_goes_where_the_image_goes(self) -> None:
        torch.manual_seed(0)
        lesion = np.zeros((240, 320), np.uint8)
        lesion[40:160, 60:200] = 255
        image, mask = (Image.fromarray(lesion).convert(mode) for mode in ("RGB", "L"))
        mask = tv_tensors.Mask(pil_to_tensor(mask))
        transform = earlier.training_transform(experiments.get("seg-6", image_size="192x128"))
        seen = [transform(image, mask) for _ in range(8)]
        for pixels, drawn in seen:
            assert pixels.shape == (3, 128, 192)
            assert set(drawn.unique().tolist()) == {0, 255}
            assert ((pixels[0] > 0) == (drawn[0] > 127)).double().mean() > 0.97
        assert len({drawn.sum().item() for _, drawn in seen}) > 4

    def test_gives_floats_from_0_to_1_for_masks(self, demo_rows) -> None:
        transform = earlier.training_transform(experiments.get("seg-6", image_size="48x32"))
        image, mask = earlier.Decoded(demo_rows[["image", "mask"]], transform)[0]
        assert (image.dtype, mask.dtype) == (torch.float32, torch.float32)
        assert (image.shape, mask.shape) == ((3, 32, 48), (1, 32, 48))
        assert set(mask.unique().tolist()) == {0.0, 1.0}


def test_contenders_take_turns_each_of_the_least_length() -> None:
    called: list[tuple[str, float]] = []
    work = {
        name: lambda name=name: (called.append((name, perf_counter())), sleep(0.002))
        for name in "ab"
    }
    times = timing.alternate(work, rounds=3, least=0.01)
    turns = [
        (name, [begun for _, begun in calls]) for name, calls in groupby(called, itemgetter(0))
    ]
    # The order is reversed every other round.
    assert [name for name, _ in turns] == ["a", "b", "a", "b"]
    assert all(begun[-1] + 0.002 - begun[0] >= 0.01 for _, begun in turns)
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    assert all(value >= 0.002 for values in times.values() for value in values)


def test_a_batch_lies_ready_as_the_loader_gives_it(demo_set, demo_rows) -> None:
    """The real loader is the referee: shape, type and order in memory."""
    for experiment in (SMALL.experiment("arl18"), SMALL.experiment("lite_unet")):
        prepared = store.prepare(demo_set, demo_rows, experiment.stored_size)
        count = experiment.batch_size
        images = task.of(experiment).training_set(experiment, prepared, demo_rows.head(count))
        batch = next(iter(loaders.shuffled_loader(images, count, 0)))
        ready = training.ready_batch(experiment, CPU)
        for one, loaded in zip(ready, (batch["image"], batch["label"]), strict=True):
            for what in ("shape", "dtype"):
                assert getattr(one, what) == getattr(loaded, what)
            assert one.stride() == loaded.stride()
        assert set(ready[1].unique().tolist()) <= {0, 1, 2}


class TestSteps:
    @pytest.fixture
    def contenders(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What is measured, with made-up seconds instead of measuring it."""
        seen: list[str] = []

        def alternate(contenders, rounds, *_) -> dict[str, list[float]]:
            seen.extend(contenders)
            return {n: [s] * rounds for n, s in zip(contenders, (4.0, 1.0, 0.5), strict=False)}

        monkeypatch.setattr(training, "alternate", alternate)
        monkeypatch.setattr(training, "compiled_step", lambda *_: (lambda: None, 60.0))
        return seen

    def test_compiled_too_where_it_pays(self, contenders, monkeypatch) -> None:
        monkeypatch.setattr(training, "COMPILE_ON", {"masks": ("cpu",)})
        settings = Settings(Path(), mask_size=32, device=CPU)
        eager, compiled = training.steps("lite_unet", settings)
        assert contenders == ["earlier code", "lite_unet", "lite_unet compiled"]
        assert eager.measure == "Lite-UNet training step, eager"
        assert (eager.compared, eager.ours, eager.ratio, eager.aim) == (500, 125, 4.0, None)
        assert (eager.note, len(eager.times["lite_unet"])) == ("8.0 images/s", 7)
        assert (compiled.ours, compiled.ratio, compiled.aim) == (62.5, 8.0, None)
        # An epoch of 2000 images takes 250 s, then 125 s: 60 s are won back in the first.
        assert "compiling took 60 s, paid back in epoch 1 (2000 images)" in compiled.note
        assert compiled.note.endswith("; auto tries it where 3 epochs are left, and keeps it")

    def test_fewer_rounds_are_said(self, contenders) -> None:
        (result,) = training.steps("unet", Settings(Path(), mask_size=32, device=CPU))
        assert contenders == ["earlier code", "unet"]
        assert result.note.endswith("; 3 rounds only")


class TestReport:
    def test_ours_is_the_lower_one_or_the_upper_where_it_is_to_be_at_most(self) -> None:
        times = {"old": [3.2, 3.2, 3.6], "new": [0.8, 1.6, 0.9]}
        result = compare("step", times, 16, aim=3.5)
        assert (result.compared, result.ours) == pytest.approx((200, 56.25))  # ms for one image
        assert result.ratio == pytest.approx(4.0)
        assert (result.verdict, result.times) == ("reached", times)
        result = compare("step", times, 1, aim=1.25, at_most=True)
        assert (result.compared, result.ours) == pytest.approx((900, 3200))
        assert result.verdict == "missed by 2.75"

    def test_table(self) -> None:
        results = [
            Result("a step", 251.4, 75.26, "ms/image", 3.341, 3.3),
            Result("another", 251.4, 75.26, "ms/image", 3.0, 3.3),
            Result("over ResNet-50", 51.0, 75.3, "ms/image", 1.476, 1.25, True, "eager"),
            Result("and at best", 51.0, 51.0, "ms/image", 1.25, 1.25, True),
            Result("memory", None, 1234.5, "MB", None),
        ]
        assert report.table(results).splitlines() == [
            "measure         compared  ours  unit      ratio  aim     verdict          note",
            "-" * 79,
            "a step               251  75.3  ms/image   3.34  ≥ 3.3   reached",
            "another              251  75.3  ms/image      3  ≥ 3.3   missed by 0.3",
            "over ResNet-50        51  75.3  ms/image   1.48  ≤ 1.25  missed by 0.226  eager",
            "and at best           51    51  ms/image   1.25  ≤ 1.25  reached",
            "memory                    1234  MB",
        ]


PEAK = """
import sys, time
import numpy as np
from bench import memory

with memory.Peak(pause=0.001) as peak:
    held = np.ones(2**23)  # 64 MB of this process
    time.sleep(0.2)
    del held
    mapped = np.lib.format.open_memmap(sys.argv[1], "w+", float, (2**24,))
    mapped[:] = 1  # 128 MB of the system
    time.sleep(0.2)
print(peak.mb - peak.before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells mapped files apart")
def test_peak_memory_sees_what_was_held_and_let_go(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PEAK, str(tmp_path / "mapped.npy")]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert 60 < float(ended.stdout) < 80


def test_no_measure_needs_originals(demo_set, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.delenv("ISIC2017_FULLRES", raising=False)
    out = tmp_path / "bench.json"
    command.main(["--quick", "--parts", "data", "--data-dir", str(demo_set), "--out", str(out)])
    said = capsys.readouterr().out
    assert "no folder with original images (--fullres or $ISIC2017_FULLRES)" in said
    assert "data epoch, 8 synthetic demo data, profile best" in said


@pytest.mark.slow
def test_everything_runs_quickly(demo_set: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "bench.json"
    given = ["--quick", "--data-dir", str(demo_set), "--fullres", str(demo_set), "--out", str(out)]
    assert command.main(given) == out
    kept = json.loads(out.read_text())
    said = capsys.readouterr().out
    for result in kept["results"]:
        assert result["measure"] in said
        assert all(len(times) == 3 for times in result["times"].values())
    assert {result["aim"] for result in kept["results"]} >= {3.3, 3.0, 1.2, 0.97, 20.0, 10.0}
    names = {result["measure"] for result in kept["results"]}
    assert names >= {f"{NETWORKS[name].label} training step, eager" for name in SEGMENTERS}
    assert names >= {
        "lite_unet training loop (workers), share of the rate on a ready batch",
        "data epoch with masks, 40 originals, 336×224 px",
    }
    assert kept["machine"]["load_before"] >= 0
    assert kept["machine"]["torch_threads"] == torch.get_num_threads()
    assert f"every single time is in {out}" in said


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a shell script")
def test_what_a_gpu_is_asked_runs_without_one(demo_set: Path, tmp_path: Path) -> None:
    """But for the tests, which need one."""
    project, out = checkout(tmp_path / "project"), tmp_path / "out"
    (project / "tests").mkdir()
    variables = {"OUT": str(out), "PYTHON": sys.executable, "ISIC2017_DIR": str(demo_set)}
    variables |= {"PYTHONPATH": str(project), "CUDA_VISIBLE_DEVICES": ""}
    command = ["bash", "bench/gpu.sh", "--quick"]
    environment = os.environ | variables
    subprocess.run(command, cwd=project, env=environment, capture_output=True, check=False)
    assert (out / "summary.txt").read_text().count("status 0") == 2
    measures = {
        result["measure"] for result in json.loads((out / "speed.json").read_text())["results"]
    }
    assert len(measures) == 11
    assert "arl18 training, share of the time in which the GPU waits" in measures
    assert "arl18 training loop (resident), share of the rate on a ready batch" in measures
    kept = json.loads((out / "seg-6-s0.json").read_text())
    assert "jaccard" in kept["scores-test.json"]["official"]
    assert kept["history.csv"].startswith("epoch,")
