"""Masks and heat maps drawn over their image: images (H, W, 3) uint8 in, an image out.

Masks are (H, W) of bool, 0/1 or 0/255, in the image's size. Truth comes before prediction.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib import colormaps

from utils.data.decode import resized

OUTLINE = (255, 214, 0)  # yellow: seen on every skin
PREDICTED = (0, 190, 255)  # neither skin nor lesion is blue, and it is darker than yellow
# Okabe and Ito's. Yellow for what is right: a pale green cannot be told from grey by all eyes.
MISSED, TOO_MUCH, RIGHT = (213, 94, 0), (0, 114, 178), (240, 228, 66)
ERROR, FOUND = 0.65, 0.25  # share of the colour, the rest is the image
HEAT = "inferno"  # lightness rises evenly, so it can be read in grey, too
HEAT_SHARE = 0.5  # of the heat colour, the rest is the image
SHOWN = 512  # px: a figure shows no more, and with less the lines look coarse


Draw = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # image, truth, prediction
Colour = tuple[int, int, int]  # RGB, 0 .. 255
Colours = dict[str, Colour]  # by what they mean


class Case(NamedTuple):
    """An image (H, W, 3) uint8, its two masks (H, W), and a caption."""

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    caption: str


def outlined(
    image: np.ndarray,
    mask: np.ndarray | None,
    width: int = 1,
    colour: Colour = OUTLINE,
) -> np.ndarray:
    """A copy of an (H, W, 3) uint8 image with the borders of its (H, W) 0/255 mask drawn on.

    Borders of holes, too. width in pixels, colour in RGB, 0..255.
    """
    image = np.ascontiguousarray(image).copy()
    if mask is not None and mask.any():
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, colour, width)
    return image


def overlaid(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """An (H, W, 3) uint8 image in grey under the colours of a map: (H, W, 3) in [0, 1].

    values (h, w) of any size are enlarged smoothly; 0 has the lowest, 1 the highest colour.
    ValueError for nan or infinite values.
    """
    values = np.asarray(values, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError("a heat map holds nan or infinite values; expected finite ones")
    height, width = image.shape[:2]
    values = cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] / 255
    return (1 - HEAT_SHARE) * grey + HEAT_SHARE * colormaps[HEAT](values)[..., :3]


def outlines(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray | None = None
) -> np.ndarray:
    """A copy of the image (H, W, 3) uint8 with the borders of the truth, and of the prediction.

    Where both run together the truth lies, narrower, on the prediction. Masks (H, W) of bool, 0/1
    or 0/255; ValueError for other shapes or values.
    """
    width = max(1, round(max(image.shape[:2]) / 128))
    if prediction is not None:
        mask = as_mask("prediction", prediction, image)
        image = outlined(image, mask, 2 * width, PREDICTED)
    return outlined(image, as_mask("truth", truth, image), width)


def errors(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The image in grey, (H, W, 3) uint8, tinted where the masks overlap and where one is alone.

    Masks and errors as in `outlines`.
    """
    truth, prediction = (
        as_mask(name, mask, image).astype(bool)
        for name, mask in (("truth", truth), ("prediction", prediction))
    )
    picture = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    for area, colour, share in (
        (truth & prediction, RIGHT, FOUND),
        (truth & ~prediction, MISSED, ERROR),
        (~truth & prediction, TOO_MUCH, ERROR),
    ):
        picture[area] = tinted(picture[area], colour, share)
    return picture


def tinted(pixels: np.ndarray, colour: Colour, share: float) -> np.ndarray:
    """Pixels (..., 3) uint8 with a share of a colour mixed in."""
    return ((1 - share) * pixels + share * np.array(colour)).round().astype(np.uint8)


def _on_grey(colour: Colour, share: float) -> Colour:
    """How a colour of `errors` is seen."""
    red, green, blue = tinted(np.full(3, 170), colour, share).tolist()
    return red, green, blue


LEGENDS: dict[Draw, Colours] = {
    outlines: {"truth": OUTLINE, "prediction": PREDICTED},
    errors: {
        "missed (truth alone)": _on_grey(MISSED, ERROR),
        "too much (prediction alone)": _on_grey(TOO_MUCH, ERROR),
        "right": _on_grey(RIGHT, FOUND),
    },
}


def as_mask(name: str, mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The mask (H, W) as 0/255 uint8; ValueError for another size than the image's, or values."""
    if mask.shape != image.shape[:2]:
        raise ValueError(
            f"{name} has shape {mask.shape} for an image of {image.shape[:2]}; resize one of them"
        )
    if mask.dtype.kind == "f" or ((mask > 1) & (mask != 255)).any() or (mask < 0).any():
        raise ValueError(
            f"{name} holds other values than 0 and 1 (or 255), as {mask.dtype}; threshold it first"
        )
    return np.where(mask > 0, np.uint8(255), np.uint8(0))


def shown_size(width: int, height: int) -> tuple[int, int]:
    """Width and height in the same proportion, the longer side 512 px."""
    scale = SHOWN / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def at_shown_size(case: Case) -> Case:
    """The case at its `shown_size`."""
    height, width = case.image.shape[:2]
    size = shown_size(width, height)
    truth, prediction = (
        cv2.resize(as_mask(name, mask, case.image), size, interpolation=cv2.INTER_NEAREST)
        for name, mask in (("truth", case.truth), ("prediction", case.prediction))
    )
    return Case(resized(case.image, size), truth, prediction, case.caption)
