"""What training classifiers and segmenters differ in: the loss, a ready batch, the images."""

import pandas as pd
import torch
from torch import Tensor, nn

from experiments import Row, SegmentationRow
from utils import loss, task
from utils.data import loaders
from utils.data.store import Store


def criterion(row: Row) -> nn.Module:
    """The row's loss."""
    return loss.build(row.loss, row.class_weights, row.gamma)


def ready_batch(row: Row, device: torch.device) -> tuple[Tensor, Tensor]:
    """Noise as `loaders.collate` gives images: (B, 3, H, W) uint8, channels_last; and its labels.

    Labels are (B,) classes, or for a segmenter (B, H, W) uint8 masks of 0/1, half of it lesion.
    """
    if isinstance(row, SegmentationRow):
        width, height = row.image_size
        labels = torch.randint(0, 2, (row.batch_size, height, width), dtype=torch.uint8)
    else:
        width = height = row.image_size
        labels = torch.arange(row.batch_size) % row.num_classes
    images = torch.randint(0, 256, (row.batch_size, height, width, 3), dtype=torch.uint8)
    return images.to(device).movedim(-1, -3), labels.to(device)


def training_set(row: Row, prepared: Store, rows: pd.DataFrame) -> loaders.TrainingSet:
    """The row's augmented images from the store."""
    return task.of(row).training_set(row, prepared, rows)
