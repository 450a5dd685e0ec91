"""A training step on a ready batch: ours against the earlier code, ARL against ResNet."""

import time
from collections.abc import Callable, Iterator
from statistics import median

import torch
from torch import nn

import nets
from bench import baseline, baseline_seg, tasks
from bench.report import Result, compare
from bench.settings import Settings
from bench.timing import Work, alternate, paid_back
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
# Where networks are compiled, too. Segmenters gain nothing on a CPU: CPU seconds of a step,
# eager and compiled, on one core with AMX, batch 8 of 192 px: lite_unet 1.2 and 1.2, arl_unet 2.0
# and 2.2.
COMPILE_ON = {"labels": ("cpu", "cuda"), "masks": ("cuda",)}
EARLIER: dict[str, Callable[..., Work]] = {
    "labels": baseline.training_step,
    "masks": baseline_seg.training_step,
}


def training_step(network: nn.Module, experiment: tasks.Trained, device: torch.device) -> Work:
    """One step as `model.fit` takes it, on a batch as `loaders.collate` gives it."""
    precision = recipe.choose_precision(experiment.precision, network, device)
    network.to(device).to(memory_format=torch.channels_last).train()
    criterion = tasks.criterion(experiment).to(device)
    optimizer = recipe.make_optimizer(network, experiment)
    images, labels = tasks.ready_batch(experiment, device)

    def step() -> None:
        with recipe.autocast(device, precision):
            logits = network(images)
        value = criterion(logits.float(), labels)
        value.item()
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), experiment.clip_norm)
        optimizer.step()

    return step


def compiled_step(name: str, experiment: tasks.Trained, device: torch.device) -> tuple[Work, float]:
    """A step of the compiled network, and the seconds of its first call, which compiles."""
    network = nets.build(name)
    network.compile()
    step = training_step(network, experiment, device)
    start = time.perf_counter()
    step()
    return step, time.perf_counter() - start


def steps(name: str, experiment: tasks.Trained, settings: Settings) -> list[Result]:
    """The network's step against the earlier code's; for arl50 against our ResNet-50, too."""
    device, batch = settings.device, experiment.batch_size
    torch.manual_seed(0)
    earlier = EARLIER[experiment.task](name, experiment.image_size, batch, device)
    contenders = {"earlier code": earlier}
    networks = [name, "resnet50"] if name == "arl50" else [name]
    for each in networks:
        contenders[each] = training_step(nets.build(each), experiment, device)
    compiling = {}
    if settings.compile and device.type in COMPILE_ON[experiment.task]:
        for each in networks:
            way = f"{each} compiled"
            contenders[way], compiling[way] = compiled_step(each, experiment, device)
    rounds = min(settings.rounds, ROUNDS.get(name, settings.rounds))
    times = alternate(contenders, rounds, settings.least)
    results = list(_against_baseline(name, times, compiling, batch))
    if name == "arl50":
        for how, suffix in (("eager", ""), ("compiled", " compiled")):
            pair = f"arl50{suffix}", f"resnet50{suffix}"
            if pair[0] in times:
                measure, note = f"ARL-CNN50 over ResNet-50, {how}", "compared with ResNet-50"
                results.append(
                    compare(measure, times, *pair, batch, aim=AIM_ARL, at_most=True, note=note)
                )
    return results


def _against_baseline(
    name: str, times: dict[str, list[float]], compiling: dict[str, float], batch: int
) -> Iterator[Result]:
    """Eager and compiled; the aim is for the faster of them."""
    middle = {way: median(seconds) for way, seconds in times.items()}
    ways = {"eager": name, "compiled": f"{name} compiled"}
    ways = {how: way for how, way in ways.items() if way in times}
    fastest = min(ways.values(), key=middle.__getitem__)
    for how, way in ways.items():
        note = f"{batch / middle[way]:.1f} images/s"
        if way in compiling:
            epochs = [middle[each] * IMAGES / batch for each in (name, way)]
            paid = paid_back(compiling[way], *epochs)
            note += f"; compiling took {compiling[way]:.0f} s, {paid} ({IMAGES} images)"
        if name in ROUNDS:
            note += f"; {len(times[way])} rounds only"
        aim = AIMS.get(name) if way == fastest else None
        measure = f"{LABELS[name]} training step, {how}"
        yield compare(measure, times, "earlier code", way, batch, aim=aim, note=note)
