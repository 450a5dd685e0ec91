"""What a GPU does: steps, where the images come from, and how long it waits within a step."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, schedule

import nets
from bench.report import Result
from bench.settings import ON_GPU, Settings
from bench.training import criterion_of, loop, steps, training_set
from utils import data, logger, model

AIM_WAITING = 0.05  # of the time between the first and the last kernel


def all_of_it(settings: Settings) -> Iterator[Result]:
    """The most telling first: what the time limit cuts off is lost."""
    for name in ON_GPU:
        yield from steps(name, settings)
    for name in ("arl18", "lite_unet"):
        yield waiting(name, settings)
    count = settings.loop_batches
    yield loop("arl18", count, settings, loader="resident")
    for workers in settings.worker_counts:
        yield loop("arl18", count, settings, loader="workers", workers=workers)
    yield loop("lite_unet", settings.mask_loop_batches, settings, loader="resident")


class _Watched(data.resident.ResidentLoader):
    """A loader that tells a profiler where a step begins."""

    profiler: Any

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for batch in super().__iter__():
            self.profiler.step()
            yield batch


def waiting(name: str, settings: Settings) -> Result:
    """The share of the time of some steps of `model.fit` in which no kernel runs.

    On a CPU nothing is watched, and the share is unknown.
    """
    before, watched = settings.watched
    experiment = replace(settings.experiment(name), epochs=1, select_score="epoch")
    trained = training_set(experiment, before + watched + 1, settings)
    loader = _Watched(trained, experiment.batch_size, settings.device)
    on_gpu = settings.device.type == "cuda"
    kinds = [ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
    plan = schedule(wait=1, warmup=max(1, before - 1), active=max(1, watched - 1), repeat=1)
    with (
        tempfile.TemporaryDirectory() as folder,
        profile(activities=kinds, schedule=plan, acc_events=True) as loader.profiler,
    ):
        run = logger.start_run(Path(folder) / "run", experiment, {"fingerprint": "bench"})
        loss, network = criterion_of(experiment), nets.build(name)
        model.fit(network, loss, loader, lambda _: {"epoch": 1.0}, run, experiment)
    events = [e.time_range for e in loader.profiler.events() if e.device_type == DeviceType.CUDA]
    share = idle(sorted((each.start, each.end) for each in events))
    measure = f"{name} training, share of the time in which the GPU waits"
    note = f"{watched - 1} steps after {before}, {len(events)} kernels and copies"
    return Result(measure, None, share, "", share, AIM_WAITING, at_most=True, note=note)


def idle(busy: list[tuple[float, float]]) -> float | None:
    """The share of the time from the first to the last in no interval; they begin in order.

    >>> idle([(0, 2), (1, 3), (4, 5), (4, 4.5), (6, 10)])
    0.2
    >>> idle([]) is None
    True
    """
    if not busy:
        return None
    ends = [busy[0][1]]
    for _, end in busy[1:]:
        ends.append(max(end, ends[-1]))
    begins = [begin for begin, _ in busy]
    gaps = (max(0.0, begin - end) for begin, end in zip(begins[1:], ends, strict=False))
    return sum(gaps) / (ends[-1] - begins[0])
