"""Masks drawn over their image: images in, an image out, all (H, W, 3) uint8.

Masks are (H, W) of bool, 0/1 or 0/255, in the image's size. Truth comes before prediction.
"""

import cv2
import numpy as np

from utils.visualize import OUTLINE, outlined

PREDICTED = (0, 190, 255)  # neither skin nor lesion is blue, and it is darker than yellow
MISSED, TOO_MUCH, RIGHT = (213, 94, 0), (0, 114, 178), (0, 158, 115)  # Okabe and Ito's


def outlines(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray | None = None
) -> np.ndarray:
    """A copy of the image (H, W, 3) uint8 with the borders of the truth, and of the prediction.

    Where both run together the truth lies, narrower, on the prediction. Masks (H, W) of bool, 0/1
    or 0/255; ValueError for other shapes or values.
    """
    width = max(1, round(max(image.shape[:2]) / 170))
    if prediction is not None:
        mask = _mask("prediction", prediction, image)
        image = outlined(image, mask, 2 * width, PREDICTED)
    return outlined(image, _mask("truth", truth, image), width)


def errors(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The image in grey, (H, W, 3) uint8, tinted where the lesion was found, missed, or imagined.

    Masks as in `outlines`.
    """
    truth, prediction = (
        _mask(name, mask, image).astype(bool)
        for name, mask in (("truth", truth), ("prediction", prediction))
    )
    picture = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    for area, colour, share in (
        (truth & prediction, RIGHT, 0.25),
        (truth & ~prediction, MISSED, 0.65),
        (~truth & prediction, TOO_MUCH, 0.65),
    ):
        tinted = (1 - share) * picture[area] + share * np.array(colour)
        picture[area] = tinted.round().astype(np.uint8)
    return picture


LEGENDS = {
    outlines: {"truth": OUTLINE, "prediction": PREDICTED},
    errors: {
        "missed (truth alone)": MISSED,
        "too much (prediction alone)": TOO_MUCH,
        "right": RIGHT,
    },
}


def _mask(name: str, mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The mask (H, W) as 0/255 uint8; ValueError where it does not fit the image, or is none."""
    if mask.shape != image.shape[:2]:
        raise ValueError(
            f"{name} has shape {mask.shape} for an image of {image.shape[:2]}; resize one of them"
        )
    if mask.dtype.kind == "f" or ((mask > 1) & (mask != 255)).any() or (mask < 0).any():
        raise ValueError(
            f"{name} holds other values than 0 and 1 (or 255), as {mask.dtype}; threshold it first"
        )
    return np.where(mask > 0, np.uint8(255), np.uint8(0))
