"""Datasets of images with their masks, for the loaders of `data.loaders`."""

from dataclasses import replace

import numpy as np
import pandas as pd

from utils.data.augmentation import Augmentation, Recipe
from utils.data.decode import resized
from utils.data.loaders import LesionDataset, TrainingSet
from utils.data.regions import WHOLE, Region, corners, part
from utils.data.store import Store
from utils.system.errors import DataError, listed
from utils.system.experiment import Segmentation
from utils.system.size import Size

MIDDLE = 336 / 369  # of both sides: the coursework's test images


def training_transform(size: Size, colour: float = 0.0, way: str = "zoomed") -> Augmentation:
    """Image and mask alike: resized, flipped and turned, ±20° rotation, 0.7–1.4 zoom, shift.

    size is (width, height) in px; quarter turns are for squares only. The border is mirrored.
    colour is the strength of the jitter of brightness, contrast and saturation of the image, 0 for
    none. way "cropped" is the coursework's: a crop of 0.6–1.3 of the image's area (more than the
    image never fits) with ratio 3:4 to 4:3, then in half of the cases each a flip along one axis
    or both, and a rotation by up to 180°.
    """
    if way == "cropped":
        half = Recipe(*size, areas=(0.6, 1.3), quarter_turns=False, turned=0.5, rotated=0.5)
        return Augmentation(replace(half, degrees=180, colour=colour))
    zoom = (0.7, 1.4)
    return Augmentation(
        Recipe(*size, degrees=20, zoom=zoom, keep_ratio=True, shift=0.1, colour=colour)
    )


def transform_of(experiment: Segmentation) -> Augmentation:
    """The `training_transform` of an experiment."""
    return training_transform(experiment.image_size, experiment.colour, experiment.augmentation)


def require_masks(images: pd.DataFrame) -> None:
    """DataError that names the images without a mask, which a segmenter needs."""
    if (without := images.loc[images["mask"] == "", "id"]).size:
        home = "the folder masks, or train a classifier (ARL-CNN.ipynb), which needs none"
        if "group" not in images:
            home = "the folder ISIC-2017_…_Part1_GroundTruth of their split, or use "
            home += "train_list='official', where each image has one"
        raise DataError(
            f"images without a mask: {listed(without)}; put the masks (<id>_segmentation.png) into "
            f"{home}."
        )


class TrainingMasks(TrainingSet):
    """A key (epoch, index) gives "image" (H, W, 3) uint8, "label" (H, W) uint8 of 0/1, "index"."""

    def __init__(
        self, store: Store, images: pd.DataFrame, transform: Augmentation, seed: int
    ) -> None:
        require_masks(images)
        super().__init__(store, images, transform, seed)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        place = self.positions[index]
        self.transform.draw(self.seed, epoch, index)
        seen = self.transform(image=self.store.image(place), mask=self.store.mask(place))
        return {"image": seen["image"], "label": as_label(seen["mask"]), "index": index}


class TestImages(LesionDataset):
    """One test image as the network sees it, with its mask at that size; values as above.

    test_image "whole" resizes the whole image. "middle" is the coursework's way: the image is
    stretched, and of it the middle MIDDLE of both sides seen and scored, nothing else.
    "unstretched crop" is the largest central part with the aspect ratio of size; the rest is never
    seen, but scored. size is (width, height) in px.
    """

    __test__ = False  # not a test case, whatever its name says to pytest

    def __init__(
        self,
        store: Store,
        images: pd.DataFrame,
        size: Size,
        test_image: str = "whole",
        unscored: bool = False,
    ) -> None:
        if not unscored:
            require_masks(images)
        super().__init__(store, images)
        self.size = size
        sides = store.index.iloc[self.positions][["width", "height"]].to_numpy(dtype=float)
        self.test_image = test_image
        self.regions = [
            _region(test_image, width, height, size, store.shape) for width, height in sides
        ]

    def __getitem__(self, index: int) -> dict:
        place, region = self.positions[index], self.regions[index]
        image, mask = (part(kept(place), region) for kept in (self.store.image, self.store.mask))
        image, mask = (resized(each, self.size) for each in (image, mask))
        return {"image": image, "label": as_label(mask), "index": index}


def _region(
    test_image: str, width: float, height: float, size: Size, shape: tuple[int, int]
) -> Region:
    """What is seen of an image of width × height px that is stored in another shape."""
    if test_image == "middle":
        return middle(shape)
    if test_image == "unstretched crop":
        return on_the_grid(centre_crop(width, height, size), shape)
    return WHOLE


def middle(shape: tuple[int, int]) -> Region:
    """The central MIDDLE of both sides of an image of shape (height, width), in whole px.

    >>> corners(369, 246, middle((246, 369)))  # 336 × 224 px
    (16, 11, 352, 235)
    """
    height, width = shape
    across, down = round(MIDDLE * width), round(MIDDLE * height)
    left, top = (width - across) // 2, (height - down) // 2
    return left / width, top / height, across / width, down / height


def centre_crop(width: float, height: float, size: Size) -> Region:
    """The largest central region of a width × height image with the aspect ratio of size.

    >>> centre_crop(200, 100, (64, 64))
    (0.25, 0.0, 0.5, 1.0)
    """
    shape = size[0] / size[1]
    across, down = min(1.0, height * shape / width), min(1.0, width / shape / height)
    return ((1 - across) / 2, (1 - down) / 2, across, down)


def on_the_grid(region: Region, shape: tuple[int, int]) -> Region:
    """The region snapped to the pixels of an image of shape (height, width).

    The part that is cut out is then exactly the part that is put back at the original size.
    """
    height, width = shape
    left, top, right, bottom = corners(width, height, region)
    return left / width, top / height, (right - left) / width, (bottom - top) / height


def as_label(mask: np.ndarray) -> np.ndarray:
    """A resized mask (H, W) of 0 … 255 as uint8 0/1, thresholded at one half."""
    return (mask > 127).astype(np.uint8)
