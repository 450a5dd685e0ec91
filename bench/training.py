"""A training step on a batch that lies ready: ours against the earlier code, ARL against ResNet."""

import time
from dataclasses import replace

import torch
from torch import nn

import nets
from bench import baseline, baseline_seg, tasks
from bench.report import Result, compare
from bench.settings import Settings
from bench.timing import Work, alternate, epochs_to_pay_off, median
from experiments import Row
from utils.model import recipe

IMAGES = 2000  # in an epoch of ISIC 2017
AIMS = {"arl18": 3.3, "arl50": 3.0}
AIM_ARL = 1.25  # time of ARL-CNN50 over that of ResNet-50
LABELS = {
    "arl18": "ARL-CNN18",
    "arl50": "ARL-CNN50",
    "unet": "UNet",
    "dense_unet": "Dense-UNet",
    "arl_unet": "ARL-UNet",
    "lite_unet": "Lite-UNet",
}
ROUNDS = {"unet": 3, "dense_unet": 3}  # where the earlier code's step takes many seconds
# Where segmenters are compiled, too. On a CPU that gains nothing: CPU seconds of a step, eager and
# compiled, on one core with AMX, batch 8 of 192 px: lite_unet 1.2 and 1.2, arl_unet 2.0 and 2.2.
SEGMENTERS_COMPILE_ON = ("cuda",)


def training_step(network: nn.Module, row: Row, device: torch.device) -> Work:
    """One step as `model.fit` takes it, on a batch as `loaders.collate` gives it."""
    precision = recipe.choose_precision(row.precision, network, device)
    network.to(device, memory_format=torch.channels_last).train()
    criterion = tasks.criterion(row).to(device)
    optimizer = recipe.make_optimizer(network, row)
    images, labels = tasks.ready_batch(row, device)

    def step() -> None:
        with recipe.autocast(device, precision):
            logits = network(images)
        value = criterion(logits.float(), labels)
        value.item()
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), row.clip_norm)
        optimizer.step()

    return step


def compiled_step(name: str, row: Row, device: torch.device) -> tuple[Work, float]:
    """A step of the compiled network, and the seconds of its first call, which compiles."""
    network = nets.build(name)
    network.compile()
    step = training_step(network, row, device)
    start = time.perf_counter()
    step()
    return step, time.perf_counter() - start


def against_baseline(name: str, settings: Settings) -> list[Result]:
    """The network's step against the earlier code's; for arl50 against our ResNet-50, too."""
    row = settings.row()
    torch.manual_seed(0)
    earlier = baseline.training_step(name, row.image_size, row.batch_size, settings.device)
    networks = [name, name.replace("arl", "resnet")] if name == "arl50" else [name]
    compiled = networks if settings.compile else []
    times, compiling = _race(earlier, networks, compiled, row, settings)
    return _step_results(name, times, compiling, row.batch_size) + (
        _arl_results(times, settings) if name == "arl50" else []
    )


def segmenter_against_baseline(name: str, settings: Settings) -> list[Result]:
    """The same for a network of `settings.SEGMENTERS`."""
    row = settings.segmenter(name)
    torch.manual_seed(0)
    earlier = baseline_seg.training_step(name, row.image_size, row.batch_size, settings.device)
    compiles = settings.compile and settings.device.type in SEGMENTERS_COMPILE_ON
    settings = replace(settings, rounds=min(settings.rounds, ROUNDS.get(name, settings.rounds)))
    times, compiling = _race(earlier, [name], [name] if compiles else [], row, settings)
    return _step_results(name, times, compiling, row.batch_size)


def _race(
    earlier: Work, networks: list[str], compiled: list[str], row: Row, settings: Settings
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Times of the earlier code's step and of our networks', and what compiling some cost."""
    device = settings.device
    contenders = {"earlier code": earlier}
    contenders |= {name: training_step(nets.build(name), row, device) for name in networks}
    compiling = {}
    for name in compiled:
        key = f"{name} compiled"
        contenders[key], compiling[key] = compiled_step(name, row, device)
    return alternate(contenders, settings.rounds, settings.least, device), compiling


def _step_results(
    name: str, times: dict[str, list[float]], compiling: dict[str, float], batch_size: int
) -> list[Result]:
    """Eager and compiled; the aim is for the faster of them."""
    results = []
    ways = [way for way in (name, f"{name} compiled") if way in times]
    fastest = min(ways, key=lambda way: median(times[way]))
    for ours in ways:
        note = f"{batch_size / median(times[ours]):.1f} images/s"
        if ours in compiling:
            note += _compile_note(compiling[ours], times[name], times[ours], batch_size)
        if name in ROUNDS:
            note += f"; {len(times[ours])} rounds only"
        results.append(
            compare(
                f"{LABELS[name]} training step, {'compiled' if ours in compiling else 'eager'}",
                times,
                "earlier code",
                ours,
                per=batch_size,
                aim=AIMS.get(name) if ours == fastest else None,
                note=note,
            )
        )
    return results


def _compile_note(cost: float, eager: list[float], fast: list[float], batch_size: int) -> str:
    epoch = [median(times) * IMAGES / batch_size for times in (eager, fast)]
    paid = epochs_to_pay_off(cost, *epoch)
    when = "never pays" if paid is None else f"paid for in epoch {paid}"
    return f"; compiling took {cost:.0f} s, {when} ({IMAGES} images)"


def _arl_results(times: dict[str, list[float]], settings: Settings) -> list[Result]:
    """ARL-CNN50 over ResNet-50 under equal settings."""
    return [
        compare(
            f"ARL-CNN50 over ResNet-50, {'compiled' if suffix else 'eager'}",
            times,
            f"arl50{suffix}",
            f"resnet50{suffix}",
            per=settings.batch_size,
            ours=f"arl50{suffix}",
            aim=AIM_ARL,
            at_most=True,
            note="compared with ResNet-50",
        )
        for suffix in ("", " compiled")
        if f"arl50{suffix}" in times
    ]
