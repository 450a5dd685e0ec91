"""Which device is used, and the sentence where it cannot be; on faked machines."""

import os

import pytest
import torch
from torch import nn

from utils.model import device
from utils.system import machine

H100 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]  # what wheels are built for


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch):
    """A function that fakes a usable driver and a card of this compute capability."""

    def fake(capability: tuple[int, int], built: list[str] = H100) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Fake V1")

    return fake


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch):
    """A function that fakes a torch without a usable card, for this reason."""

    def fake(reason: str, visible: bool = True, kind: type[Exception] = RuntimeError) -> None:
        def init() -> None:
            raise kind(reason)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.cuda, "init", init)
        monkeypatch.setattr(device, "_has_nvidia_card", lambda: visible)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return fake


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        ((9, 0), H100, True),
        ((7, 5), H100, True),
        ((8, 9), H100, True),  # by sm_86
        ((7, 0), H100, False),  # V100
        ((6, 1), H100, False),
        ((11, 0), H100, False),  # newer, and without PTX
        ((11, 0), [*H100, "compute_100"], True),
        ((12, 1), ["sm_90a", "sm_120"], True),
        ((9, 0), [], True),  # unknown: torch decides
    ],
)
def test_a_card_without_kernels_is_told(card, capability, built, runs: bool) -> None:
    card(capability, built)
    fault = device.gpu_fault()
    assert not fault if runs else "no kernels for the Fake V1 (compute capability" in fault


OLD = "The NVIDIA driver on your system is too old (found version 12040). Please update your GPU"


@pytest.mark.parametrize(
    ("reason", "visible", "kind", "said"),
    [
        (OLD, False, RuntimeError, r"driver is too old: it supports CUDA 12\.4, and .* needs"),
        ("Torch not compiled with CUDA enabled", True, AssertionError, r"GPU here \(Torch not"),
        ("Found no NVIDIA driver on your system. Please", True, RuntimeError, "Found no NVIDIA"),
    ],
)
def test_a_card_that_cannot_be_used_is_told_before_hours_on_the_cpu(
    no_card, reason, visible, kind, said, capsys
) -> None:
    no_card(reason, visible, kind)
    assert device.choose_device() == torch.device("cpu")
    assert "The CPU is used instead: see 'GPUs' in README.md" in capsys.readouterr().out
    with pytest.raises(device.DeviceError, match=rf"device is 'cuda', but .*{said}.*: see 'GPUs'"):
        device.choose_device("cuda")
    assert device.choose_device("cpu") == torch.device("cpu")
    assert not capsys.readouterr().out


def test_without_a_card_nothing_is_told(no_card, capsys) -> None:
    no_card("Found no NVIDIA driver on your system", visible=False)
    assert device.choose_device().type in ("cpu", "mps")
    assert not capsys.readouterr().out
    with pytest.raises(device.DeviceError, match="device is 'cuda', but torch finds no GPU"):
        device.choose_device("cuda")


def test_a_card_that_is_hidden_on_purpose_is_none(no_card, monkeypatch, capsys) -> None:
    no_card("No CUDA GPUs are available")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert device.choose_device().type in ("cpu", "mps")
    assert not capsys.readouterr().out


def test_an_unknown_device_lists_the_known(monkeypatch) -> None:
    with pytest.raises(ValueError, match="device is 'gpu'; expected one of auto, cpu, cuda, mps"):
        device.choose_device("gpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(device.DeviceError, match="no Mac with Apple silicon; use 'auto'"):
        device.choose_device("mps")


def test_the_parameter_decides_not_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")
    assert device.choose_device() == torch.device("meta")
    assert device.accelerator(torch.device("cpu")).device == torch.device("cpu")
    assert os.environ["ACCELERATE_TORCH_DEVICE"] == "meta"
    monkeypatch.delenv("ACCELERATE_TORCH_DEVICE")
    assert device.accelerator(torch.device("meta")).device == torch.device("meta")
    assert "ACCELERATE_TORCH_DEVICE" not in os.environ


def test_maps_are_contiguous_on_apples_gpus_only() -> None:
    layer = device.placed(nn.Conv2d(4, 4, 3), torch.device("cpu"))
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert device.layout(torch.device("mps")) == torch.contiguous_format
    images = torch.zeros(2, 8, 8, 3).movedim(-1, 1)  # as a loader gives them
    assert device.laid_out(images, torch.device("cpu")) is images
    assert device.laid_out(images, torch.device("mps")).is_contiguous()


def test_predictions_and_training_have_their_own_arithmetic() -> None:
    device.accelerator(torch.device("cpu"))
    assert torch.backends.cudnn.allow_tf32
    with device.ieee_convolutions():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("cpuinfo", "elsewhere", "made_by"),
    [
        ("vendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 9654\n", "x86_64", "AMD"),
        ("vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Processor\n", "", "Intel"),
        ("CPU implementer\t: 0x41\n", "aarch64", ""),
        ("", "AMD64 Family 25 Model 97 Stepping 2, AuthenticAMD", "AMD"),  # Windows
    ],
)
def test_the_maker_of_the_processor(cpuinfo, elsewhere, made_by, monkeypatch, tmp_path) -> None:
    file = tmp_path / "cpuinfo"
    if cpuinfo:
        file.write_text(cpuinfo)
    monkeypatch.setattr(machine, "Path", lambda _: file)
    monkeypatch.setattr(machine.platform, "processor", lambda: elsewhere)
    assert machine.vendor() == made_by
