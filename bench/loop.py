"""The whole training loop with its loader, against the same steps on a ready batch."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import pandas as pd
import torch

import nets
from bench import tasks
from bench.report import Result, compare
from bench.settings import Settings
from bench.timing import ratio, timer
from bench.training import training_step
from utils import data, logger, model, task
from utils.data import loaders, store

AIMS = {"arl18": 0.95}  # of the rate on a ready batch


def training_loop(
    experiment: tasks.Trained, count: int, data_dir: Path, settings: Settings
) -> Result:
    """`model.fit` on count batches of the prepared set; after each epoch as many of a ready one."""
    experiment = replace(
        experiment,
        epochs=settings.rounds + 1,  # the first warms up
        select_score="epoch",
        compile_network=settings.compile and settings.device.type == "cuda",
    )
    images, batch = data.read(data_dir), experiment.batch_size
    prepared = store.prepare(data_dir, images, experiment.stored_size)
    images = images[images["split"] == "train"].head(count * batch)
    trained = task.of(experiment).training_set(experiment, prepared, images)
    loader = loaders.shuffled_loader(trained, batch, experiment.workers)
    torch.manual_seed(0)
    network = nets.build(experiment.network)
    ready: list[float] = []

    def time_ready_batch(_predict: Callable) -> dict[str, float]:
        """What `fit` calls after each epoch: the network that it trains, on a ready batch."""
        step = training_step(network, experiment, settings.device)
        ready.append(timer(step).timeit(len(loader)).mean)
        return {"epoch": float(len(ready))}

    with tempfile.TemporaryDirectory() as folder:
        run = logger.start_run(Path(folder) / "run", experiment, {"fingerprint": "bench"})
        loss = tasks.criterion(experiment)
        model.fit(network, loss, loader, time_ready_batch, run, experiment)
        seconds = pd.read_csv(run / "timing.csv")["seconds"]
    ours = (seconds / len(loader)).tolist()[1:]
    times = {"ready batch": ready[1:], "loop": ours}
    note = f"{batch / median(ours):.1f} images/s, {1 - ratio(ready[1:], ours):.1%} of the time "
    note += f"not spent in steps, {loader.num_workers} workers"
    name = f"{experiment.network} training loop, share of the rate on a ready batch"
    return compare(
        name, times, "ready batch", "loop", batch, aim=AIMS.get(experiment.network), note=note
    )
