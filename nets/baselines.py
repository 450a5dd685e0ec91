"""Segmenters that are not trained: what a network's masks must beat.

They take and give what every segmenter does, so all that scores or shows masks takes them, too.
Their few numbers are parameters that need no gradient.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SURE = 10.0  # the logit of a pixel that Otsu's threshold calls lesion; its negative elsewhere
SIDE = 64  # of the mean mask, enlarged to each image


class Otsu(nn.Module):
    """Otsu, A threshold selection method from gray-level histograms, 1979: lesions are darker.

    On the blue channel, in which pigment absorbs most, blurred against hairs. Nothing is learned.
    """

    def __init__(self, num_classes: int = 1) -> None:
        super().__init__()
        _require_one(num_classes)
        sigma = torch.tensor(3 / 256)  # of the blur, as a share of the width
        self.sigma = nn.Parameter(sigma, requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), uint8 0..255 or floating 0..1 -> logits (B, 1, H, W)."""
        whole = images if images.dtype == torch.uint8 else (images * 255).round().byte()
        masks = [_darker(blue, float(self.sigma)) for blue in whole[:, 2].cpu().numpy()]
        lesion = torch.from_numpy(np.stack(masks))[:, None].to(images.device)
        return (lesion.float() * 2 - 1) * SURE


def _darker(channel: np.ndarray, sigma: float) -> np.ndarray:
    """Where a channel (H, W) uint8 is at most its Otsu threshold, bool."""
    blurred = cv2.GaussianBlur(np.ascontiguousarray(channel), (0, 0), sigma * channel.shape[1])
    threshold, _ = cv2.threshold(blurred, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return blurred <= threshold


class MeanMask(nn.Module):
    """How often each place is lesion in the training masks, whatever the image shows.

    `share` (SIDE, SIDE) holds that, 0..1; the masks are stretched to a square.
    """

    def __init__(self, num_classes: int = 1) -> None:
        super().__init__()
        _require_one(num_classes)
        self.share = nn.Parameter(torch.full((SIDE, SIDE), 0.5), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, 1, H, W), the same for each image."""
        share = functional.interpolate(self.share[None, None], images.shape[2:], mode="bilinear")
        return torch.logit(share, eps=1e-6).expand(len(images), -1, -1, -1)


def _require_one(num_classes: int) -> None:
    if num_classes != 1:
        raise ValueError(f"got num_classes={num_classes}, expected 1: lesion or not")
