"""segmentation_models.pytorch, as its examples train a binary segmenter, without Lightning."""

from typing import Any

import albumentations as A
import cv2
import numpy as np
import segmentation_models_pytorch as smp
from albumentations.pytorch import ToTensorV2
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.peers.job import Job, Turn, loop

WAY = {
    "lines": "fp32 bf16 defaults",
    "reads": "decodes every file in every epoch (OpenCV)",
    "augments": "albumentations: resize, flips, affine, jitter, one after the other",
    "step": "contiguous, AdamW",
    "besides": "counts TP, FP, FN and TN of every training batch",
}


class Pairs(Dataset):
    """Image files and the files of their masks."""

    def __init__(self, images: list[str], masks: list[str], transform: A.Compose) -> None:
        self.images, self.masks, self.transform = images, masks, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """A normalised image (3, size, size), and its mask (1, size, size) of 0.0 and 1.0."""
        photo: Any = cv2.imread(self.images[index])
        image = cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)
        mask: Any = cv2.imread(self.masks[index], cv2.IMREAD_GRAYSCALE)
        seen = self.transform(image=image, mask=(mask > 127).astype(np.float32))
        return seen["image"], seen["mask"][None]


def train(job: Job, turn: Turn) -> None:
    """Segmentation."""
    transform = A.Compose(
        [
            A.Resize(job.size, job.size),
            A.HorizontalFlip(),
            A.VerticalFlip(),
            A.RandomRotate90(),
            A.Affine(scale=(0.7, 1.4), translate_percent=0.1, rotate=(-20, 20), p=1.0),
            A.ColorJitter(0.2, 0.2, 0.2, 0.0, p=0.8),
            A.Normalize(),
            ToTensorV2(),
        ]
    )
    pairs = Pairs(job.images["image"].tolist(), job.images["mask"].tolist(), transform)
    loader = DataLoader(pairs, batch_size=job.batch_size, shuffle=True, **job.loading)
    dice = smp.losses.DiceLoss("binary", from_logits=True)
    entropy = smp.losses.SoftBCEWithLogitsLoss()
    counts: list[tuple[Tensor, ...]] = []

    def count(logits: Tensor, masks: Tensor) -> None:
        found = logits.sigmoid() > 0.5
        counts.append(smp.metrics.get_stats(found.long(), masks.long(), mode="binary"))

    loop(
        job, loader, lambda logits, masks: dice(logits, masks) + entropy(logits, masks), turn, count
    )
