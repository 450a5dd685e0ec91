"""This project, as the training notebooks use it."""

from itertools import count

import nets
from bench.peers.job import DEVICE, NETWORKS, Job, Turn
from bench.training import criterion_of
from utils import data, logger, model, task

WAY = {
    "lines": "fp32 bf16 defaults",
    "reads": "decodes once into a store of 256 px, memory-mapped",
    "augments": "one warp and one colour matrix by OpenCV, uint8",
    "step": "channels_last, fused AdamW, gradients clipped, losses checked to be finite",
    "besides": "writes a checkpoint and the best weights after each epoch; resumes exactly",
}


def train(job: Job, turn: Turn) -> None:
    """`model.fit` on the prepared images; it is scored by the number of the epoch."""
    experiment, epochs = job.experiment(), count(1)
    prepared = data.prepare(job.folder, job.images, experiment.stored_size)
    trained = task.of(experiment).training_set(experiment, prepared, job.images)
    loader = data.training_loader(
        trained, experiment.batch_size, experiment.workers, experiment.loader, DEVICE
    )
    run = logger.start_run(job.folder / "run", experiment, {"fingerprint": "bench"})

    def score(_predict: object) -> dict[str, float]:
        turn()
        return {"epoch": float(next(epochs))}

    network = nets.build(NETWORKS[job.task])
    model.fit(network, criterion_of(experiment), loader, score, run, experiment)
