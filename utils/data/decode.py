"""One image and its mask: read, checked to the last byte, resized.

An image with an EXIF orientation is turned as `data.orientation` decides.
"""

import hashlib
import io
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from utils.data.orientation import KINDS, UNDECIDED, laid, lie, opened, orientation, size_of
from utils.data.regions import WHOLE, Region, corners, part

# OpenCV's threads do not survive a fork: a DataLoader worker would wait for them forever. We work
# on many small images in parallel, which gains nothing from threads within one image.
cv2.setNumThreads(0)

# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size while both sides stay this much longer than
# wanted. Towards 1.0 the error grows quickly; at 1.5 it is below 0.5/255 on average.
MARGIN = 1.5
READ_ERRORS = (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError)


class Facts(NamedTuple):
    """Facts about an image and its mask. Without a mask its fields are 0, "none" and None."""

    width: int
    height: int
    mask_width: int
    mask_height: int
    lesion_pixels: int
    lesion_border: float  # `share_of_border`
    sha256: str  # of the image file; of this and the next two the first 16 digits
    mask_sha256: str
    pixels_sha256: str  # of the decoded pixels: the same picture in another file
    orientation: int  # 1 to 8, as EXIF has it
    lies: str  # how the image is used, as `orientation.lie` gives it
    crc: int  # CRC-32 of the image file, as archives keep it
    mask_crc: int | None


def decode(
    image: str,
    mask: str,
    size: tuple[int, int],
    region: Region = WHOLE,
    kinds: tuple[str, ...] = KINDS,
) -> tuple[np.ndarray, np.ndarray, dict] | str:
    """Image (H, W, 3), mask (H, W) of 0 and 255 at size (width, height), and facts for the index.

    Of another region than WHOLE these pixels and their facts alone. For a file that cannot be used
    a text that names it and its fault. kinds of image files are those of `opened`.
    """
    try:
        whole = (size[0] / region[2], size[1] / region[3])
        picture = _decided(image, _read_image(image, mask, whole, kinds))
        lesion, mask_hash = np.zeros(size[::-1], np.uint8), "none"
        if mask:
            full, mask_hash = _read_mask(mask, picture.size)
            lesion = np.where(resized(part(full, region), size) > 127, 255, 0).astype(np.uint8)
    except _FileError as error:
        return str(error)
    left, top, right, bottom = corners(*picture.size, region)
    facts: dict[str, Any] = {"width": right - left, "height": bottom - top}
    facts |= {"has_mask": bool(mask), "mask_sha256": of_part(mask_hash, region)}
    facts["sha256"] = of_part(picture.sha256, region)
    return resized(part(picture.pixels, region), size), lesion, facts


def check(image: str, mask: str) -> Facts | str:
    """Decode both files completely for their facts, or a text that names the one at fault.

    A mask of another size than its image, or an undecided orientation, is no fault here: the facts
    show it. mask may be "".
    """
    try:
        picture = _read_image(image, mask)
        lesion, mask_hash = _read_mask(mask) if mask else (np.zeros((0, 0), np.uint8), "none")
        crc = zlib.crc32(_content(image))
        mask_crc = zlib.crc32(_content(mask)) if mask else None
    except _FileError as error:
        return str(error)
    content = hashlib.sha256(f"{picture.pixels.shape}".encode())
    content.update(picture.pixels.tobytes())
    return Facts(
        width=picture.size[0],
        height=picture.size[1],
        mask_width=lesion.shape[1],
        mask_height=lesion.shape[0],
        lesion_pixels=int(np.count_nonzero(lesion)),
        lesion_border=share_of_border(lesion),
        sha256=picture.sha256,
        mask_sha256=mask_hash,
        pixels_sha256=content.hexdigest()[:16],
        orientation=picture.orientation,
        lies=picture.lies,
        crc=crc,
        mask_crc=mask_crc,
    )


def share_of_border(mask: np.ndarray) -> float:
    """The fraction of the pixels along the four sides of a mask (H, W) that are lesion."""
    if not mask.size:
        return 0.0
    sides = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return np.count_nonzero(sides) / sides.size


def read_image(
    path: str | Path, mask: str | Path = "", kinds: tuple[str, ...] = KINDS
) -> np.ndarray:
    """An image file at its own size, (H, W, 3) uint8 RGB, oriented like its mask, if it has one.

    Raises ValueError for a file that cannot be used.
    """
    return _decided(path, _read_image(path, mask, None, kinds)).pixels


def read_mask(path: str | Path) -> np.ndarray:
    """A mask file at its own size: (H, W) bool, True for lesion (255), False for skin (0).

    Raises ValueError for a file that is damaged, or that holds other values.
    """
    return _read_mask(path)[0] > 0


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels (H, W, …) at (width, height): by area where they shrink, else linearly."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    way = cv2.INTER_AREA if size[0] * size[1] < width * height else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(pixels), size, interpolation=way)


class _FileError(ValueError):
    """The name of a file and what is wrong with it."""

    def __init__(self, path: str | Path, fault: object) -> None:
        super().__init__(f"{Path(path).name} ({fault})")


class _Picture(NamedTuple):
    """An image as it is to be used."""

    pixels: np.ndarray  # (H, W, 3)
    size: tuple[int, int]  # (width, height) of the file; pixels may have fewer
    sha256: str
    orientation: int
    lies: str


