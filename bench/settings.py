"""How large the measurements are, and of which images."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, cast

import pandas as pd
import torch

import experiments
from experiments import ClassificationRow, SegmentationRow
from utils import data

# The experiments from scratch, where there are two.
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

    def classifier(self, profile: str = "best") -> ClassificationRow:
        """An experiment at this size: whose recipe, data and loss are measured."""
        size, batch = self.image_size, self.batch_size
        experiment = experiments.get(
            "1-5", profile, image_size=size, batch_size=batch, weights="none"
        )
        return cast(ClassificationRow, experiment)

    def segmenter(self, network: str) -> SegmentationRow:
        """The same for a network of SEGMENTERS."""
        size, batch = self.mask_size, self.mask_batch_size
        experiment = experiments.get(
            SEGMENTERS[network], image_size=size, batch_size=batch, weights="none"
        )
        return cast(SegmentationRow, experiment)


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


class Source(NamedTuple):
    """Where images are read from; only for originals, which take time to decode, there are aims."""

    name: str
    folder: Path
    originals: bool = False

    def images(self, settings: Settings) -> pd.DataFrame:
        """All originals, or the first images of another set."""
        images = data.read(self.folder)
        return images if self.originals else images.head(settings.images)

    def aim(self, ratio: float) -> float | None:
        return ratio if self.originals else None


def sources(data_dir: Path, settings: Settings) -> list[Source]:
    """The set at hand, whose files may be small already, and the originals where there are some."""
    at_hand = Source(data.note(data_dir), data_dir)
    fullres = settings.fullres
    return [at_hand, *([Source("originals", fullres, originals=True)] if fullres else [])]
