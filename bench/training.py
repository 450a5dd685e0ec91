"""Training: a step against the earlier code's, ARL against ResNet, the loop against its steps."""

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

import nets
from bench import earlier
from bench.report import Result, compare
from bench.settings import NETWORKS, Settings
from bench.timing import Work, alternate, paid_back, ratio, timer
from experiments import Row
from utils import data, logger, loss, model, task
from utils.model import recipe
from utils.model.compiling import WORTH, next_epoch

IMAGES = 2000  # in an epoch of ISIC 2017
AIMS_ARL = {"cpu": 1.2, "cuda": 1.1}  # time of ARL-CNN50 over that of ResNet-50, at most
AIMS_LOOP = {"arl18": 0.97, "lite0": 0.97}  # of the rate on a ready batch
WAYS = {"eager": "", "compiled": " compiled"}  # and what they add to a contender's name
# Where networks are compiled, too. Segmenters gain nothing on a CPU: CPU seconds of a step,
# eager and compiled, on one core with AMX, batch 8 of 192 px: lite_unet 1.2 and 1.2, arl_unet 2.0
# and 2.2.
COMPILE_ON = {"labels": ("cpu", "cuda"), "masks": ("cuda",)}


def steps(name: str, settings: Settings) -> Iterator[Result]:
    """The network's step against the earlier code's; for arl50 against our ResNet-50, too."""
    experiment, device = settings.experiment(name), settings.device
    networks = [name, "resnet50"] if name == "arl50" else [name]
    torch.manual_seed(0)
    batch, criterion = ready_batch(experiment, device), criterion_of(experiment).to(device)
    contenders: dict[str, Work] = {
        "earlier code": earlier.training_step(earlier.build(name), criterion, *batch)
    }
    for each in networks:
        contenders[each] = training_step(nets.build(each), experiment, device)
    compiling = {}
    if settings.compile and device.type in COMPILE_ON[experiment.task]:
        for each in networks:
            way = each + WAYS["compiled"]
            contenders[way], compiling[way] = compiled_step(each, experiment, device)
    rounds = min(settings.rounds, NETWORKS[name].rounds or settings.rounds)
    times = alternate(contenders, rounds, settings.least)
    yield from _against_earlier(name, times, compiling, experiment.batch_size)
    for how, suffix in WAYS.items() if name == "arl50" else ():
        pair = {each + suffix: times.get(each + suffix, []) for each in networks}
        if all(pair.values()):
            measure, note = f"ARL-CNN50 over ResNet-50, {how}", "compared with ResNet-50"
            size = experiment.batch_size
            yield compare(
                measure, pair, size, aim=AIMS_ARL.get(device.type), at_most=True, note=note
            )


def _against_earlier(
    name: str, times: dict[str, list[float]], compiling: dict[str, float], batch: int
) -> Iterator[Result]:
    """Eager and compiled; the aim is for the faster of them."""
    label, _, aim, rounds = NETWORKS[name]
    middle = {way: median(seconds) for way, seconds in times.items()}
    ways = {how: name + suffix for how, suffix in WAYS.items() if name + suffix in times}
    fastest = min(ways.values(), key=middle.__getitem__)
    for how, way in ways.items():
        note = f"{batch / middle[way]:.1f} images/s"
        if way in compiling:
            epochs = [middle[each] * IMAGES / batch for each in (name, way)]
            paid = paid_back(compiling[way], *epochs)
            note += f"; compiling took {compiling[way]:.0f} s, {paid} ({IMAGES} images)"
            note += f"; {auto_would(*epochs)}"
        if rounds:
            note += f"; {len(times[way])} rounds only"
        measure, own_aim = f"{label} training step, {how}", aim if way == fastest else None
        pair = {each: times[each] for each in ("earlier code", way)}
        yield compare(measure, pair, batch, aim=own_aim, note=note)


def auto_would(eager: float, compiled: float) -> str:
    """What `compile_network="auto"` does on a CUDA device, by the seconds of an epoch.

    >>> auto_would(eager=60, compiled=59)
    'auto tries it where 11 epochs are left, and keeps it'
    >>> auto_would(eager=60, compiled=61)
    'auto tries it where 11 epochs are left, and drops it'
    """
    left = math.floor(WORTH / eager) + 1
    kept, _ = next_epoch([eager, eager, compiled, compiled], left)
    return f"auto tries it where {left} epochs are left, and {'keeps' if kept else 'drops'} it"


