"""The earlier code's way with masks, written plainly: fp32, NCHW, eager, both files decoded again.

The layers are those of our networks. Only ARL-UNet differs: `nn.Softmax2d` attends over the
channels, and autograd finds the gradient by itself.
"""

from functools import partial

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

import nets
from bench.baseline import MEAN, STD, WithAttention, step_of
from bench.timing import Work
from nets.res_unet import ResidualUNet
from nets.resnet import BasicBlock, ResNet

Pair = tuple[str, str]  # files of an image and of its mask


class ARLBasicBlock(WithAttention, BasicBlock):
    """Our residual block with the earlier code's attention."""

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.attention(self.branch(x), self.shortcut(x)))


def build(name: str) -> nn.Module:
    """A segmenter by its name; takes floats (B, 3, H, W), gives logits (B, 1, H, W)."""
    if name == "arl_unet":
        return ResidualUNet(partial(ResNet, block=ARLBasicBlock), depth=18, num_classes=1)
    return nets.build(name)


def dice_and_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Logits and masks of 0.0 and 1.0, both (B, 1, H, W), to a scalar."""
    found = torch.sigmoid(logits)
    overlap = (found * masks).sum(dim=(1, 2, 3))
    total = found.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    return dice.mean() + functional.binary_cross_entropy_with_logits(logits, masks)


def training_step(name: str, image_size: tuple[int, int], batch: int, device: torch.device) -> Work:
    """One training step of the network on a batch that lies ready; image_size as in a row."""
    width, height = image_size
    images = torch.rand(batch, 3, height, width, device=device)
    masks = torch.randint(0, 2, (batch, 1, height, width), device=device).float()
    network = build(name).to(device)
    return step_of(network, dice_and_cross_entropy, images, masks, weight_decay=1e-4)


def training_transform(image_size: tuple[int, int]) -> v2.Compose:
    """Resized, flips, ±20° rotation, shift, 0.8–1.2 zoom of a PIL image and its mask alike."""
    width, height = image_size
    return v2.Compose(
        [
            v2.Resize((height, width)),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomAffine(20, translate=(0.1, 0.1), scale=(0.8, 1.2)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),  # not the mask
            v2.Normalize(MEAN, STD),
        ]
    )


class DecodedPairs(Dataset):
    """Image and mask files, decoded whenever they are asked for: (3, H, W) and (1, H, W) floats."""

    def __init__(self, pairs: list[Pair], transform: v2.Compose) -> None:
        self.pairs, self.transform = pairs, transform

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self.pairs[index]
        with Image.open(image) as photo, Image.open(mask) as drawing:
            lesion = tv_tensors.Mask(pil_to_tensor(drawing.convert("L")))
            seen, lesion = self.transform(photo.convert("RGB"), lesion)
        return seen, lesion / 255


def data_epoch(pairs: list[Pair], image_size: tuple[int, int], batch_size: int) -> Work:
    """One epoch of augmented images with their masks, in batches."""
    images = DecodedPairs(pairs, training_transform(image_size))
    loader = DataLoader(images, batch_size, shuffle=True)
    return lambda: [None for _ in loader]
