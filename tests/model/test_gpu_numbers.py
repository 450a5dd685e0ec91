"""A GPU computes what a CPU computes: one step of every network and loss, in fp32 and in bf16."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_run
import torch
from safetensors.torch import load_file
from torch import Tensor

import nets
from nets.arl import ATTENTIONS, AttendOnCPU
from utils import data, loss, model
from utils.data import loaders
from utils.loss.table import LOSSES
from utils.model import device, recipe

pytestmark = pytest.mark.gpu

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
# A network of every kind of layer; deeper ones repeat these.
NETWORKS = ("resnet18", "resnet50", "arl18", "arl50", "lite0", "arl_lite0", *nets.SEGMENTERS)


def one_step(
    name: str, where: torch.device, precision: str, training: bool = True
) -> tuple[Tensor, Tensor]:
    """Logits of a batch, and the gradients of all weights in one vector, on the CPU."""
    torch.manual_seed(0)
    network, size = nets.build(name).train(training), 64
    images = torch.randint(0, 256, (8, size, size, 3), dtype=torch.uint8).movedim(-1, 1)
    labels = torch.arange(8) % 3
    if name in nets.SEGMENTERS:
        labels = (images[:, 0] > 127).to(torch.uint8)
    criterion = loss.build("dice" if name in nets.SEGMENTERS else "cross_entropy")
    device.placed(network, where)
    with device.ieee_convolutions():
        with recipe.autocast(where, precision):
            logits = network(images.to(where))
        criterion.to(where)(logits.float(), labels.to(where)).backward()
    gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
    return logits.detach().float().cpu(), torch.cat(gradients).float().cpu()


def apart(one: Tensor, other: Tensor) -> float:
    """The distance of two vectors over the length of the second."""
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_in_fp32(name: str) -> None:
    expected, found = one_step(name, CPU, "fp32"), one_step(name, CUDA, "fp32")
    assert apart(found[0], expected[0]) < 1e-3
    assert apart(found[1], expected[1]) < 1e-2


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_in_bf16(name: str) -> None:
    """With the running statistics of batch norm: those of a batch of noise magnify any rounding."""
    expected, _ = one_step(name, CPU, "fp32", training=False)
    logits, gradients = one_step(name, CUDA, "bf16", training=False)
    assert apart(logits, expected) < 5e-2
    assert torch.isfinite(gradients).all()


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(name: str) -> None:
    network = "unet" if "dice" in name else "resnet18"
    logits = torch.randn(6, 1 if "dice" in name or name == "binary" else 3)
    labels = torch.arange(6) % (2 if logits.shape[1] == 1 else 3)
    if network == "unet":
        logits, labels = torch.randn(6, 1, 8, 8), torch.randint(0, 2, (6, 8, 8), dtype=torch.uint8)
    values = []
    for where in (CPU, CUDA):
        given = logits.to(where).requires_grad_()
        value = loss.build(name).to(where)(given, labels.to(where))
        value.backward()
        values.append((value.detach().cpu(), given.grad.cpu()))
    for expected, found in zip(*values, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_attention_in_float64(attention: str) -> None:
    """The formula that a GPU differentiates, and the one written for a CPU."""
    function = ATTENTIONS[attention]
    results = []
    for where in (CPU, CUDA):
        torch.manual_seed(0)
        parts = [torch.randn(2, 8, 6, 5, dtype=torch.float64) for _ in range(2)]
        branch, identity = (part.to(where).requires_grad_() for part in parts)
        alpha = torch.tensor(0.7, dtype=torch.float64, device=where, requires_grad=True)
        if where == CPU:
            out = AttendOnCPU.apply(branch, identity, alpha, function)
        else:
            out = branch + identity + alpha * (function(branch) * identity)
        out.square().sum().backward()
        results.append(
            [each.detach().cpu() for each in (out, branch.grad, identity.grad, alpha.grad)]
        )
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_a_run_moves_between_devices_and_predicts_the_same(demo_set: Path, tmp_path: Path) -> None:
    config = replace(small_run.CONFIG, epochs=1, device="cuda")
    small_run.train(demo_set, tmp_path, config)
    longer = replace(config, epochs=1, device="cpu")
    history = small_run.train(demo_set, tmp_path, longer)  # finished: only loaded
    assert len(history) == 1
    network = small_run.SmallNet()
    model.load_weights(network, tmp_path / "best.safetensors")
    prepared, rows = small_run.parts(demo_set)
    loader = data.evaluation_loader(data.TestViews(prepared, rows, 32, views=3), 8, 0)
    here = model.predict(network, loader)
    there = model.predict(device.placed(network, CUDA), loader)
    np.testing.assert_allclose(there, here, atol=1e-4)


def test_a_run_killed_at_any_batch_ends_as_one_that_was_not(demo_set: Path, tmp_path: Path) -> None:
    """To the rounding of a GPU, whose sums come in any order."""
    config = replace(small_run.CONFIG, epochs=2, device="cuda", precision="fp32")
    whole = small_run.train(demo_set, tmp_path / "whole", config)
    original, count = model.training._Training.train_batch, iter(range(100))

    def killed(self: model.training._Training, batch: dict[str, Tensor]) -> None:
        if next(count) == 4:
            raise KeyboardInterrupt
        original(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.training._Training, "train_batch", killed)
        with pytest.raises(KeyboardInterrupt):
            small_run.train(demo_set, tmp_path / "killed", config)
    resumed = small_run.train(demo_set, tmp_path / "killed", config)
    np.testing.assert_allclose(resumed["loss"], whole["loss"], rtol=1e-3)
    weights = [load_file(tmp_path / run / "best.safetensors") for run in ("whole", "killed")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["arl18", "lite0"])
def test_compiled_it_gives_the_same(name: str) -> None:
    torch.manual_seed(0)
    network = device.placed(nets.build(name).eval(), CUDA)
    images = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8).movedim(-1, 1).to(CUDA)
    with torch.no_grad(), device.ieee_convolutions():
        expected = network(images)
        network.compile()
        torch.testing.assert_close(network(images), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_beside_a_gpu(
    method: str, demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = loaders.DataLoader

    def started(*given: Any, num_workers: int, **more: Any) -> torch.utils.data.DataLoader:
        context = method if num_workers else None
        return made(*given, num_workers=num_workers, multiprocessing_context=context, **more)

    monkeypatch.setattr(loaders, "DataLoader", started)
    config = replace(small_run.CONFIG, epochs=1, device="cuda", workers=1)
    assert len(small_run.train(demo_set, tmp_path, config)) == 1


def test_two_rows_on_one_card(demo_set: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from dataclasses import replace; from pathlib import Path; import small_run\n"
        "config = replace(small_run.CONFIG, device='cuda', epochs=1)\n"
        "small_run.train(Path(sys.argv[1]), Path(sys.argv[2]), config)"
    )
    helpers = Path(small_run.__file__).parent
    runs = [
        subprocess.Popen([sys.executable, "-c", script, demo_set, tmp_path / name], cwd=helpers)
        for name in "ab"
    ]
    assert [run.wait(300) for run in runs] == [0, 0]
    assert all((tmp_path / name / "best.safetensors").exists() for name in "ab")
