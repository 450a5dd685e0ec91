"""The earlier code's way, written plainly: fp32, NCHW, eager, files decoded again and again.

The layers and losses are ours, but for the attention: it is over the channels, and autograd derives
its gradient. Images and masks come from their files through PIL and torchvision's transforms, and
each of the nine test views decodes the file anew.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.functional import five_crop, hflip, pil_to_tensor, vflip

import nets
from bench.timing import Work, passes
from experiments import Row
from nets.arl import Attention
from nets.normalise import IMAGENET, Normalise

FLOATS = (v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*IMAGENET))
SCALES = (0.2, 0.4, 0.6, 0.8)  # sides of the patches, as fractions of the image's
CROP = 0.8  # side of the cropped test views


def build(name: str) -> nn.Module:
    """A network by its name, with these methods in place of ours; takes normalised floats."""
    network = nets.build(name)
    for module in network.modules():
        if isinstance(module, Normalise):
            vars(module)["forward"] = nn.Identity()
        elif isinstance(module, Attention):
            vars(module)["attend"] = partial(attend, module.alpha)
    return network


def attend(alpha: Tensor, branch: Tensor, identity: Tensor) -> Tensor:
    """O + x + alpha * softmax(O) * x, all (B, C, H, W)."""
    return branch + identity + alpha * branch.softmax(1) * identity


def training_step(
    network: nn.Module, loss: nn.Module, images: Tensor, labels: Tensor
) -> Callable[[], float]:
    """A step of AdamW on a batch of uint8 images, as torch chooses to run it; gives its loss."""
    images = images.contiguous() / 255
    network.to(images.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> float:
        optimizer.zero_grad()
        value = loss(network(images), labels)
        value.backward()
        optimizer.step()
        return value.item()

    return step


def training_transform(experiment: Row) -> v2.Compose:
    """A crop or all of a PIL image, flipped, rotated, shifted and zoomed, its mask alike."""
    if experiment.task == "labels":
        areas = [(scale**2, scale**2) for scale in SCALES]
        crops = [v2.RandomResizedCrop(experiment.image_size, area, (1, 1)) for area in areas]
        first, affine = v2.RandomChoice(crops), {"degrees": 10, "scale": (0.9, 1.1)}
    else:
        width, height = experiment.image_size
        first, affine = v2.Resize((height, width)), {"degrees": 20, "scale": (0.8, 1.2)}
    flips = (v2.RandomHorizontalFlip(), v2.RandomVerticalFlip())
    return v2.Compose([first, *flips, v2.RandomAffine(translate=(0.1, 0.1), **affine), *FLOATS])


class Decoded(Dataset):
    """Image files, or pairs of an image and its mask, each decoded whenever it is read."""

    def __init__(self, files: pd.DataFrame, transform: Callable[..., Any]) -> None:
        self.files, self.transform = files.to_numpy().tolist(), transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        """The image (3, H, W), or the image and its mask (1, H, W) of 0.0 and 1.0, as floats."""
        photo, *mask = map(opened, self.files[index], ("RGB", "L"))
        if not mask:
            return self.transform(photo)
        image, lesion = self.transform(photo, tv_tensors.Mask(pil_to_tensor(mask[0])))
        return image, lesion / 255


def opened(path: str, mode: str) -> Image.Image:
    """An image file, decoded."""
    with Image.open(path) as file:
        return file.convert(mode)


def data_epoch(images: pd.DataFrame, experiment: Row) -> Work:
    """One epoch of augmented images, or images with their masks, in batches."""
    columns = ["image"] if experiment.task == "labels" else ["image", "mask"]
    decoded = Decoded(images[columns], training_transform(experiment))
    return passes(DataLoader(decoded, experiment.batch_size, shuffle=True))


def view(image: Image.Image, number: int) -> Image.Image:
    """View 0 … 8: plain, flipped three ways, cropped at the corners and at the centre."""
    if number in (1, 3):
        image = hflip(image)
    if number in (2, 3):
        image = vflip(image)
    if number < 4:
        return image
    height, width = round(image.height * CROP), round(image.width * CROP)
    return five_crop(image, (height, width))[number - 4]


def nine_views(images: pd.DataFrame, image_size: int, batch_size: int) -> Work:
    """All nine test views of every image, in batches: a pass over the files for each view."""
    resized = v2.Compose([v2.Resize((image_size, image_size)), *FLOATS])

    def loader(number: int) -> DataLoader:
        views = Decoded(images[["image"]], lambda photo: resized(view(photo, number)))
        return DataLoader(views, batch_size)

    return passes(*map(loader, range(9)))
