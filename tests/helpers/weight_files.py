"""Weight files as torchvision publishes them, without a download."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn


def save_hashed(state: dict[str, Tensor], directory: Path, stem: str) -> Path:
    """Save as torchvision does: the name ends in the first digits of the file's SHA-256."""
    draft = directory / "draft"
    torch.save(state, draft)
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    return draft.rename(directory / f"{stem}-{digest[:8]}.pth")


def torchvision_net(name: str, num_classes: int = 1000) -> nn.Module:
    """A classifier in evaluation mode; random weights, and BN statistics that matter."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, num_classes=num_classes)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()
