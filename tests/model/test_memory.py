"""Full memory: the sentence, and what is left of the failed step."""

import subprocess
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_run import CONFIG, SmallNet, train

from utils.model import memory


def fails(error: BaseException, kept: list):
    """A forward function whose frame holds a tensor when it fails."""

    def forward(_: SmallNet, images: torch.Tensor) -> torch.Tensor:
        activations = images.float()
        kept.append(weakref.ref(activations))
        raise error

    return forward


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 4096 bytes"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_sentence_and_nothing_that_is_kept(
    error: BaseException, demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list = []
    monkeypatch.setattr(SmallNet, "forward", fails(error, kept))
    said = r"the memory of cpu is full: batch_size is 8 and image_size 32 px; of .*free.*smaller b"
    with pytest.raises(memory.MemoryFullError, match=said) as caught:
        train(demo_set, tmp_path / "run", replace(CONFIG, device="cpu"))
    # The session still has the error and its frames.
    assert caught.value.__traceback__ is not None
    assert kept[0]() is None


def test_other_errors_pass(demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SmallNet, "forward", fails(RuntimeError("shapes do not match"), []))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(demo_set, tmp_path / "run")


def test_who_else_is_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    output = f"{memory.os.getpid()}, python, 70000 MiB\n17, python train.py, 900 MiB\n"
    done = subprocess.CompletedProcess([], 0, stdout=output)
    monkeypatch.setattr(memory.shutil, "which", lambda _: "nvidia-smi")
    monkeypatch.setattr(memory.subprocess, "run", lambda *_, **__: done)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2 * 10**9, 80 * 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 70 * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    found = memory._found(CONFIG, gpu)
    assert "memory of NVIDIA H100 is full" in found
    assert "of 80.00 GB this process held 70.00 GB, and 2.00 GB were free" in found
    assert "also on the card: python train.py (process 17, 900 MiB)." in found
    assert "end the other processes" in found
    monkeypatch.setattr(memory.shutil, "which", lambda _: None)
    assert "other processes" not in memory._found(CONFIG, gpu)
