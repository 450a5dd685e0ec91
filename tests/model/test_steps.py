"""Steps that wait for nothing: the losses come later, and nothing that is no number gets in."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from small_run import CONFIG, SmallNet, same_files, train
from torch import nn

from nets.arl import ARLNet
from utils import model
from utils.model import checkpoints, recipe, steps

LATE = 2  # of 3 batches an epoch: read in mid-epoch, and at its end


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses are read as on a GPU, not at once."""
    monkeypatch.setitem(steps.READ_EVERY, "cpu", LATE)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_reading_late_changes_no_bit(
    optimizer: str, demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, optimizer=optimizer)
    train(demo_set, tmp_path / "at once", config)
    monkeypatch.setitem(steps.READ_EVERY, "cpu", 50)
    train(demo_set, tmp_path / "late", config)
    same_files(tmp_path / "at once", tmp_path / "late")


def spoil(monkeypatch: pytest.MonkeyPatch, call: int, part: str) -> list[dict]:
    """Spoil loss or gradient of the step number `call`; gives the states before each step."""
    before: list[dict] = []
    original = model.training._Training.train_batch

    def spoilt(self: model.training._Training, batch: dict) -> None:
        state = {name: value.clone() for name, value in self.network.state_dict().items()}
        before.append({"images": self.dataset.ids[batch["index"][0]], "state": state})
        original(self, batch)

    def hook(_: nn.Module, __: tuple, logits: torch.Tensor) -> torch.Tensor:
        if not logits.requires_grad or len(before) != call:
            return logits
        if part == "gradient":
            logits.register_hook(lambda gradient: gradient * float("inf"))
            return logits
        return logits * float("nan")

    monkeypatch.setattr(model.training._Training, "train_batch", spoilt)
    before_init = SmallNet.__init__

    def hooked(self: SmallNet, *arguments: int) -> None:
        before_init(self, *arguments)
        self.register_forward_hook(hook)

    monkeypatch.setattr(SmallNet, "__init__", hooked)
    return before


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize(
    ("call", "part", "said"),
    [
        (1, "loss", r"the loss became nan in epoch 1, batch 1, on the images DEMO_0.*8 in all"),
        (2, "loss", r"the loss became nan in epoch 1, batch 2, on the images DEMO_0.*8 in all"),
        (3, "loss", r"the loss became nan in epoch 1, batch 3, on the images DEMO_0.*8 in all"),
        (5, "gradient", r"the gradient's norm became \w+ in epoch 2, batch 2, on .*8 in all"),
    ],
)
def test_a_bad_step_and_all_after_it_are_left_out(
    optimizer: str,
    call: int,
    part: str,
    said: str,
    demo_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = spoil(monkeypatch, call, part)
    network = SmallNet()
    with pytest.raises(model.TrainingError, match=said) as error:
        train(demo_set, tmp_path / "run", replace(CONFIG, optimizer=optimizer), network)
    assert f"on the images {before[call - 1]['images']}" in str(error.value)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[call - 1]["state"][name]), name
    epochs = (call - 1) // 3  # complete ones
    history = tmp_path / "run/history.csv"
    assert (len(pd.read_csv(history)) if history.exists() else 0) == epochs


@pytest.mark.usefixtures("late")
def test_no_checkpoint_while_a_loss_is_unread(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 5, "loss")
    monkeypatch.setattr(model.training, "SAVE_EVERY", 0.0)  # after every batch
    with pytest.raises(model.TrainingError, match="last good state is kept"):
        train(demo_set, tmp_path / "run")
    network = SmallNet()
    optimizer = recipe.make_optimizer(network, CONFIG)
    done = checkpoints.load_checkpoint(tmp_path / "run/last.pt", network, optimizer)
    assert (done.epoch, done.batch) == (1, 1)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_only_what_draws_is_seeded(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded: list[tuple[int, ...]] = []
    original = steps.seed_torch
    monkeypatch.setattr(steps, "seed_torch", lambda *n: (seeded.append(n), original(*n)))
    train(demo_set, tmp_path / "dropout")
    assert seeded == [(0, epoch, batch) for epoch in range(3) for batch in range(3)]
    seeded.clear()
    monkeypatch.setattr(SmallNet, "dropped", 0.0)
    train(demo_set, tmp_path / "none")
    assert seeded == [(0, 0, 0)]


def test_an_sgd_run_from_a_cpu_resumes_on_a_gpu(tmp_path: Path) -> None:
    """Its optimiser was not a fused one, and such a one cannot leave out a step."""
    network = SmallNet()
    old = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    checkpoints.save_checkpoint(tmp_path / "last.pt", network, old, checkpoints.Progress())
    new = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, fused=True)
    checkpoints.load_checkpoint(tmp_path / "last.pt", network, new)
    watched = steps.Steps(network, new, torch.device("cpu"))
    watched.bad.fill_(1)
    before = network.fc.weight.clone()
    network.fc.weight.grad = torch.full_like(before, float("nan"))
    new.step()
    assert torch.equal(network.fc.weight, before)


@pytest.mark.parametrize("decay", ["weights", "all"])
def test_which_parameters_decay(decay: str) -> None:
    network = ARLNet(14, 3)
    optimizer = recipe.make_optimizer(network, replace(CONFIG, decay=decay, weight_decay=0.3))
    of = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(of) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        plain = name.endswith(("bias", "alpha")) or ".bn" in name or name.startswith("bn")
        other = plain or ".downsample.1." in name
        assert of[id(parameter)] == (0.0 if other and decay == "weights" else 0.3), name


def test_noise_is_gaussian_and_of_the_step() -> None:
    images = torch.full((8, 3, 64, 64), 128, dtype=torch.uint8)
    assert steps.noisy(images, 0.0) is images
    torch.manual_seed(1)
    first = steps.noisy(images, 0.02)
    torch.manual_seed(1)
    assert torch.equal(first, steps.noisy(images, 0.02))
    assert first.dtype == torch.uint8
    values = first.float()
    assert values.mean().item() == pytest.approx(128, abs=0.1)
    # A twelfth of a grey value's variance is added by rounding.
    assert values.var().item() == pytest.approx((255 * 0.02) ** 2 + 1 / 12, rel=0.02)
    assert not torch.equal(first[0], first[1])
    black = steps.noisy(torch.zeros_like(images), 0.1)  # clipped, not wrapped
    assert black.float().median() == 0
    assert black.max() < 200


def test_a_run_with_noise_repeats(demo_set: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, noise=0.05)
    train(demo_set, tmp_path / "plain", CONFIG)
    for name in ("one", "other"):
        train(demo_set, tmp_path / name, config)
    histories = {f: pd.read_csv(tmp_path / f / "history.csv") for f in ("plain", "one", "other")}
    pd.testing.assert_frame_equal(histories["one"], histories["other"])
    assert (histories["one"]["loss"] != histories["plain"]["loss"]).all()
