"""What baselines of classifiers know of an image, and the logistic regression on it.

    majority      nothing: the frequencies of the classes among the training images
    age_sex       age and sex of the person, either of which may be unknown
    mask_colour   size and mean colour of the lesion, by the mask that dermatologists drew
    lite0_whole   1280 numbers of EfficientNet-Lite0 as ImageNet left it
    lite0_boxed   the same, a black box of constant size over the lesion: its surroundings
    lite0_lesion  the same, all but the lesion black

The box has three quarters of the image's side, centred on the lesion, and moved inwards where it
would leave the image. It is the same for all, as a box that fits would tell the lesion's size. Of
the official training images it covers the whole lesion in three of four.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from utils.data.decode import resized
from utils.data.masks import require_masks
from utils.data.store import Store
from utils.evaluation.calibration import log_loss
from utils.system.console import progress
from utils.system.errors import DataError

STRENGTHS = tuple(10.0**power for power in range(-5, 2))  # C, the inverse of the regularisation
FOLDS = 5  # of the training images, which choose it
BOX = 0.75  # side, as a share of the image's
BATCH = 32
AGE, SEX = "age", {"male": 1.0, "female": 0.0}  # any other sex is unknown

Build = Callable[..., nn.Module]  # `nets.build`
Hide = Callable[[np.ndarray, np.ndarray], np.ndarray]  # image (H, W, 3), mask (H, W) -> image


class LabelBaseline:
    """A baseline that is fitted to the training images when it is first asked."""

    def __init__(
        self, name: str, store: Store, train: pd.DataFrame, size: int, seed: int, build: Build
    ) -> None:
        self.name, self.store, self.train = name, store, train
        self.size, self.seed, self.build = size, seed, build

    @cached_property
    def fitted(self) -> Any:
        """The scikit-learn classifier. DataError where what it is to know is missing."""
        if self.name == "majority":
            classifier: Any = DummyClassifier(strategy="prior")
        else:
            smallest = int(self.train["label"].value_counts().min())
            if smallest < 2:
                raise DataError(
                    "a baseline needs at least 2 training images of each class to choose its "
                    "regularisation; found a class with 1. Add more images of it."
                )
            classifier = regression(min(FOLDS, smallest), self.seed)
        return classifier.fit(self.learnt, self.train["label"])

    @cached_property
    def learnt(self) -> np.ndarray:
        """The numbers of the training images: features take a while."""
        return self.numbers(self.train)

    @property
    def loss(self) -> float:
        """The mean log loss on the training images."""
        return log_loss(self.train["label"].to_numpy(), self.fitted.predict_proba(self.learnt))

    @property
    def about(self) -> str:
        """How it was fitted, in words."""
        if self.name == "majority":
            return f"the frequencies of the classes in {len(self.train)} training images"
        strength = self.fitted.best_params_["logisticregression__C"]
        return (
            f"logistic regression on {self.fitted.n_features_in_} numbers of each of "
            f"{len(self.train)} training images, C = {strength:g} by cross-validation on them"
        )

    def predict(self, images: pd.DataFrame) -> np.ndarray:
        """Probabilities (n, C) of the classes. DataError where its inputs are missing."""
        return self.fitted.predict_proba(self.numbers(images))

    def numbers(self, images: pd.DataFrame) -> np.ndarray:
        """What it knows of each image (n, k); nan is unknown."""
        if self.name == "majority":
            return np.zeros((len(images), 1))
        if self.name == "age_sex":
            return age_and_sex(images)
        if self.name == "mask_colour":
            return size_and_colour(self.store, images)
        return features(self.headless, self.store, images, self.size, HIDES[self.name])

    @cached_property
    def headless(self) -> nn.Module:
        """EfficientNet-Lite0 with its ImageNet weights, frozen, without its last layer."""
        try:
            network: Any = self.build("lite0", weights="imagenet")
        except RuntimeError as error:  # the weights are not there
            raise DataError(f"there is no network to take features from: {error}.") from error
        network.classifier = nn.Identity()
        return network.eval()


def regression(folds: int, seed: int) -> GridSearchCV:
    """Logistic regression on standardised numbers, unknown ones being marked as such.

    They get the mean, and a column that says so; where all are unknown they get 0. The
    regularisation is chosen by log loss.
    """
    steps = make_pipeline(
        SimpleImputer(add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(max_iter=5000),
    )
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    grid = {"logisticregression__C": STRENGTHS}
    return GridSearchCV(steps, grid, scoring="neg_log_loss", cv=parts)


def age_and_sex(images: pd.DataFrame) -> np.ndarray:
    """Age in years, and 1 for male, 0 for female, (n, 2); nan is unknown.

    DataError where neither is known of any image of a split.
    """
    numbers = np.column_stack([images[AGE], images["sex"].map(SEX)]).astype(float)
    known = pd.Series(~np.isnan(numbers).all(axis=1)).groupby(images["split"].to_numpy()).any()
    if lacking := known.index[~known].tolist():
        raise DataError(
            f"age and sex are unknown in the split {', '.join(map(str, lacking))}; expected "
            "ISIC-2017_…_Data_metadata.csv of each split in the data folder, or of own data the "
            "columns age and sex in labels.csv. Add them, or go without this baseline."
        )
    return numbers


def size_and_colour(store: Store, images: pd.DataFrame) -> np.ndarray:
    """Size, mean colour and its deviation within the lesion's mask, (n, 9).

    Log of the share of the image, width and height as shares, then RGB of 0..1. nan for an empty
    mask. DataError where an image has no mask.
    """
    require_masks(images)
    rows = []
    for place in store.positions(images):
        lesion = store.mask(place) > 0
        if not lesion.any():
            rows.append([np.nan] * 9)
            continue
        sides = [np.ptp(np.flatnonzero(lesion.any(axis))) + 1 for axis in (0, 1)]
        size = [np.log(lesion.mean()), sides[0] / lesion.shape[1], sides[1] / lesion.shape[0]]
        pixels = store.image(place)[lesion] / 255
        rows.append([*size, *pixels.mean(axis=0), *pixels.std(axis=0)])
    return np.array(rows)


@torch.inference_mode()
def features(
    network: nn.Module, store: Store, images: pd.DataFrame, size: int, hide: Hide | None
) -> np.ndarray:
    """The network's outputs (n, k) for the images at (size, size) px, a part of them hidden.

    DataError where a part is to be hidden and an image has no mask to say which.
    """
    if hide:
        require_masks(images)
    found, positions = [], store.positions(images)
    starts = range(0, len(positions), BATCH)
    for start in progress(starts, "features", f"× {BATCH} images"):
        batch = []
        for place in positions[start : start + BATCH]:
            image = store.image(place)
            image = hide(image, store.mask(place) > 0) if hide else image
            batch.append(resized(image, (size, size)))
        found.append(network(torch.from_numpy(np.stack(batch)).movedim(-1, 1)))  # (B, 3, S, S)
    return torch.cat(found).double().numpy()


def boxed(image: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) with a black box of constant size on the lesion; see the head."""
    left, top, width, height = cv2.boundingRect(lesion.astype(np.uint8))
    covered = image.copy()
    rows, columns = (
        _around(start + length / 2, side)
        for start, length, side in zip((top, left), (height, width), lesion.shape, strict=True)
    )
    covered[rows, columns] = 0
    return covered


def _around(centre: float, side: int) -> slice:
    """A box's extent along one side of an image."""
    length = round(BOX * side)
    start = min(max(round(centre - length / 2), 0), side - length)
    return slice(start, start + length)


def lesion_only(image: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) with all black but the lesion."""
    return image * lesion[..., None]


HIDES: dict[str, Hide | None] = {
    "lite0_whole": None,
    "lite0_boxed": boxed,
    "lite0_lesion": lesion_only,
}
