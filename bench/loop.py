"""The whole training loop with its loader, against the same steps on a batch that lies ready."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

import nets
from bench import tasks
from bench.report import Result, compare
from bench.settings import Settings
from bench.timing import median, ratio, seconds
from bench.training import training_step
from experiments import Row
from utils import data, logger, model
from utils.data import loaders, store

AIMS = {"arl18": 0.95}  # of the rate on a ready batch


def training_loop(row: Row, count: int, data_dir: Path, settings: Settings) -> Result:
    """`model.fit` on count batches of the prepared set; after each epoch as many of a ready one."""
    row = replace(
        row,
        epochs=settings.rounds + 1,  # the first warms up
        select_score="epoch",
        compile_network=settings.compile and settings.device.type == "cuda",
    )
    rows = data.read(data_dir)
    prepared = store.prepare(data_dir, rows, row.stored_size)
    chosen = rows[rows["split"] == "train"].head(count * row.batch_size)
    images = tasks.training_set(row, prepared, chosen)
    loader = loaders.training_loader(images, row.batch_size, row.workers)
    torch.manual_seed(0)
    network = nets.build(row.network)
    ready: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run = logger.start_run(Path(folder) / "run", row, {"fingerprint": "bench"})
        score = _score(network, ready, len(loader), row, settings.device)
        model.fit(network, tasks.criterion(row), loader, score, run, row)
        timing = pd.read_csv(run / "timing.csv")
    loop = (timing["seconds"] / len(loader)).tolist()[1:]
    times = {"ready batch": ready[1:], "loop": loop}
    waiting = 1 - ratio(times["ready batch"], times["loop"])
    return compare(
        f"{row.network} training loop, share of the rate on a ready batch",
        times,
        "ready batch",
        "loop",
        per=row.batch_size,
        aim=AIMS.get(row.network),
        note=f"{row.batch_size / median(loop):.1f} images/s, {waiting:.1%} of the time not spent "
        f"in steps, {loader.num_workers} workers",
    )


def _score(
    network: torch.nn.Module, ready: list[float], steps: int, row: Row, device: torch.device
) -> Callable[..., dict[str, float]]:
    """What `fit` calls after each epoch: time the network that it trains on a ready batch."""

    def score(_predict: model.training.Predict) -> dict[str, float]:
        step = training_step(network, row, device)
        step()
        ready.append(seconds(step, steps, device))
        return {"epoch": float(len(ready))}

    return score
