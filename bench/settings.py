"""How large the measurements are, of which networks and images, and what is aimed at."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

import experiments
from utils import data


class Measured(NamedTuple):
    """A network whose training step is compared with the earlier code's."""

    label: str
    row: str  # whose recipe, data and loss it has
    aim: float | None = None  # the earlier code's time over ours
    rounds: int | None = None  # fewer where the earlier code's step takes many seconds


CLASSIFIERS = {
    "arl18": Measured("ARL-CNN18", "1-5", aim=3.3),
    "arl50": Measured("ARL-CNN50", "1-5", aim=3.0),
}
LITE = {"lite0": Measured("EfficientNet-Lite0", "3-1")}
SEGMENTERS = {  # the rows from scratch, where there are two
    "unet": Measured("UNet", "seg-1", rounds=3),
    "dense_unet": Measured("Dense-UNet", "seg-2", rounds=3),
    "arl_unet": Measured("ARL-UNet", "seg-5"),
    "lite_unet": Measured("Lite-UNet", "seg-6"),
}
NETWORKS = CLASSIFIERS | LITE | SEGMENTERS
ON_GPU = ("arl18", "arl50", "lite0", "unet", "lite_unet")  # in the part "gpu"


class Source(NamedTuple):
    """Images to read; only for originals, which take time to decode, there are aims."""

    name: str
    images: pd.DataFrame
    folder: Path
    originals: bool = False

    @property
    def title(self) -> str:
        return f"{len(self.images)} {self.name}"

    def aim(self, ratio: float) -> float | None:
        return ratio if self.originals else None


@dataclass(frozen=True)
class Settings:
    """What `python -m bench` was asked for; the defaults are what is reported."""

    data_dir: Path
    fullres: Path | None = None  # a folder with images of the original size
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
    watched: tuple[int, int] = (10, 40)  # batches before the profiler watches, and that it watches
    worker_counts: tuple[int, ...] = (1, 4, 8, 16)
    images: int = 192  # in an epoch of the prepared set's data; training drops a part of a batch
    memory_counts: tuple[int, ...] = (2_000, 20_000, 100_000)
    device: torch.device = field(
        default_factory=lambda: torch.device("cuda" if torch.cuda.is_available() else "cpu")
    )

    def experiment(self, network: str, profile: str = "best") -> experiments.Row:
        """An experiment with one of NETWORKS, from scratch and at this size."""
        size, batch = self.image_size, self.batch_size
        if network in SEGMENTERS:
            size, batch = self.mask_size, self.mask_batch_size
        given: dict[str, Any] = {"image_size": size, "batch_size": batch, "weights": "none"}
        # px: stored no larger, so that all machines do the same work
        row = experiments.get(NETWORKS[network].row, profile, side=256, **given)
        return replace(row, network=network)

    def sources(self, count: int | None = None) -> list[Source]:
        """Of the set at hand, whose files may be small, the first `count` images; all originals."""
        at_hand = data.read(self.data_dir)[:count]
        sources = [Source(data.note(self.data_dir), at_hand, self.data_dir)]
        if self.fullres:
            sources.append(Source("originals", data.read(self.fullres), self.fullres, True))
        return sources


QUICK: dict[str, Any] = {
    "image_size": 32,
    "batch_size": 4,
    "mask_size": 32,
    "mask_batch_size": 4,
    "rounds": 3,
    "preparing_rounds": 3,
    "least": 0.0,
    "compile": False,
    "loop_batches": 2,
    "mask_loop_batches": 2,
    "watched": (1, 3),
    "worker_counts": (1,),
    "images": 8,
    "memory_counts": (16, 64),
}
