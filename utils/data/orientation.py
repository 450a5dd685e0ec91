"""Opening pictures, and which way up one with an EXIF orientation lies.

With a mask it lies as the mask does, whose size tells; without one it is turned, as every viewer
shows it. Where the size cannot tell, nobody may guess: the mask would lie beside its lesion.
"""

import struct
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

AS_STORED, TURNED, UNDECIDED = "as stored", "turned", "undecided"
_TAG = 0x0112  # of EXIF; 1: as stored
_WAYS = {  # what makes an image of each other orientation upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def opened(source: str | Path | IO[bytes]) -> Image.Image:
    """An image file, whose pixels are not read yet.

    Whatever its name says, nothing but JPEG and PNG is tried: Pillow would hand an EPS to
    Ghostscript. Of the several pictures that phones put into one JPEG (MPO) it is the first.
    """
    return Image.open(source, formats=("JPEG", "PNG"))


def orientation(file: Image.Image) -> int:
    """What EXIF says of an open image, 1 to 8; 1 where it cannot be read, as viewers take it."""
    try:
        found = file.getexif().get(_TAG, 1)
    except (SyntaxError, ValueError, struct.error):
        return 1
    return found if found in range(1, 9) else 1  # there are files with a text in its place


def lie(file: Image.Image, mask: str | Path = "") -> str:
    """How the pixels of an open image are to be used: AS_STORED, TURNED, or UNDECIDED.

    Raises ValueError or OSError where a mask would tell, but cannot be opened.
    """
    if orientation(file) == 1:
        return AS_STORED
    if not mask:
        return TURNED
    try:
        with opened(mask) as drawn:
            mask_size = drawn.size
    except UnidentifiedImageError as error:
        raise ValueError(f"has a mask that is no JPEG or PNG, {Path(mask).name}") from error
    if mask_size == file.size == size_of(file, TURNED):
        return UNDECIDED
    return TURNED if mask_size == size_of(file, TURNED) else AS_STORED


def size_of(file: Image.Image, lies: str) -> tuple[int, int]:
    """Width and height of an open image that lies so."""
    return file.size[::-1] if lies == TURNED and orientation(file) >= 5 else file.size


def laid(file: Image.Image, lies: str) -> Image.Image:
    """An open image as it is to be used."""
    return file.transpose(_WAYS[orientation(file)]) if lies == TURNED else file