def _read_image(
    path: str | Path,
    mask: str | Path,
    size: tuple[float, float] | None = None,
    kinds: tuple[str, ...] = KINDS,
) -> _Picture:
    """The picture in a file, oriented like its mask.

    With a size it may be smaller than the file's, but more than `MARGIN` times the size.
    """
    content = _content(path)
    try:
        with opened(io.BytesIO(content), kinds) as file:
            lies = lie(file, mask)
            own_size = size_of(file, lies)
            if size is not None:
                wanted = (round(MARGIN * size[0]), round(MARGIN * size[1]))
                file.draft(None, wanted if own_size == file.size else wanted[::-1])
            pixels = _rgb(laid(file, lies))
            return _Picture(pixels, own_size, _digest(content), orientation(file), lies)
    except READ_ERRORS as error:
        raise _FileError(path, _fault(error, content, kinds)) from error


def _decided(path: str | Path, picture: _Picture) -> _Picture:
    if picture.lies == UNDECIDED:
        raise _FileError(path, undecided(picture.orientation))
    return picture


def undecided(orientation: int) -> str:
    """What is wrong with an image of that EXIF orientation, and how to fix it."""
    return (
        f"has the EXIF orientation {orientation}, and a mask that may have been drawn on the photo "
        "turned by it or as stored, which have the same size; save the photo oriented like its "
        "mask, without the EXIF orientation"
    )


def _read_mask(path: str | Path, own_size: tuple[int, int] | None = None) -> tuple[np.ndarray, str]:
    """The mask (H, W) of 0 and 255, and its file's hash; own_size is what its image has."""
    content = _content(path)
    try:
        with opened(io.BytesIO(content)) as file:
            if own_size not in (None, file.size):
                sizes = "its image {}x{}; expected the same".format(*own_size)
                raise ValueError("is {}x{}, ".format(*file.size) + sizes)
            mask = _black_and_white(file)
            if orientation(file) != 1:
                raise ValueError("has an EXIF orientation; save it upright, without one")
        if (strange := (mask != 0) & (mask != 255)).any():
            values = ", ".join(map(str, np.unique(mask[strange])[:5]))
            raise ValueError(f"holds {values} beside 0 and 255; a mask is black and white, as PNG")
        mask = mask.astype(np.uint8)
    except READ_ERRORS as error:
        raise _FileError(path, _fault(error, content)) from error
    return mask, _digest(content)


def _rgb(file: Image.Image) -> np.ndarray:
    """The pixels of an open file as (H, W, 3); ValueError where their meaning is unclear."""
    if file.mode.startswith("I;16"):  # grey; Pillow itself would clip at 255
        deep = np.asarray(file).astype(np.uint16)
        if deep.max() < 4096:  # a camera of 12 bits: it would be almost black
            found = f"uses {deep.max()} of the 65535 values of 16 bits"
            raise ValueError(f"{found}; save it with 8 bits")
        return np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if file.mode in ("I", "F"):
        raise ValueError("has 32 bits a channel; save it with 8")
    _require_opaque(file, "save it without transparency")
    # Pillow warns where a palette with transparency becomes RGB directly.
    return np.asarray(file.convert("RGBA" if file.has_transparency_data else "RGB"))[..., :3]


def _black_and_white(file: Image.Image) -> np.ndarray:
    """A mask's values (H, W), unchanged except 255 for the white of 16 bits; any integer type."""
    if file.mode.startswith("I;16"):
        deep = np.asarray(file).astype(np.int64)
        return np.where(deep == 65535, 255, deep)
    _require_opaque(file, "a mask is black and white, without transparency")
    return np.asarray(file.convert("L"))


def _require_opaque(file: Image.Image, cure: str) -> None:
    if file.has_transparency_data and np.asarray(file.convert("RGBA"))[..., 3].min() < 255:
        raise ValueError(f"has transparent pixels; {cure}")


def _content(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _FileError(path, f"cannot be read: {error.strerror}") from error


def _fault(error: Exception, content: bytes, kinds: tuple[str, ...] = KINDS) -> str:
    """What is wrong, in the user's terms: Pillow's own speak of objects in memory."""
    if not content:
        return "is empty"
    if isinstance(error, UnidentifiedImageError):
        names = " or ".join([", ".join(kinds[:-1]), kinds[-1]])
        return f"is no {names}: it starts with {content[:12]!r}"
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; save it smaller"
    if isinstance(error, MemoryError):
        return "needs more memory than available; save it smaller"
    return str(error)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def content_hash(path: str, region: Region = WHOLE) -> str:
    """The start of the file's SHA-256, as `of_part`; "none" where there is no file."""
    return of_part(_digest(Path(path).read_bytes()) if path else "none", region)


def of_part(sha256: str, region: Region) -> str:
    """The hash of a region of a file with this hash: its own for the whole, "none" for none."""
    if region == WHOLE or sha256 == "none":
        return sha256
    return _digest(f"{sha256} {region}".encode())


def file_stat(path: str, region: Region = WHOLE) -> str:
    """Size, modification time and region: they show that a file, or what is cut out of it, may
    have changed, without reading it."""
    if not path:
        return ""
    stat = Path(path).stat()
    cut = "" if region == WHOLE else ":" + ":".join(map(str, region))
    return f"{stat.st_size}:{stat.st_mtime_ns}{cut}"
