"""What every contender is given, and the loop of those whose tutorial writes it out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

import experiments
from bench import earlier
from utils.system.experiment import Task

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LEARNING_RATE = 1e-4
CLASSES = 3
SCALE = 0.6  # the smallest side of a patch for a classifier, as a fraction of the image's
STORED = 256  # px, side of what is kept of an image by those who keep it
NETWORKS = {"labels": "resnet18", "masks": "unet"}
ROWS = {"labels": "1-2", "masks": "seg-1"}

Line = Literal["fp32", "bf16", "defaults"]
Turn = Callable[[], None]  # an epoch has ended; returns when the next one may begin


@dataclass(frozen=True)
class Job:
    """The same work for all: images are rows as `data.read` gives them, patches size × size px.

    On the lines fp32 and bf16 one thread does everything; on the line "defaults" each contender
    chooses precision, threads and workers itself.
    """

    task: Task
    images: pd.DataFrame
    epochs: int
    size: int
    batch_size: int
    line: Line = "defaults"
    folder: Path = Path()  # empty, for what the contender keeps

    @property
    def loading(self) -> dict[str, Any]:
        """For a DataLoader: no workers, or what it does by itself."""
        return {} if self.line == "defaults" else {"num_workers": 0}

    def network(self) -> nn.Module:
        """ResNet-18, or the U-Net of seg-1; it takes normalised floats."""
        if self.task == "labels":
            return resnet18(num_classes=CLASSES)
        return earlier.build(NETWORKS["masks"])

    def experiment(self) -> experiments.Row:
        """The same work as a row of ours."""
        own: dict[str, Any] = {}
        if self.task == "labels":
            own = {"num_classes": CLASSES, "class_weights": (1.0,) * CLASSES}
        if self.line != "defaults":
            own |= {"precision": self.line, "workers": 0}
        row = experiments.get(
            ROWS[self.task],
            weights="none",
            image_size=self.size,
            batch_size=self.batch_size,
            epochs=self.epochs,
            learning_rate=LEARNING_RATE,
            select_score="epoch",
            side=256,
            **own,
        )
        return replace(row, network=NETWORKS[self.task])


def loop(
    job: Job,
    loader: Iterable[Any],
    loss: Callable[[Tensor, Tensor], Tensor],
    turn: Turn,
    after_step: Callable[[Tensor, Tensor], object] = lambda _logits, _labels: None,
) -> None:
    """The loop of PyTorch's tutorial; batches are pairs, or "image" and "label" by name."""
    network = job.network().to(DEVICE).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    for _ in range(job.epochs):
        running = 0.0
        for batch in loader:
            pair = (batch["image"], batch["label"]) if isinstance(batch, dict) else batch
            images, labels = (each.to(DEVICE) for each in pair)
            optimizer.zero_grad()
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=job.line == "bf16"):
                logits = network(images)
                value = loss(logits, labels)
            value.backward()
            optimizer.step()
            running += value.item()
            after_step(logits, labels)
        turn()
