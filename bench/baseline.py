"""The earlier code's way, written plainly: fp32, NCHW, eager, JPEGs decoded again and again.

The layers are those of our networks, and of torchvision's, but for the attention:
`nn.Softmax2d` attends over the channels, and autograd derives the gradient. The patches
come from the image file through PIL and torchvision's transforms, and each of the nine test views
decodes the file anew.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms.functional import five_crop, hflip, vflip

from bench.timing import Work, passes
from nets.resnet import BasicBlock, Block, Bottleneck, ResNet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORMALISED = (transforms.ToTensor(), transforms.Normalize(MEAN, STD))
SCALES = (0.2, 0.4, 0.6, 0.8)  # sides of the patches, as fractions of the image's
CROP = 0.8  # side of the cropped test views


class WithAttention(Block):
    """What makes a residual block an attention block: put it before the block's class."""

    def __init__(self, *arguments: int) -> None:
        super().__init__(*arguments)
        self.alpha = nn.Parameter(torch.tensor([0.001]))
        self.softmax = nn.Softmax2d()

    def forward(self, x: Tensor) -> Tensor:
        """ReLU(O + x + alpha * softmax(O) * x)."""
        branch, identity = self.branch(x), self.shortcut(x)
        return functional.relu(branch + identity + self.alpha * self.softmax(branch) * identity)


class ARLBasicBlock(WithAttention, BasicBlock):
    """The block of depth 18."""


class ARLBottleneck(WithAttention, Bottleneck):
    """The block of depth 50."""


NETWORKS: dict[str, tuple[int, type[Block]]] = {
    "arl18": (18, ARLBasicBlock),
    "arl50": (50, ARLBottleneck),
}


def build(name: str) -> nn.Module:
    """A network by its name; takes normalised floats (B, 3, H, W), gives logits (B, 3)."""
    depth, block = NETWORKS[name]
    network = ResNet(depth, block=block)
    network.add_module("normalise", nn.Identity())
    return network


def training_step(name: str, image_size: int, batch_size: int, device: torch.device) -> Work:
    """One training step of the network on a ready batch: weighted classes."""
    loss = nn.CrossEntropyLoss(weight=torch.tensor([2.5, 2.5, 0.5], device=device))
    images = torch.randn(batch_size, 3, image_size, image_size, device=device)
    labels = torch.arange(batch_size, device=device) % 3
    return step_of(build(name).to(device), loss, images, labels, weight_decay=1e-2)


def step_of(
    network: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    weight_decay: float,
) -> Callable[[], float]:
    """A step of AdamW, as torch chooses to run it; gives the loss before it."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=weight_decay)

    def step() -> float:
        optimizer.zero_grad()
        value = loss(network(images), labels)
        value.backward()
        optimizer.step()
        return value.item()

    return step


def training_transform(image_size: int) -> transforms.Compose:
    """A crop at one of the scales, flips, ±10° rotation, shift, 0.9–1.1 zoom, all on PIL images."""
    areas = [(scale**2, scale**2) for scale in SCALES]
    crops = [transforms.RandomResizedCrop(image_size, scale=area, ratio=(1, 1)) for area in areas]
    flips = (transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip())
    affine = transforms.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1))
    return transforms.Compose([transforms.RandomChoice(crops), *flips, affine, *NORMALISED])


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


class Decoded(Dataset):
    """Image files, or pairs of them, each decoded whenever it is read."""

    def __init__(self, files: Sequence[Any], decode: Callable[[Any], Any]) -> None:
        self.files, self.decode = files, decode

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        return self.decode(self.files[index])


def photo(path: str) -> Image.Image:
    """An image file, decoded."""
    with Image.open(path) as file:
        return file.convert("RGB")


def data_epoch(paths: list[str], image_size: int, batch_size: int) -> Work:
    """One epoch of training patches, in batches."""
    transform = training_transform(image_size)
    patches = Decoded(paths, lambda path: transform(photo(path)))
    return passes(DataLoader(patches, batch_size, shuffle=True))


def nine_views(paths: list[str], image_size: int, batch_size: int) -> Work:
    """All nine test views of every image, in batches: a pass over the files for each view."""
    resized = transforms.Compose([transforms.Resize((image_size, image_size)), *NORMALISED])

    def loader(number: int) -> DataLoader:
        views = Decoded(paths, lambda path: resized(view(photo(path), number)))
        return DataLoader(views, batch_size)

    return passes(*map(loader, range(9)))
