"""Patches of images to train a classifier on, and the fixed views to test it on."""

import cv2
import numpy as np
import pandas as pd

from utils.data.augmentation import Augmentation, Recipe
from utils.data.decode import resized
from utils.data.loaders import LesionDataset, TrainingSet
from utils.data.store import Store

VIEW_NAMES = (
    "plain",
    *(f"flipped {way}" for way in ("left-right", "top-bottom", "both ways")),
    *(f"crop, {place}" for place in ("top left", "top right", "bottom left", "bottom right")),
    "crop, centre",
)

VIEWS = len(VIEW_NAMES)

_CROP_SIDE = 0.8  # of the image, for the five cropped views


def training_transform(
    image_size: int, patch_scales: tuple[float, ...], colour: float = 0.0
) -> Augmentation:
    """The paper's patches: a crop at one of the scales, flips, ±10° rotation, shift, 0.9–1.1 zoom.

    patch_scales are fractions of the stored side, 0 < s <= 1, equally likely (Zhang et al. use
    1/5 … 4/5 of full-size images; a store of 256 px has no detail left at 1/5).
    Deviation: we add quarter turns to the flips, since dermoscopy has no up and down.
    colour is the strength of the jitter of brightness, contrast and saturation, 0 for none.
    """
    if not patch_scales or not all(0 < scale <= 1 for scale in patch_scales):
        raise ValueError(f"patch_scales are {patch_scales}; expected fractions with 0 < s <= 1.")
    sides = tuple(patch_scales)
    return Augmentation(
        Recipe(image_size, image_size, sides, 10, zoom=(0.9, 1.1), shift=0.1, colour=colour)
    )


def view(image: np.ndarray, number: int, size: int) -> np.ndarray:
    """Test view number 0 … 8 of an (H, W, 3) image, as (size, size, 3); see `VIEW_NAMES`."""
    if number < 4:
        flip = {1: 1, 2: 0, 3: -1}.get(number)  # OpenCV's codes: across, down, both
        return resized(image if flip is None else cv2.flip(image, flip), (size, size))
    height, width = (round(side * _CROP_SIDE) for side in image.shape[:2])
    top, left = ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5))[number - 4]
    y, x = round(top * (image.shape[0] - height)), round(left * (image.shape[1] - width))
    return resized(image[y : y + height, x : x + width], (size, size))


class TrainingPatches(TrainingSet):
    """One augmented patch for a key (epoch, index): "image" (S, S, 3) uint8, "label", "index"."""

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        self.transform.draw(self.seed, epoch, index)
        image = self.transform(image=self.store.image(self.positions[index]))["image"]
        return {"image": image, "label": int(self.labels[index]), "index": index}


class TestViews(LesionDataset):
    """The fixed views of one image: "image" (V, S, S, 3) uint8, "label", "index"."""

    __test__ = False  # not a test case, whatever its name says to pytest

    def __init__(
        self, store: Store, images: pd.DataFrame, image_size: int, views: int = VIEWS
    ) -> None:
        if type(views) is not int or not 1 <= views <= VIEWS:
            raise ValueError(f"views is {views!r}; expected 1 (the plain image) to {VIEWS}.")
        super().__init__(store, images)
        self.image_size, self.views = image_size, views

    def __getitem__(self, index: int) -> dict:
        image = self.store.image(self.positions[index])
        views = np.stack([view(image, k, self.image_size) for k in range(self.views)])
        return {"image": views, "label": int(self.labels[index]), "index": index}
