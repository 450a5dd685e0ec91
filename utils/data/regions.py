"""Parts of an image as shares of its sides, and the box of a lesion with what lies around it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Region = tuple[float, float, float, float]  # left, top, width, height as shares of the image
WHOLE: Region = (0.0, 0.0, 1.0, 1.0)
MARGIN = 0.2  # on each side of a lesion's box, as a share of its longer side
SMALLEST = 0.25  # side of what is cut out, as a share of the image's shorter side


class Boxes(NamedTuple):
    """What of each image is stored, for `store.prepare`."""

    name: str  # ends that of the store's folder
    regions: Mapping[str, Region]  # by the image's id


def corners(width: int, height: int, region: Region) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the region in an image of width × height px."""
    left, top = round(region[0] * width), round(region[1] * height)
    right, bottom = round((region[0] + region[2]) * width), round((region[1] + region[3]) * height)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def part(image: np.ndarray, region: Region) -> np.ndarray:
    """The pixels of (H, W, …) in the region, as a copy; at least one."""
    left, top, right, bottom = corners(image.shape[1], image.shape[0], region)
    return np.ascontiguousarray(image[top:bottom, left:right])


def around(box: Region, width: int, height: int) -> Region:
    """The square around a lesion's box in an image of width × height px, with its margin.

    A square, so that a store of squares keeps the lesion's shape. It is moved into the image, and
    as high or wide as the image where that is too small for it.

    >>> around((0.4, 0.3, 0.1, 0.4), 200, 100)  # 20 × 40 px become 56 × 56
    (0.31, 0.22, 0.28, 0.56)
    """
    longer = max(box[2] * width, box[3] * height)
    side = max(longer * (1 + 2 * MARGIN), SMALLEST * min(width, height))
    places = []
    for start, length, pixels in ((box[0], box[2], width), (box[1], box[3], height)):
        share = min(1.0, side / pixels)
        first = min(max(start + (length - share) / 2, 0.0), 1.0 - share)
        places.append((round(first, 6), round(share, 6)))
    (left, across), (top, down) = places
    return left, top, across, down
