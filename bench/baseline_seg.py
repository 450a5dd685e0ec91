"""The earlier code's way with masks, written plainly: fp32, NCHW, eager, both files decoded again.

The layers are those of our networks; ARL-UNet has the attention of `bench.baseline`.
"""

from functools import partial

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

import nets
from bench.baseline import MEAN, STD, ARLBasicBlock, Decoded, photo, step_of
from bench.timing import Work, passes
from nets.res_unet import ResidualUNet
from nets.resnet import ResNet

Pair = tuple[str, str]  # files of an image and of its mask
Size = tuple[int, int]  # width and height, as in an experiment


def build(name: str) -> nn.Module:
    """A segmenter by its name; takes floats (B, 3, H, W), gives logits (B, 1, H, W)."""
    if name == "arl_unet":
        return ResidualUNet(partial(ResNet, block=ARLBasicBlock), depth=18, num_classes=1)
    return nets.build(name)


def dice_and_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Logits and masks of 0.0 and 1.0, both (B, 1, H, W), to a scalar."""
    lesion = torch.sigmoid(logits)
    overlap = (lesion * masks).sum(dim=(1, 2, 3))
    total = lesion.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    return dice.mean() + functional.binary_cross_entropy_with_logits(logits, masks)


def training_step(name: str, image_size: Size, batch_size: int, device: torch.device) -> Work:
    """One training step of the network on a ready batch."""
    width, height = image_size
    images = torch.rand(batch_size, 3, height, width, device=device)
    masks = torch.randint(0, 2, (batch_size, 1, height, width), device=device).float()
    network = build(name).to(device)
    return step_of(network, dice_and_cross_entropy, images, masks, weight_decay=1e-4)


def training_transform(image_size: Size) -> v2.Compose:
    """Resized, flips, ±20° rotation, shift, 0.8–1.2 zoom of a PIL image and its mask alike."""
    width, height = image_size
    affine = v2.RandomAffine(20, translate=(0.1, 0.1), scale=(0.8, 1.2))
    flips = (v2.RandomHorizontalFlip(), v2.RandomVerticalFlip())
    floats = (v2.ToImage(), v2.ToDtype(torch.float32, scale=True))  # not the mask
    return v2.Compose(
        [v2.Resize((height, width)), *flips, affine, *floats, v2.Normalize(MEAN, STD)]
    )


def decode(pair: Pair, transform: v2.Compose) -> tuple[Tensor, Tensor]:
    """An image (3, H, W) and its mask (1, H, W) of 0.0 and 1.0, both floats."""
    with Image.open(pair[1]) as drawing:
        lesion = tv_tensors.Mask(pil_to_tensor(drawing.convert("L")))
    image, lesion = transform(photo(pair[0]), lesion)
    return image, lesion / 255


def data_epoch(pairs: list[Pair], image_size: Size, batch_size: int) -> Work:
    """One epoch of augmented images with their masks, in batches."""
    transform = training_transform(image_size)
    images = Decoded(pairs, lambda pair: decode(pair, transform))
    return passes(DataLoader(images, batch_size, shuffle=True))