def training_set(experiment: Row, count: int, settings: Settings) -> data.loaders.TrainingSet:
    """Enough images of the prepared set for count batches."""
    images = data.read(settings.data_dir)
    prepared = data.prepare(settings.data_dir, images, experiment.stored_size)
    images = images[images["split"] == "train"].head(count * experiment.batch_size)
    return task.of(experiment).training_set(experiment, prepared, images)


def loop(name: str, count: int, settings: Settings, **way: Any) -> Result:
    """`model.fit` on count batches of the prepared set; after each epoch as many of a ready one.

    way: `loader` and `workers` of the experiment, by default its own.
    """
    experiment = replace(
        settings.experiment(name),
        epochs=settings.rounds + 1,  # the first warms up
        select_score="epoch",
        compile_network=settings.compile and settings.device.type == "cuda",
        **way,
    )
    batch, trained = experiment.batch_size, training_set(experiment, count, settings)
    given = experiment.workers, experiment.loader, settings.device
    loader = data.training_loader(trained, batch, *given)
    torch.manual_seed(0)
    network = nets.build(name)
    ready: list[float] = []

    def time_ready_batch(_predict: Callable) -> dict[str, float]:
        """What `fit` calls after each epoch: the network that it trains, on a ready batch."""
        step = training_step(network, experiment, settings.device)
        ready.append(timer(step).timeit(len(loader)).mean)
        return {"epoch": float(len(ready))}

    with tempfile.TemporaryDirectory() as folder:
        run = logger.start_run(Path(folder) / "run", experiment, {"fingerprint": "bench"})
        model.fit(network, criterion_of(experiment), loader, time_ready_batch, run, experiment)
        seconds = pd.read_csv(run / "timing.csv")["seconds"]
    ours = (seconds / len(loader)).tolist()[1:]
    times = {"ready batch": ready[1:], "loop": ours}
    note = f"{batch / median(ours):.1f} images/s, {1 - ratio(ready[1:], ours):.1%} of the time "
    note += f"not spent in steps, {loader.num_workers} workers"
    kind = data.resident.loader_kind(loader)
    measure = f"{name} training loop ({kind}), share of the rate on a ready batch"
    return compare(measure, times, batch, aim=AIMS_LOOP.get(name), note=note)


def training_step(network: nn.Module, experiment: Row, device: torch.device) -> Work:
    """One step as `model.fit` takes it, on a batch as `loaders.collate` gives it."""
    precision = recipe.choose_precision(experiment.precision, network, device)
    network.to(device).to(memory_format=torch.channels_last).train()
    criterion = criterion_of(experiment).to(device)
    optimizer = recipe.make_optimizer(network, experiment)
    images, labels = ready_batch(experiment, device)

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


def compiled_step(name: str, experiment: Row, device: torch.device) -> tuple[Work, float]:
    """A step of the compiled network, and the seconds of its first call, which compiles."""
    network = nets.build(name)
    network.compile()
    step = training_step(network, experiment, device)
    start = time.perf_counter()
    step()
    return step, time.perf_counter() - start


def criterion_of(experiment: Row) -> nn.Module:
    """The experiment's loss."""
    return loss.build(experiment.loss, experiment.class_weights, experiment.gamma)


def ready_batch(experiment: Row, device: torch.device) -> tuple[Tensor, Tensor]:
    """Noise as `loaders.collate` gives images: (B, 3, H, W) uint8, channels_last; and its labels.

    Labels are (B,) classes, or for a segmenter (B, H, W) uint8 masks of 0/1, half of it lesion.
    """
    count = experiment.batch_size
    if experiment.task == "masks":
        width, height = experiment.image_size
        labels = torch.randint(0, 2, (count, height, width), dtype=torch.uint8)
    else:
        width = height = experiment.image_size
        labels = torch.arange(count) % experiment.num_classes
    images = torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8)
    return images.to(device).movedim(-1, -3), labels.to(device)
