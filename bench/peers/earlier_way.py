"""The two earlier projects' way, with the pieces of `bench.earlier`; fp32 only."""

from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, StackDataset

from bench import earlier
from bench.peers.job import DEVICE, Job, Turn, loop
from bench.training import criterion_of

WAY = {
    "lines": "fp32 defaults",
    "reads": "decodes every file in every epoch (PIL)",
    "augments": "torchvision v2 on PIL images: crop, affine, one after the other; no jitter",
    "step": "contiguous, AdamW",
    "besides": "nothing",
}


def train(job: Job, turn: Turn) -> None:
    """Either task."""
    experiment, masks = job.experiment(), job.task == "masks"
    columns = ["image", "mask"] if masks else ["image"]
    files: Any = earlier.Decoded(job.images[columns], earlier.training_transform(experiment))
    if not masks:
        labels: Any = job.images["label"].tolist()
        files = StackDataset(files, labels)
    loader = DataLoader(files, batch_size=job.batch_size, shuffle=True, **job.loading)
    criterion = criterion_of(experiment).to(DEVICE)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return criterion(logits, labels[:, 0].long() if masks else labels)

    loop(job, loader, loss, turn)
