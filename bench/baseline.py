"""The earlier code's way, written plainly: fp32, NCHW, eager, JPEGs decoded again and again.

The networks are torchvision's with a block that attends (`nn.Softmax2d`, over the channels); the
patches come from the image file through PIL and torchvision's transforms, and each of the nine test
views decodes the file anew.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.models import resnet
from torchvision.transforms import functional

from bench.timing import Work

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALES = (0.2, 0.4, 0.6, 0.8)  # sides of the patches, as fractions of the image's
CROP = 0.8  # side of the cropped test views


class _Attention(nn.Module):
    """alpha * softmax(O) * x, added to O + x."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor([0.001]))
        self.softmax = nn.Softmax2d()

    def forward(self, branch: Tensor, identity: Tensor) -> Tensor:
        return branch + identity + self.alpha * self.softmax(branch) * identity


class WithAttention:
    """What makes a block of torchvision's an attention block: put it before the block's class."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        self.relu, self.attention = nn.ReLU(), _Attention()


class ARLBasicBlock(WithAttention, resnet.BasicBlock):
    """torchvision's block with attention, nothing in place."""

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(self.attention(out, identity))


class ARLBottleneck(WithAttention, resnet.Bottleneck):
    """torchvision's block with attention, nothing in place."""

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(self.attention(out, identity))


NETWORKS: dict[str, tuple[type[nn.Module], list[int]]] = {
    "arl18": (ARLBasicBlock, [2, 2, 2, 2]),
    "arl50": (ARLBottleneck, [3, 4, 6, 3]),
}


def build(name: str, num_classes: int = 3) -> nn.Module:
    """A network by its name; takes normalised floats (B, 3, H, W), gives logits."""
    return resnet.ResNet(*NETWORKS[name], num_classes=num_classes)


def training_step(name: str, image_size: int, batch_size: int, device: torch.device) -> Work:
    """One training step of the network on a batch that lies ready: weighted classes."""
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
) -> Work:
    """A step of AdamW, as torch chooses to run it."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=weight_decay)

    def step() -> None:
        optimizer.zero_grad()
        value = loss(network(images), labels)
        value.backward()
        optimizer.step()
        value.item()

    return step


def training_transform(image_size: int) -> transforms.Compose:
    """A crop at one of the scales, flips, ±10° rotation, shift, 0.9–1.1 zoom, all on PIL images."""
    crops = [
        transforms.RandomResizedCrop(image_size, scale=(s * s, s * s), ratio=(1, 1)) for s in SCALES
    ]
    return transforms.Compose(
        [
            transforms.RandomChoice(crops),
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
            transforms.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1)),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


def _view(image: Image.Image, number: int) -> Image.Image:
    """View 0 … 8: plain, flipped three ways, cropped at the corners and at the centre."""
    if number in (1, 3):
        image = functional.hflip(image)
    if number in (2, 3):
        image = functional.vflip(image)
    if number < 4:
        return image
    height, width = round(image.height * CROP), round(image.width * CROP)
    return functional.five_crop(image, (height, width))[number - 4]


def view_transform(image_size: int, number: int) -> transforms.Compose:
    """A test view, resized, as normalised floats."""
    return transforms.Compose(
        [
            lambda image: _view(image, number),
            transforms.Resize((image_size, image_size)),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


class Decoded(Dataset):
    """Image files, each decoded whenever it is asked for."""

    def __init__(self, paths: list[str], transform: Callable[[Image.Image], Tensor]) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(Path(self.paths[index])) as file:
            return self.transform(file.convert("RGB"))


def data_epoch(paths: list[str], image_size: int, batch_size: int) -> Work:
    """One epoch of training patches, in batches."""
    patches = Decoded(paths, training_transform(image_size))
    loader = DataLoader(patches, batch_size, shuffle=True)
    return lambda: [None for _ in loader]


def nine_views(paths: list[str], image_size: int, batch_size: int) -> Work:
    """All nine test views of every image, in batches: a pass over the files for each view."""
    views = [Decoded(paths, view_transform(image_size, number)) for number in range(9)]
    loaders = [DataLoader(view, batch_size) for view in views]
    return lambda: [None for loader in loaders for _ in loader]
