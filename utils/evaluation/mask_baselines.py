"""Baselines of segmenters: Otsu's threshold, and the mean training mask (`nets/baselines.py`).

They are networks without training, so they predict and are scored as every segmenter is.
"""

import cv2
import numpy as np
import pandas as pd
import torch
from torch import nn

from utils.data.masks import require_masks
from utils.data.store import Store


def learn(network: nn.Module, store: Store, train: pd.DataFrame) -> str:
    """Give the mean of the training masks to a network that has a place for it; says what it did.

    DataError where a training image has no mask.
    """
    share = getattr(network, "share", None)
    if share is None:
        return "nothing is learned: the threshold is chosen for each image"
    with torch.no_grad():
        share.copy_(torch.from_numpy(mean_mask(store, train, tuple(share.shape))))
    return f"the mean of {len(train)} training masks"


def mean_mask(store: Store, images: pd.DataFrame, shape: tuple[int, int]) -> np.ndarray:
    """How often each place of a (height, width) grid is lesion, 0..1."""
    require_masks(images)
    total = np.zeros(shape)
    for place in store.positions(images):
        mask = (store.mask(place) > 0).astype(np.float32)
        total += cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_AREA)
    return total / len(images)
