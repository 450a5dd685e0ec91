"""One image and its mask: read, checked to the last byte, resized."""

import hashlib
import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def decode(
    image: str, mask: str, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, dict] | str:
    """Image, mask and facts; or, for an unreadable file, the words that name it."""
    path = image
    try:
        pixels, width, height = _load(Path(image), "RGB", size)
        lesion = np.zeros(size[::-1], np.uint8)
        if mask:
            path = mask
            lesion = _load(Path(mask), "L", size)[0]
            lesion = np.where(lesion > 127, 255, 0).astype(np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        return f"{Path(path).name} ({error})"
    facts = {"width": width, "height": height, "has_mask": bool(mask)}
    facts |= {"sha256": content_hash(image), "mask_sha256": content_hash(mask)}
    return pixels, lesion, facts


def read_mask(path: str | Path) -> np.ndarray:
    """A mask file at its own size: (H, W) bool, True for lesion (above 128, as the challenge cuts).

    Raises OSError, SyntaxError or ValueError for a file that is damaged.
    """
    with Image.open(io.BytesIO(Path(path).read_bytes())) as file:
        return np.asarray(file.convert("L")) > 128


def _load(path: Path, mode: str, size: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """Decode strictly: Pillow raises for a truncated file where OpenCV fills it with grey."""
    with Image.open(io.BytesIO(path.read_bytes())) as file:
        width, height = file.size
        pixels = np.asarray(file.convert(mode))
    if (width, height) == size:
        return pixels, width, height
    shrinks = size[0] * size[1] < width * height
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(pixels, size, interpolation=way), width, height


def content_hash(path: str) -> str:
    """The start of the file's SHA-256; "none" where there is no file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16] if path else "none"


def file_stat(path: str) -> str:
    """Size and time of change: enough to see that a file may have changed, without reading it."""
    if not path:
        return ""
    stat = Path(path).stat()
    return f"{stat.st_size}:{stat.st_mtime_ns}"
