"""The whole training loop with its loader, against the same steps on a batch that lies ready."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

import nets
from bench.report import Result, compare
from bench.settings import Settings
from bench.timing import median, ratio, seconds
from bench.training import training_step
from utils import data, loaders, logger, loss, model, store

AIM = 0.95  # of the rate on a ready batch


def training_loop(name: str, data_dir: Path, settings: Settings) -> Result:
    """`model.fit` on the prepared set; after each epoch, as many steps on a ready batch."""
    row = replace(
        settings.row(),
        network=name,
        epochs=settings.rounds + 1,  # the first warms up
        select_score="epoch",
        compile_network=settings.compile and settings.device.type == "cuda",
    )
    rows = data.read(data_dir)
    prepared = store.prepare(data_dir, rows, row.stored_size)
    chosen = rows[rows["split"] == "train"].head(settings.loop_batches * row.batch_size)
    transform = loaders.training_transform(row.image_size, row.patch_scales, row.colour)
    patches = loaders.TrainingPatches(prepared, chosen, transform, row.seed)
    loader = loaders.training_loader(patches, row.batch_size, row.workers)
    torch.manual_seed(0)
    network = nets.build(name)
    ready: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run = logger.start_run(Path(folder) / "run", row, {"fingerprint": "bench"})
        criterion = loss.build(row.loss, row.class_weights, row.gamma)
        score = _score(network, ready, len(loader), settings)
        model.fit(network, criterion, loader, score, run, row)
        timing = pd.read_csv(run / "timing.csv")
    loop = (timing["seconds"] / len(loader)).tolist()[1:]
    times = {"ready batch": ready[1:], "loop": loop}
    waiting = 1 - ratio(times["ready batch"], times["loop"])
    return compare(
        f"{name} training loop, share of the rate on a ready batch",
        times,
        "ready batch",
        "loop",
        per=row.batch_size,
        aim=AIM,
        note=f"{row.batch_size / median(loop):.1f} images/s, {waiting:.1%} of the time not spent "
        f"in steps, {loader.num_workers} workers",
    )


def _score(
    network: torch.nn.Module, ready: list[float], steps: int, settings: Settings
) -> Callable[..., dict[str, float]]:
    """What `fit` calls after each epoch: time the network that it trains on a ready batch."""

    def score(_predict: model.Predict) -> dict[str, float]:
        step = training_step(network, settings)
        step()
        ready.append(seconds(step, steps, settings.device))
        return {"epoch": float(len(ready))}

    return score
