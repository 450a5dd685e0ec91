"""MONAI's CacheDataset with dictionary transforms, as its tutorials on MedNIST and 2D U-Net do."""

from math import radians
from typing import Any

import torch
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceCELoss
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandRotate90d,
    RandScaleCropd,
    Resized,
    ScaleIntensityRanged,
    Transform,
)

from bench.peers.job import SCALE, STORED, Job, Turn, loop
from nets.normalise import IMAGENET

WAY = {
    "lines": "fp32 bf16 defaults",
    "reads": "decodes once, kept in memory as 256 px floats",
    "augments": "its random transforms, one after the other, on floats",
    "step": "contiguous, AdamW",
    "besides": "keeps an image's history of transforms beside it (MetaTensor)",
}
MODES = {"image": "bilinear", "label": "nearest"}


def train(job: Job, turn: Turn) -> None:
    """Either task; with masks, image and mask alike."""
    masks = job.task == "masks"
    labels = job.images["mask" if masks else "label"]
    files = [
        {"image": image, "label": label}
        for image, label in zip(job.images["image"], labels, strict=True)
    ]
    keys = ["image", "label"] if masks else ["image"]
    steps = [*_fixed(keys), *_random(keys, job)]
    cached = CacheDataset(files, Compose(steps), progress=False)
    loader = DataLoader(cached, batch_size=job.batch_size, shuffle=True, **job.loading)
    loss = DiceCELoss(sigmoid=True) if masks else torch.nn.CrossEntropyLoss()
    loop(job, loader, loss, turn)


def _fixed(keys: list[str]) -> list[Transform]:
    """What is done once, and cached."""
    mode = [MODES[key] for key in keys]
    return [
        LoadImaged(keys),
        EnsureChannelFirstd(keys),
        ScaleIntensityRanged(keys, 0, 255, 0, 1),
        Resized(keys, (STORED, STORED), mode=mode),
    ]


def _random(keys: list[str], job: Job) -> list[Transform]:
    """What is drawn again in each epoch."""
    mode = [MODES[key] for key in keys]
    masks = job.task == "masks"
    degrees, zoom = (20, (-0.3, 0.4)) if masks else (10, (-0.1, 0.1))
    crop: list[Any] = [] if masks else [RandScaleCropd(keys, SCALE, 1.0)]
    mean, deviation = IMAGENET
    return [
        *crop,
        Resized(keys, (job.size, job.size), mode=mode),
        RandFlipd(keys, prob=0.5, spatial_axis=0),
        RandFlipd(keys, prob=0.5, spatial_axis=1),
        RandRotate90d(keys, prob=0.5),
        RandAffined(
            keys,
            prob=1.0,
            rotate_range=radians(degrees),
            translate_range=0.1 * job.size,
            scale_range=[zoom, zoom],
            mode=mode,
            padding_mode="reflection",
        ),
        RandAdjustContrastd("image", prob=0.8, gamma=(0.8, 1.2)),
        NormalizeIntensityd("image", mean, deviation, channel_wise=True),
    ]
