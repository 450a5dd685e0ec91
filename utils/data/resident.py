"""The whole training set on the device, where its batches are made without workers or copies.

The matrices are those of `augmentation`, so that a patch is the one that a worker would make, but
for the rounding of the interpolation (2/255 on average at most).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from utils.data import augmentation
from utils.data.loaders import EpochSampler, TrainingSet, shuffled_loader
from utils.data.masks import TrainingMasks

WAYS = ("auto", "workers", "resident")
SHARE = 1 / 3  # of the device's free memory that the images may take


def training_loader(
    dataset: TrainingSet,
    batch_size: int,
    workers: int | None = None,
    way: str = "workers",
    device: torch.device | None = None,
) -> DataLoader | ResidentLoader:
    """Shuffled batches of augmented images; the last, smaller one is dropped unless it is the only.

    way "workers" makes them in that many processes (None: what suits the machine), "resident" on
    the device itself, where the images stay; "auto" is resident on a CUDA device that has room.
    """
    if way not in WAYS:
        raise ValueError(f"loader is {way!r}; expected one of {', '.join(WAYS)}.")
    device = device or torch.device("cpu")
    if way == "resident" or (way == "auto" and device.type == "cuda" and room_for(dataset, device)):
        return ResidentLoader(dataset, batch_size, device)
    return shuffled_loader(dataset, batch_size, workers)


class ResidentLoader:
    """Batches as those of `loaders.shuffled_loader`, in the same order, made on the device."""

    num_workers = 0

    def __init__(self, dataset: TrainingSet, batch_size: int, device: torch.device) -> None:
        self.dataset, self.batch_size, self.device = dataset, batch_size, device
        self.sampler = EpochSampler(len(dataset), dataset.seed)
        store, positions = dataset.store, dataset.positions
        self.images = _on_device([store.image(place) for place in positions], device)
        self.images = self.images.movedim(-1, 1)  # (n, 3, H, W), channels_last
        self.labels = torch.as_tensor(dataset.labels.astype(np.int64), device=device)
        self.masks: Tensor | None = None
        if isinstance(dataset, TrainingMasks):
            self.masks = _on_device([store.mask(place) for place in positions], device)

    def __len__(self) -> int:
        left, size = len(self.sampler), self.batch_size
        return left // size if len(self.dataset) > size else -(-left // size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """What is drawn for the epoch goes to the device once; a batch then waits for nothing."""
        recipe, sampler = self.dataset.transform.recipe, self.sampler
        drawn = augmentation.numbers(self.dataset.seed, sampler.epoch, count=len(self.dataset))
        height, width = self.dataset.store.shape
        places = augmentation.places(recipe, drawn, width, height)
        levels = augmentation.halvings(places)
        order = np.array([index for _, index in sampler], dtype=np.int64)
        moves = np.zeros_like(places)
        for level in np.unique(levels):
            moves[levels == level] = augmentation.halved(places[levels == level], level)
        on_device = [order, moves, augmentation.colours(recipe, drawn)]
        indices, matrices, colours = (sent(array, self.device) for array in on_device)
        size = (recipe.height, recipe.width)
        for batch in range(len(self)):
            part = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            index, level = indices[part], levels[order[part]]
            matrix, colour = matrices[index].float(), colours[index].float()
            patches = _moved(self.images[index], matrix, level, size, "bilinear").round()
            if recipe.colour:
                patches = recoloured(patches, colour).round().clamp(0, 255)
            images = patches.to(torch.uint8).contiguous(memory_format=torch.channels_last)
            label = self.labels[index]
            if self.masks is not None:
                masks = _moved(self.masks[index][:, None], matrix, level, size, "nearest")
                label = (masks[:, 0] > 127).to(torch.uint8)
            yield {"image": images, "label": label, "index": index}


def loader_kind(loader: object) -> str:
    """How a training loader makes its batches: "resident" or "workers"."""
    return "resident" if isinstance(loader, ResidentLoader) else "workers"


def sent(array: np.ndarray, device: torch.device) -> Tensor:
    """The array on the device; no step waits for it, as what is copied lies in pinned memory."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _on_device(arrays: list[np.ndarray], device: torch.device) -> Tensor:
    """The arrays as one tensor, filled one after the other: the host holds no second copy."""
    whole = torch.empty((len(arrays), *arrays[0].shape), dtype=torch.uint8, device=device)
    for place, array in enumerate(arrays):
        whole[place] = torch.from_numpy(array)
    return whole


def _moved(
    images: Tensor, matrices: Tensor, levels: np.ndarray, size: tuple[int, int], mode: str
) -> Tensor:
    """Images (B, C, H, W) read where the matrices (B, 2, 3) say, as floats (B, C, *size).

    levels (B,) are known on the host: how often each image is halved before.
    """
    if not levels.any():
        return warp(images.float(), matrices, size, mode)
    moved = images.new_empty((*images.shape[:2], *size), dtype=torch.float32)
    for level in np.unique(levels):
        mine = sent(np.flatnonzero(levels == level), images.device)
        part = images[mine].float()
        for _ in range(level):
            part = functional.avg_pool2d(part, 2).round()
        moved[mine] = warp(part, matrices[mine], size, mode)
    return moved


def warp(images: Tensor, matrices: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """As `cv2.warpAffine` with an inverse matrix (2, 3) for each float image, mirrored outside."""
    height, width = images.shape[-2:]
    rows, columns = (torch.arange(side, device=images.device).float() for side in size)
    down, across = torch.meshgrid(rows, columns, indexing="ij")
    points = torch.stack([across, down, torch.ones_like(down)], dim=-1)  # (h, w, 3): x, y, 1
    places = torch.einsum("hwj,bij->bhwi", points, matrices)
    extent = places.new_tensor([width - 1, height - 1])
    grid = 2 * places / extent - 1
    return functional.grid_sample(images, grid, mode, "reflection", align_corners=True)


def recoloured(patches: Tensor, colours: Tensor) -> Tensor:
    """Patches (B, 3, H, W) through the matrices (B, 3, 6) of `augmentation.colours`."""
    own, mean = colours.split(3, dim=2)
    constant = mean @ patches.mean((2, 3))[:, :, None]  # (B, 3, 1)
    return torch.einsum("bij,bjhw->bihw", own, patches) + constant[..., None]


def room_for(dataset: TrainingSet, device: torch.device) -> bool:
    """Whether the set takes less than SHARE of the device's free memory."""
    height, width = dataset.store.shape
    channels = 4 if isinstance(dataset, TrainingMasks) else 3
    free, _ = torch.cuda.mem_get_info(device)
    return len(dataset) * height * width * channels <= free * SHARE
