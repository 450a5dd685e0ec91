"""Opening pictures, and which way up one with an EXIF orientation is.

With a mask it is oriented like the mask, whose size decides; without one it is turned, as every
viewer shows it. Where the size does not decide, guessing might put the mask beside its lesion.
"""

import struct
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

KINDS = ("JPEG", "PNG")  # of the files of a data set, as Pillow names them
AS_STORED, TURNED, UNDECIDED = "as stored", "turned", "undecided"
_TAG = 0x0112  # of EXIF; 1: as stored
_WAYS = {  # from each other orientation to upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def opened(source: str | Path | IO[bytes], kinds: tuple[str, ...] = KINDS) -> Image.Image:
    """An image file, whose pixels are not read yet; the first of a phone's several (MPO).

    Whatever its name, only these kinds are tried: Pillow would hand an EPS to Ghostscript.
    """
    return Image.open(source, formats=kinds)


def orientation(file: Image.Image) -> int:
    """The EXIF orientation of an open image, 1 to 8; 1 for unreadable ones, as in viewers."""
    try:
        value = file.getexif().get(_TAG, 1)
    except (SyntaxError, ValueError, struct.error):
        return 1
    return value if value in range(1, 9) else 1  # some files have text in its place


def lie(file: Image.Image, mask: str | Path = "") -> str:
    """How to use the pixels of an open image: AS_STORED, TURNED, or UNDECIDED.

    Raises ValueError or OSError where the mask would decide, but cannot be opened.
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
    """Width and height of an open image that is used this way."""
    return file.size[::-1] if lies == TURNED and orientation(file) >= 5 else file.size


def laid(file: Image.Image, lies: str) -> Image.Image:
    """An open image, turned as it is to be used."""
    return file.transpose(_WAYS[orientation(file)]) if lies == TURNED else file
