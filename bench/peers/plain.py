"""Plain torchvision and a DataLoader, as PyTorch's tutorials have them."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2

from bench.peers.job import SCALE, Job, Turn, loop
from nets.normalise import IMAGENET

WAY = {
    "lines": "fp32 bf16 defaults",
    "reads": "decodes every file in every epoch (PIL)",
    "augments": "torchvision v2 on uint8 tensors: crop, affine, jitter, one after the other",
    "step": "contiguous, AdamW",
    "besides": "nothing",
}


class Images(Dataset):
    """Image files and their classes."""

    def __init__(self, paths: list[str], labels: list[int], transform: v2.Transform) -> None:
        self.paths, self.labels, self.transform = paths, labels, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A normalised image (3, size, size), and its class."""
        return self.transform(default_loader(self.paths[index])), self.labels[index]


def train(job: Job, turn: Turn) -> None:
    """Classification."""
    jitter: Any = v2.ColorJitter(0.2, 0.2, 0.2)
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(job.size, scale=(SCALE**2, 1), ratio=(1, 1), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1)),
            v2.RandomApply([jitter], p=0.8),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(*IMAGENET),
        ]
    )
    images = Images(job.images["image"].tolist(), job.images["label"].tolist(), transform)
    loader = DataLoader(images, batch_size=job.batch_size, shuffle=True, **job.loading)
    loop(job, loader, torch.nn.CrossEntropyLoss(), turn)
