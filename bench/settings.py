"""How large the measurements are."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

import experiments

# The rows from scratch, where there are two.
SEGMENTERS = {"unet": "seg-1", "dense_unet": "seg-2", "arl_unet": "seg-5", "lite_unet": "seg-6"}


@dataclass(frozen=True)
class Settings:
    """What `python -m bench` was asked for; the defaults are what is reported."""

    image_size: int = 224
    batch_size: int = 16
    mask_size: int = 192  # of images with masks
    mask_batch_size: int = 8
    rounds: int = 7
    preparing_rounds: int = 5  # each decodes the whole set
    least: float = 0.5  # seconds of one turn of one contender
    compile: bool = True
    loop_batches: int = 16  # in an epoch of the training loop
    mask_loop_batches: int = 4
    images: int = 192  # in an epoch of the prepared set's data; training drops a part of a batch
    memory_counts: tuple[int, ...] = (2_000, 20_000, 100_000)
    fullres: Path | None = None  # a folder with images of the original size
    device: torch.device = field(
        default_factory=lambda: torch.device("cuda" if torch.cuda.is_available() else "cpu")
    )

    def row(self, profile: str = "best") -> experiments.Row:
        """A row of the experiments at this size: whose recipe, data and loss are measured."""
        return experiments.get(
            "1-5", profile, image_size=self.image_size, batch_size=self.batch_size, weights="none"
        )

    def segmenter(self, network: str) -> experiments.Row:
        """The same for a network of SEGMENTERS."""
        size, batch = self.mask_size, self.mask_batch_size
        name = SEGMENTERS[network]
        return experiments.get(name, image_size=size, batch_size=batch, weights="none")


QUICK = Settings(
    image_size=32,
    batch_size=4,
    mask_size=32,
    mask_batch_size=4,
    rounds=3,
    preparing_rounds=3,
    least=0.0,
    compile=False,
    loop_batches=2,
    mask_loop_batches=2,
    images=8,
    memory_counts=(16, 64),
)
