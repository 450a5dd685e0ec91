"""Training on a CUDA GPU. `pytest -m gpu tests` runs these, and those of other rooms."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import CONFIG, SmallNet, parts, train

import nets
from utils import logger, model
from utils.data import loaders, patches
from utils.model import compiling, memory

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_it_learns_and_resumes(precision: str, demo_set: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, precision=precision, epochs=4)
    history = train(demo_set, tmp_path / "run", config)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert len(train(demo_set, tmp_path / "run", config)) == 4
    assert logger.RunFolder(tmp_path / "run").config["device"] == torch.cuda.get_device_name()


def test_compiling_is_tried_and_chosen(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "WORTH", 0.0)
    config = replace(CONFIG, compile_network="auto", epochs=5)
    history = train(demo_set, tmp_path / "run", config)
    assert np.isfinite(history["loss"]).all()
    assert "ms a batch, compiling took" in (tmp_path / "run/run.log").read_text()
    assert isinstance(logger.RunFolder(tmp_path / "run").config["compiled"], bool)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("dropped", [0.0, 0.3])
def test_no_step_waits_for_the_device(
    optimizer: str,
    dropped: float,
    demo_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = model.training._Training.train_batch

    def watched(self: model.training._Training, batch: dict[str, torch.Tensor]) -> None:
        if self.progress.epoch:  # the first steps choose algorithms and make the optimiser's state
            torch.cuda.set_sync_debug_mode("error")
        try:
            original(self, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(model.training._Training, "train_batch", watched)
    monkeypatch.setattr(SmallNet, "dropped", dropped)
    train(demo_set, tmp_path / "run", replace(CONFIG, optimizer=optimizer))


def test_a_bad_batch_is_named_and_left_out(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def spoilt(self: SmallNet, images: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += self.training
        return original(self, images) * (float("nan") if calls == 2 else 1.0)

    original = SmallNet.forward
    monkeypatch.setattr(SmallNet, "forward", spoilt)
    network = SmallNet()
    with pytest.raises(model.TrainingError, match=r"nan in epoch 1, batch 2, on the images DEMO_"):
        train(demo_set, tmp_path / "run", network=network)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_the_cpu_can_be_chosen(demo_set: Path, tmp_path: Path) -> None:
    network = SmallNet()
    train(demo_set, tmp_path / "run", replace(CONFIG, device="cpu"), network)
    assert network.fc.weight.device.type == "cpu"
    assert logger.RunFolder(tmp_path / "run").config["device"] == "cpu"


@pytest.mark.parametrize("name", ["arl18", "lite0"])
def test_predictions_are_those_of_a_cpu(name: str, demo_set: Path) -> None:
    prepared, rows = parts(demo_set, 64)
    loader = loaders.evaluation_loader(patches.TestViews(prepared, rows, 64, 3), 12, 0)
    torch.manual_seed(0)
    network = nets.build(name)
    expected = model.predict(network, loader)
    found = model.predict(model.placed(network, torch.device("cuda")), loader)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.fixture
def small_card() -> Iterator[None]:
    """A card of which this process may use 256 MB."""
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(min(256e6 / total, 1.0))
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.usefixtures("small_card")
def test_full_memory_is_told_and_free_again(demo_set: Path, tmp_path: Path) -> None:
    class Greedy(SmallNet):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            kept = super().forward(images)
            return kept + torch.empty(10**9, device=images.device)[:1]

    network = Greedy()
    before = torch.cuda.memory_allocated()
    with pytest.raises(memory.MemoryFullError, match=r"batch_size is 8 and image_size 32 px; of "):
        train(demo_set, tmp_path / "run", network=network)
    assert torch.cuda.memory_allocated() <= before
    assert network.fc.weight.device.type == "cpu"
