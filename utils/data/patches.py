"""Patches of images to train a classifier on, and the views to test it on."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pandas as pd

from utils.data.augmentation import Augmentation, Recipe
from utils.data.crops import MARGIN
from utils.data.decode import resized
from utils.data.loaders import LesionDataset, TrainingSet
from utils.data.store import Store
from utils.system.experiment import Classification

VIEW_NAMES = (
    "plain",
    *(f"flipped {way}" for way in ("left-right", "top-bottom", "both ways")),
    *(f"crop, {place}" for place in ("top left", "top right", "bottom left", "bottom right")),
    "crop, centre",
)

VIEWS = len(VIEW_NAMES)

_CROP_SIDE = 0.8  # of the image, for the five cropped views

# Where a crop of scale s lies: the side of the central part that it stays in, as a fraction of a
# side of the original of so many px.
PLACES: dict[str, Callable[[float, float], float]] = {
    "anywhere": lambda s, side: 1.0,  # noqa: ARG005
    # The coursework: small crops miss a lesion, which is mostly in the middle.
    "centre": lambda s, side: 1 - (1 - s) ** 2 if s < 0.5 else 1.0,  # noqa: ARG005
    # The re-implementation of row 1-4: so many px to move in.
    "margin": lambda s, side: min(1.0, s + MARGIN * s / side),
}


def training_transform(
    image_size: int,
    patch_scales: tuple[float, ...],
    colour: float = 0.0,
    *,
    places: str = "anywhere",
    quarter_turns: bool = True,
    zoom: float = 0.1,
    shift: float = 0.1,
) -> Augmentation:
    """The paper's patches: a crop at one of the scales, flips, ±10° rotation, shift, 0.9–1.1 zoom.

    patch_scales are fractions of the stored side, 0 < s <= 1, equally likely, but one that is
    listed twice twice as likely (Zhang et al. use 1/5 … 4/5 of full-size images; a store of 256 px
    has no detail left at 1/5).
    Deviation: we add quarter turns to the flips, since dermoscopy has no up and down.
    colour is the strength of the jitter of brightness, contrast and saturation, 0 for none. places
    is a key of PLACES; "margin" depends on the original's size, so its crops are made beforehand
    (`crops`) and only whole pictures are possible here.
    """
    if not patch_scales or not all(0 < scale <= 1 for scale in patch_scales):
        raise ValueError(f"patch_scales are {patch_scales}; expected fractions with 0 < s <= 1.")
    sides = tuple(patch_scales)
    if places == "margin" and set(sides) != {1.0}:
        raise ValueError(
            f"patch_scales are {sides} with patch_places 'margin'; expected (1.0,), whole pictures "
            "of the folder of crops (train_list='patches'), or other patch_places."
        )
    within = tuple(PLACES[places](side, 1.0) for side in sides)
    return Augmentation(
        Recipe(
            image_size,
            image_size,
            sides,
            within,
            quarter_turns=quarter_turns,
            degrees=10,
            zoom=(1 - zoom, 1 + zoom),
            shift=shift,
            colour=colour,
        )
    )


def transform_of(experiment: Classification) -> Augmentation:
    """The `training_transform` of an experiment."""
    return training_transform(
        experiment.image_size,
        experiment.patch_scales,
        experiment.colour,
        places=experiment.patch_places,
        quarter_turns=experiment.quarter_turns,
        zoom=experiment.zoom,
        shift=experiment.shift,
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


def crop_views(
    image_id: str, scales: tuple[float, ...], places: str, width: float, height: float
) -> np.ndarray:
    """Scale, left and top (V, 3) of the test crops of an image, as fractions of its sides.

    One at each scale, in an order and at places that are drawn from the image's id: so the first
    view alone is a crop at a random scale, and scores repeat. width and height are the original's.
    """
    draw = np.random.default_rng([0, *image_id.encode()])
    side = draw.permutation(scales)
    parts = [[PLACES[places](s, px) for px in (width, height)] for s in side.tolist()]
    part = np.array(parts).reshape(-1, 2)
    corner = (1 - part) / 2 + draw.random((len(side), 2)) * (part - side[:, None])
    return np.column_stack([side, corner])


class TrainingPatches(TrainingSet):
    """One augmented patch for a key (epoch, index): "image" (S, S, 3) uint8, "label", "index"."""

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        self.transform.draw(self.seed, epoch, index)
        image = self.transform(image=self.store.image(self.positions[index]))["image"]
        return {"image": image, "label": int(self.labels[index]), "index": index}


class TestViews(LesionDataset):
    """The views of one image: "image" (V, S, S, 3) uint8, "label", "index".

    Without scales they are the first of the nine fixed ones; with scales, a crop at each, as
    `crop_views` has them, or the first of these.
    """

    __test__ = False  # not a test case, whatever its name says to pytest

    def __init__(
        self,
        store: Store,
        images: pd.DataFrame,
        image_size: int,
        views: int = VIEWS,
        scales: tuple[float, ...] | None = None,
        places: str = "anywhere",
    ) -> None:
        most = VIEWS if scales is None else len(scales)
        if type(views) is not int or not 1 <= views <= most:
            first = "the plain image" if scales is None else "one crop"
            raise ValueError(f"views is {views!r}; expected 1 ({first}) to {most}.")
        super().__init__(store, images)
        self.image_size, self.views, self.scales, self.places = image_size, views, scales, places
        self.sides = store.index.iloc[self.positions][["width", "height"]].to_numpy(dtype=float)

    def __getitem__(self, index: int) -> dict:
        image = self.store.image(self.positions[index])
        views = np.stack(self._crops(image, index) if self.scales else self._fixed(image))
        return {"image": views, "label": int(self.labels[index]), "index": index}

    def _fixed(self, image: np.ndarray) -> list[np.ndarray]:
        return [view(image, number, self.image_size) for number in range(self.views)]

    def _crops(self, image: np.ndarray, index: int) -> list[np.ndarray]:
        boxes = crop_views(self.ids[index], self.scales or (), self.places, *self.sides[index])
        crops = []
        for side, left, top in boxes[: self.views]:
            height, width = (max(1, round(side * length)) for length in image.shape[:2])
            y, x = round(top * image.shape[0]), round(left * image.shape[1])
            y, x = min(y, image.shape[0] - height), min(x, image.shape[1] - width)
            part = image[y : y + height, x : x + width]
            crops.append(resized(part, (self.image_size, self.image_size)))
        return crops


def views_of(
    experiment: Classification, store: Store, images: pd.DataFrame, views: int | None = None
) -> TestViews:
    """The views that an experiment is tested on; so many of them, or experiment.views."""
    return TestViews(
        store,
        images,
        experiment.image_size,
        experiment.views if views is None else views,
        experiment.view_scales,
        experiment.patch_places,
    )
