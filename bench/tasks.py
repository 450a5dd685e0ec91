"""What training classifiers and segmenters differ in: the loss and a ready batch."""

import torch
from torch import Tensor, nn

from experiments import ClassificationRow, SegmentationRow
from utils import loss

Trained = ClassificationRow | SegmentationRow


def criterion(experiment: Trained) -> nn.Module:
    """The experiment's loss."""
    return loss.build(experiment.loss, experiment.class_weights, experiment.gamma)


def ready_batch(experiment: Trained, device: torch.device) -> tuple[Tensor, Tensor]:
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
