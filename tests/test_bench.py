"""The benchmark: what it compares with is what it says, and its arithmetic is right."""

import json
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import experiments
import nets
from bench import __main__ as command
from bench import baseline, baseline_seg, measures, report, tasks, timing, training
from bench.report import Result, compare
from bench.settings import QUICK, SEGMENTERS, Settings
from nets import arl
from utils import loss, task
from utils.data import loaders, patches, store
from utils.system.project import PROJECT

CPU = torch.device("cpu")


def same_weights(network: torch.nn.Module, other: torch.nn.Module) -> None:
    """Load the weights of ours into the baseline's network, whose alphas have a dimension."""
    own = other.state_dict()
    other.load_state_dict({k: v.reshape(own[k].shape) for k, v in network.state_dict().items()})


def normalised(images: torch.Tensor) -> torch.Tensor:
    return torchvision.transforms.functional.normalize(
        images.double() / 255, baseline.MEAN, baseline.STD
    )


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every file that PIL opens."""
    files: list[str] = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda path: (files.append(str(path)), original(path))[1])
    return files


class TestBaseline:
    @pytest.mark.parametrize("name", baseline.NETWORKS)
    def test_is_our_network_with_the_softmax_over_channels(self, name, images) -> None:
        ours = nets.build(name, attention="channel", alpha=0.5).double()
        theirs = baseline.build(name).double()
        same_weights(ours, theirs)
        expected = theirs(normalised(images))
        torch.testing.assert_close(ours(images), expected, rtol=1e-5, atol=1e-5)
        spatial = nets.build(name).double()
        spatial.load_state_dict(ours.state_dict())
        assert (spatial(images) - expected).abs().max() > 1e-3

    @pytest.mark.parametrize(("name", "plain"), [("arl18", "resnet18"), ("arl50", "resnet50")])
    def test_is_torchvisions_resnet_at_alpha_0(self, name, plain, images) -> None:
        theirs = torchvision.models.get_model(plain, num_classes=3).double()
        network = baseline.build(name).double()
        missing, unexpected = network.load_state_dict(theirs.state_dict(), strict=False)
        assert all(key.endswith("alpha") for key in missing)
        assert not unexpected
        with torch.no_grad():
            for key in missing:
                network.get_parameter(key).zero_()
        assert torch.equal(network(normalised(images)), theirs(normalised(images)))

    def test_step_trains(self) -> None:
        torch.manual_seed(0)
        step = baseline.training_step("arl18", 32, 4, CPU)
        losses = [step() for _ in range(6)]
        assert losses[-1] < losses[0] / 2

    def test_decodes_every_file_in_every_epoch_and_for_every_view(self, demo_set, opened) -> None:
        paths = [str(path) for path in sorted(demo_set.glob("*Test*_Data/*.jpg"))]
        epoch, views = (make(paths, 32, 4) for make in (baseline.data_epoch, baseline.nine_views))
        epoch(), epoch()
        assert sorted(opened) == sorted(2 * paths)
        opened.clear()
        views()
        assert sorted(opened) == sorted(9 * paths)

    def test_views_are_ours(self, demo_store) -> None:
        image = demo_store.image(0)
        for number in range(9):
            view = baseline.view(Image.fromarray(image), number)
            expected = patches.view(image, number, view.height)
            assert view.height == (64 if number < 4 else 51)
            np.testing.assert_array_equal(np.asarray(view), expected)


class TestTiming:
    def test_contenders_take_turns_each_of_the_least_length(self) -> None:
        called = []
        work = {name: lambda name=name: (called.append(name), sleep(0.002)) for name in "ab"}
        times = timing.alternate(work, rounds=3, least=0.01)
        turns = [(name, len(list(calls))) for name, calls in groupby(called)]
        # The order is reversed every other round.
        assert [name for name, _ in turns] == ["a", "b", "a", "b"]
        assert all(count > 4 for _, count in turns)
        assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
        assert all(0.002 <= value < 0.05 for values in times.values() for value in values)


class TestBaselineWithMasks:
    def test_arl_unet_has_the_softmax_over_channels_and_autograds_gradient(self, images) -> None:
        images = images[..., :32, :48]
        ours = nets.build("arl_unet", attention="channel", alpha=0.5).double()
        theirs = baseline_seg.build("arl_unet").double()
        same_weights(ours, theirs)
        expected = theirs(images)
        torch.testing.assert_close(ours(images), expected, rtol=1e-5, atol=1e-5)
        spatial = nets.build("arl_unet").double()
        spatial.load_state_dict(ours.state_dict())
        assert (spatial(images) - expected).abs().max() > 1e-3
        assert not any(isinstance(module, arl.Attention) for module in theirs.modules())

    def test_loss_is_ours(self) -> None:
        torch.manual_seed(0)
        logits, masks = torch.randn(3, 1, 5, 7), torch.randint(0, 2, (3, 1, 5, 7))
        expected = loss.build("dice_cross_entropy")(logits, masks[:, 0])
        found = baseline_seg.dice_and_cross_entropy(logits, masks.float())
        torch.testing.assert_close(found, expected)

    def test_mask_goes_where_the_image_goes(self) -> None:
        torch.manual_seed(0)
        lesion = np.zeros((240, 320), np.uint8)
        lesion[40:160, 60:200] = 255
        image, mask = (Image.fromarray(lesion).convert(mode) for mode in ("RGB", "L"))
        mask = torchvision.tv_tensors.Mask(torchvision.transforms.functional.pil_to_tensor(mask))
        transform = baseline_seg.training_transform((192, 128))
        seen = [transform(image, mask) for _ in range(8)]
        for pixels, drawn in seen:
            assert pixels.shape == (3, 128, 192)
            assert set(drawn.unique().tolist()) == {0, 255}
            assert ((pixels[0] > 0) == (drawn[0] > 127)).double().mean() > 0.97
        assert len({drawn.sum().item() for _, drawn in seen}) > 4

    def test_decodes_both_files_in_every_epoch(self, demo_rows, opened) -> None:
        table = demo_rows.head(5)
        pairs = list(zip(table["image"], table["mask"], strict=True))
        epoch = baseline_seg.data_epoch(pairs, (48, 32), 4)
        epoch(), epoch()
        assert sorted(opened) == sorted(2 * [str(path) for pair in pairs for path in pair])

    def test_gives_floats_from_0_to_1_for_masks(self, demo_rows) -> None:
        transform = baseline_seg.training_transform((48, 32))
        first = demo_rows.iloc[0]
        image, mask = baseline_seg.decode((first["image"], first["mask"]), transform)
        assert (image.dtype, mask.dtype) == (torch.float32, torch.float32)
        assert (image.shape, mask.shape) == ((3, 32, 48), (1, 32, 48))
        assert set(mask.unique().tolist()) == {0.0, 1.0}


class TestTasks:
    def test_a_batch_lies_ready_as_the_loader_gives_it(self, demo_set, demo_rows) -> None:
        """The real loader is the referee: shape, type and order in memory."""
        for experiment in (
            QUICK.classifier(),
            experiments.get("seg-6", "demo", image_size=(48, 32)),
        ):
            prepared = store.prepare(demo_set, demo_rows, experiment.stored_size)
            count = experiment.batch_size
            images = task.of(experiment).training_set(experiment, prepared, demo_rows.head(count))
            batch = next(iter(loaders.shuffled_loader(images, count, 0)))
            found = tasks.ready_batch(experiment, CPU)
            for ready, loaded in zip(found, (batch["image"], batch["label"]), strict=True):
                assert ready.shape == loaded.shape
                assert ready.dtype == loaded.dtype
                assert ready.stride() == loaded.stride()
            assert set(found[1].unique().tolist()) <= {0, 1, 2}

    @pytest.mark.parametrize(
        ("experiment", "shape"),
        [(QUICK.classifier(), (4, 3)), (QUICK.segmenter("lite_unet"), (4, 1, 32, 32))],
    )
    def test_loss_is_that_of_the_task(self, experiment, shape) -> None:
        _, labels = tasks.ready_batch(experiment, CPU)
        assert tasks.criterion(experiment)(torch.zeros(shape), labels).isfinite()


class TestSegmenters:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> dict:
        """What is measured, with made-up seconds instead of measuring it."""
        asked = {}
        seconds = {"earlier code": 4.0, "ours": 1.0, "compiled": 0.5}

        def alternate(contenders, rounds, *_) -> dict[str, list[float]]:
            asked.update(contenders=list(contenders), rounds=rounds)
            keys = ["earlier code", "ours", "compiled"][: len(contenders)]
            return {n: [seconds[k]] * rounds for n, k in zip(contenders, keys, strict=True)}

        monkeypatch.setattr(training, "alternate", alternate)
        monkeypatch.setattr(training, "compiled_step", lambda *_: (lambda: None, 60.0))
        return asked

    def test_compiled_too_where_it_pays(self, asked, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(training, "COMPILE_ON", {"masks": ("cpu",)})
        settings = Settings(mask_size=32, compile=True, device=CPU)
        eager, compiled = training.steps("lite_unet", settings.segmenter("lite_unet"), settings)
        assert asked == {
            "contenders": ["earlier code", "lite_unet", "lite_unet compiled"],
            "rounds": 7,
        }
        assert eager.measure == "Lite-UNet training step, eager"
        assert (eager.compared, eager.ours, eager.ratio, eager.aim) == (500, 125, 4.0, None)
        assert eager.note == "8.0 images/s"
        assert (compiled.ours, compiled.ratio, compiled.aim) == (62.5, 8.0, None)
        # An epoch of 2000 images takes 250 s, then 125 s: 60 s are won back in the first.
        assert "compiling took 60 s, paid back in epoch 1 (2000 images)" in compiled.note

    def test_fewer_rounds_are_said(self, asked) -> None:
        settings = Settings(mask_size=32, compile=True, device=CPU)
        (result,) = training.steps("unet", settings.segmenter("unet"), settings)
        assert asked == {"contenders": ["earlier code", "unet"], "rounds": 3}
        assert result.note.endswith("; 3 rounds only")


TIMES = {"old": [3.2, 3.2, 3.6], "new": [0.8, 1.6, 0.9]}


class TestReport:
    def test_compare(self) -> None:
        result = compare("step", TIMES, "old", "new", 16, aim=3.5)
        assert (result.compared, result.ours) == pytest.approx((200, 56.25))  # ms for one image
        assert result.ratio == pytest.approx(4.0)
        assert result.verdict == "reached"
        assert result.times == TIMES

    def test_ours_may_be_the_upper_one(self) -> None:
        result = compare("step", TIMES, "old", "new", 1, aim=1.25, at_most=True)
        assert (result.compared, result.ours) == pytest.approx((900, 3200))
        assert result.verdict == "missed by 2.75"

    @pytest.mark.parametrize(
        ("ratio", "aim", "at_most", "verdict"),
        [
            (3.3, 3.3, False, "reached"),
            (3.0, 3.3, False, "missed by 0.3"),
            (1.25, 1.25, True, "reached"),
            (1.5, 1.25, True, "missed by 0.25"),
            (1.5, None, False, ""),
        ],
    )
    def test_verdict(self, ratio, aim, at_most, verdict) -> None:
        assert Result("x", 1.0, 1.0, "ms", ratio, aim, at_most).verdict == verdict

    def test_table(self) -> None:
        results = [
            Result("a step", 251.4, 75.26, "ms/image", 3.341, 3.3),
            Result("over ResNet-50", 51.0, 75.3, "ms/image", 1.476, 1.25, True, "eager"),
            Result("memory", None, 1234.5, "MB", None),
        ]
        assert report.table(results).splitlines() == [
            "measure         compared  ours  unit      ratio  aim     verdict          note",
            "-" * 79,
            "a step               251  75.3  ms/image   3.34  ≥ 3.3   reached",
            "over ResNet-50        51  75.3  ms/image   1.48  ≤ 1.25  missed by 0.226  eager",
            "memory                    1234  MB",
        ]


def test_machine_says_what_the_numbers_depend_on() -> None:
    about = measures.describe(CPU)
    assert about["torch_threads"] == torch.get_num_threads()
    assert torch.__version__.startswith(about["versions"]["torch"])
    assert about["memory_gb"] > 0.5
    json.dumps(about)


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


def test_the_command_line_is_read_before_torch_is_loaded() -> None:
    code = "import sys, bench.__main__ as b; b.arguments([]); print('torch' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, check=True
    )
    assert ended.stdout.split() == [b"False"]


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
    assert {result["aim"] for result in kept["results"]} >= {3.3, 3.0, 1.25, 0.95, 20.0, 10.0}
    measures = {result["measure"] for result in kept["results"]}
    assert measures >= {f"{training.LABELS[name]} training step, eager" for name in SEGMENTERS}
    assert measures >= {
        "lite_unet training loop, share of the rate on a ready batch",
        "data epoch with masks, 40 originals, 336×224 px",
    }
    assert kept["machine"]["load_before"] >= 0
    assert f"every single time is in {out}" in said
