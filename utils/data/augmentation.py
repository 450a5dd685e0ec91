"""Augmentation: one matrix moves the pixels, one matrix changes the colours.

Crop, turn, rotation, zoom and shift are composed first, and each pixel is interpolated once: a
patch is sharper than after three resamplings, and made in half the time. Beside a crop lies
what the image really shows there; only beyond the image's own border it is mirrored.
`numbers` draws, a pure function of (seed, epoch, index); `places` and `colours` make matrices of
the draws, for one image or for all of an epoch, whatever moves the pixels then.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would check for updates online

import albumentations as A
import cv2
import numpy as np
from albumentations.core.type_definitions import Targets

GREY = np.array([0.299, 0.587, 0.114])  # of red, green, blue (ITU-R BT.601)
# The eight flips and quarter turns, first the four that keep the shape of an oblong image.
TURNS = np.array(
    [[[a, 0], [0, b]] for a in (1, -1) for b in (1, -1)]
    + [[[0, a], [b, 0]] for a in (1, -1) for b in (1, -1)],
    dtype=float,
)
COUNT = 13  # numbers drawn for one image
RATIOS = (3 / 4, 4 / 3)  # of a crop's width to its height, where its area is drawn
TRIES = 10
JITTERED = 0.8  # of the patches have their colours changed


@dataclass(frozen=True)
class Recipe:
    """What is drawn: ranges are uniform, a choice is equally likely.

    sides are those of the crop as fractions of the image's, zoom and shift (a fraction of the
    output's side) are drawn for each axis unless keep_ratio joins the zooms. colour is the greatest
    relative change of brightness, contrast and saturation, in 4 of 5 images. A side that is listed
    twice is drawn twice as often. within are as many: the side of the central part of the image in
    which a crop of that side lies, the whole image by default. areas replace sides: a crop of such
    a share of the image's pixels, its width to its height as 3:4 to 4:3. Patches are turned in all
    ways equally often; where turned is given, this share of them in one of the ways but the first,
    which leaves them as they are. rotated is the share of patches that are.
    """

    width: int
    height: int
    sides: tuple[float, ...] = (1.0,)
    within: tuple[float, ...] = ()
    areas: tuple[float, float] | None = None
    quarter_turns: bool = True
    turned: float | None = None
    rotated: float = 1.0
    degrees: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    keep_ratio: bool = False
    shift: float = 0.0
    colour: float = 0.0


def numbers(seed: int, epoch: int, index: int = 0, count: int = 1) -> np.ndarray:
    """The uniform random numbers (count, COUNT) of an epoch's samples from index on.

    Those of one sample are the same whether it is drawn alone or among others.
    """
    stream = np.random.PCG64(np.random.SeedSequence((seed, epoch))).advance(index * COUNT)
    return np.random.Generator(stream).random((count, COUNT))


def places(recipe: Recipe, drawn: np.ndarray, width: int, height: int) -> np.ndarray:
    """From draws (B, COUNT) the matrices (B, 2, 3) that take an output pixel to the image's.

    Both are (x, y) in px, whole numbers at the centres of pixels; the image is width × height.
    """
    if recipe.areas is None:
        chosen = _choice(drawn[:, 0], len(recipe.sides))
        side = np.take(recipe.sides, chosen)[:, None]
        part = np.take(recipe.within or (1.0,) * len(recipe.sides), chosen)[:, None]
        corner = (1 - part) / 2 + drawn[:, 1:3] * (part - side)
    else:
        side, corner = _crops_of_areas(recipe.areas, drawn, width / height)
    turns = len(TURNS) if recipe.quarter_turns and recipe.width == recipe.height else 4
    turn = TURNS[_turn(recipe.turned, drawn[:, 3], turns)]
    angle = np.deg2rad(_between(drawn[:, 4] / recipe.rotated, -recipe.degrees, recipe.degrees))
    angle[drawn[:, 4] >= recipe.rotated] = 0.0
    zoom = _between(drawn[:, 5:7], *recipe.zoom)
    if recipe.keep_ratio:
        zoom[:, 1] = zoom[:, 0]
    output, image = np.array([recipe.width, recipe.height]), np.array([width, height])
    shift = _between(drawn[:, 7:9], -recipe.shift, recipe.shift) * output
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.stack([cos, -sin, sin, cos], axis=1).reshape(-1, 2, 2)
    # Backwards from the output: shift, rotation, zoom, turn, crop.
    linear = (side * image / output)[:, :, None] * (turn @ (rotation / zoom[:, :, None]))
    centre = (corner + side / 2) * image
    offset = centre - np.einsum("bij,bj->bi", linear, output / 2 + shift)
    # Pixel i has its centre at i + 0.5.
    offset += linear.sum(axis=2) / 2 - 0.5
    return np.concatenate([linear, offset[:, :, None]], axis=2)


def _crops_of_areas(
    areas: tuple[float, float], drawn: np.ndarray, shape: float
) -> tuple[np.ndarray, np.ndarray]:
    """Sides and corners (B, 2), as shares of an image of that width to height.

    As torchvision's RandomResizedCrop draws them: an area and a ratio, anew until they fit into the
    image, ten times at most, and then the largest central crop. What fits is drawn here at once,
    by its distribution.
    """
    low, high = np.log(RATIOS)

    def fitting(area: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # The logarithms of the ratios with area * shape <= ratio <= shape / area.
        return np.maximum(low, np.log(area * shape)), np.minimum(high, np.log(shape / area))

    grid = np.linspace(*areas, 1001)
    least, most = fitting(grid)
    width = np.maximum(most - least, 0)
    steps = np.concatenate([[0.0], np.cumsum((width[1:] + width[:-1]) / 2)])
    never = (1 - steps[-1] / (len(grid) - 1) / (high - low)) ** TRIES
    area = np.interp(drawn[:, 5], steps / max(steps[-1], 1e-300), grid)
    least, most = fitting(area)
    ratio = np.exp(least + drawn[:, 6] * np.maximum(most - least, 0))
    side = np.sqrt(np.column_stack([area * ratio / shape, area * shape / ratio]))
    relative = np.clip(shape, *RATIOS) / shape
    largest = np.array([min(relative, 1.0), min(1 / relative, 1.0)])
    central = drawn[:, :1] < never
    side = np.where(central, largest, side)
    return side, np.where(central, 0.5, drawn[:, 1:3]) * (1 - side)


def halvings(matrices: np.ndarray) -> np.ndarray:
    """How often an image is halved before these matrices (B, 2, 3) read it: (B,) int.

    Linear interpolation sees two by two pixels: where a patch shrinks its image by more than two,
    pixels would be left out, and fine patterns would give coarse ones that are not there.
    """
    linear = matrices[:, :, :2]
    step = np.sqrt(np.abs(np.linalg.det(linear)))  # px of the image for one of the patch
    return np.maximum(np.ceil(np.log2(step / 2 + 1e-9)), 0).astype(int)


def halved(matrices: np.ndarray, times: int) -> np.ndarray:
    """The matrices (B, 2, 3) for images whose sides were halved so often."""
    scale = 0.5**times
    moved = matrices * scale
    moved[:, :, 2] += (scale - 1) / 2
    return moved


def colours(recipe: Recipe, drawn: np.ndarray) -> np.ndarray:
    """From draws (B, COUNT) the matrices (B, 3, 6) that give a pixel's new red, green and blue.

    They take the pixel's colour and the mean colour of its patch, towards whose grey the contrast
    changes. Brightness, contrast and saturation give the same in any order, as values are clipped
    once, at the end.
    """
    factors = _between(drawn[:, 10:13], 1 - recipe.colour, 1 + recipe.colour)
    factors[drawn[:, 9] >= JITTERED] = 1.0
    brightness, contrast, saturation = factors.T[:, :, None, None]
    own = saturation * np.eye(3) + (1 - saturation) * GREY
    mean = np.broadcast_to(GREY, own.shape)
    return brightness * np.concatenate([contrast * own, (1 - contrast) * mean], axis=2)


def _choice(drawn: np.ndarray, count: int) -> np.ndarray:
    return (drawn * count).astype(int)


def _turn(share: float | None, drawn: np.ndarray, count: int) -> np.ndarray:
    if share is None:
        return _choice(drawn, count)
    return np.where(drawn < share, 1 + _choice(drawn / share, count - 1), 0)


def _between(drawn: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + drawn * (high - low)


class Augmentation(A.DualTransform):
    """A recipe as a transform of albumentations, for image (H, W, 3) and mask (H, W), both uint8.

    The image is interpolated linearly; of the mask the nearest pixel is taken. Call `draw` before
    each use.
    """

    _targets = (Targets.IMAGE, Targets.MASK)

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(p=1.0)
        self.recipe = recipe
        self.draw(0, 0, 0)

    def draw(self, seed: int, epoch: int, index: int) -> None:
        """Make the next use a function of these numbers."""
        self.drawn = numbers(seed, epoch, index)

    def get_params_dependent_on_data(self, params: dict[str, Any], data: Any) -> dict[str, Any]:  # noqa: ARG002
        """The matrix (2, 3), and how often the image is halved before."""
        height, width = params["shape"][:2]
        matrices = places(self.recipe, self.drawn, width, height)
        (times,) = halvings(matrices).tolist()
        return {"matrix": halved(matrices, times)[0], "times": times}

    def apply(self, img: np.ndarray, matrix: np.ndarray, times: int, **_: object) -> np.ndarray:
        """The patch (height, width, 3) of an image, in its new colours."""
        # OpenCV moves four channels in half the time of three.
        four = cv2.cvtColor(img, cv2.COLOR_RGB2RGBA)
        patch = cv2.cvtColor(self._moved(four, matrix, times, cv2.INTER_LINEAR), cv2.COLOR_RGBA2RGB)
        if not self.recipe.colour or self.drawn[0, 9] >= JITTERED:
            return patch
        own, mean = np.split(colours(self.recipe, self.drawn)[0], 2, axis=1)
        return cv2.transform(patch, np.column_stack([own, mean @ cv2.mean(patch)[:3]]))

    def apply_to_mask(
        self, mask: np.ndarray, matrix: np.ndarray, times: int, **_: object
    ) -> np.ndarray:
        """The same part (height, width) of a mask."""
        return self._moved(mask, matrix, times, cv2.INTER_NEAREST)

    def _moved(self, pixels: np.ndarray, matrix: np.ndarray, times: int, way: int) -> np.ndarray:
        for _ in range(times):
            height, width = (side // 2 for side in pixels.shape[:2])
            even = pixels[: 2 * height, : 2 * width]
            pixels = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
        size, mirrored = (self.recipe.width, self.recipe.height), cv2.BORDER_REFLECT_101
        flags = way | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(pixels, matrix, size, flags=flags, borderMode=mirrored)
