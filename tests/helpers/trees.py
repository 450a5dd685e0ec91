"""Small ISIC 2017 trees, so that a test can break one thing in them."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

PREFIXES = {
    "train": "ISIC-2017_Training",
    "validation": "ISIC-2017_Validation",
    "test": "ISIC-2017_Test_v2",
}
FIRST = {"train": 1, "validation": 101, "test": 201}  # number of a split's first image


def ids(split: str, count: int) -> list[str]:
    """The ids that `add_split` gives to the first images of a split."""
    return [f"ISIC_{FIRST[split] + place:07d}" for place in range(count)]


def picture(number: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) and mask (H, W), 0/255, of size (width, height); every number differs."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    mask = np.zeros(size[::-1], np.uint8)
    centre = size[0] // 2 + number % 5 - 2, size[1] // 2
    cv2.ellipse(mask, centre, (size[0] // 4, size[1] // 3), 0, 0, 360, 255, cv2.FILLED)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), mask


def write_image(file: Path, number: int, size: tuple[int, int] = (40, 30)) -> None:
    """Write the numbered picture; the name's ending says in which format."""
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = ".png" if file.suffix.lower() == ".png" else ".jpg"
    file.write_bytes(cv2.imencode(kind, picture(number, size)[0])[1].tobytes())


def write_labels(file: Path, rows: Iterable[tuple[str, object, object]]) -> None:
    """Write a label table; a row is id, melanoma, seborrheic keratosis."""
    lines = [f"{id_},{melanoma},{keratosis}\n" for id_, melanoma, keratosis in rows]
    file.write_text("image_id,melanoma,seborrheic_keratosis\n" + "".join(lines))


def labels(split: str, classes: str) -> list[tuple[str, int, int]]:
    """Rows for `write_labels`: "mkb" is a melanoma, a seborrheic keratosis, a benign nevus."""
    names = ids(split, len(classes))
    return [(id_, int(c == "m"), int(c == "k")) for id_, c in zip(names, classes, strict=True)]


def add_split(
    root: Path,
    split: str,
    classes: str = "mkbbb",
    size: tuple[int, int] = (40, 30),
    images: str | None = None,
    table: str | None = None,
) -> Path:
    """Write a split with images, masks and labels, one letter of classes an image; returns root.

    images and table are the names of folder and csv where they are not the official ones.
    """
    prefix = PREFIXES[split]
    folder = root / (images or f"{prefix}_Data")
    masks = root / f"{prefix}_Part1_GroundTruth"
    masks.mkdir(parents=True)
    for number, id_ in enumerate(ids(split, len(classes)), FIRST[split]):
        write_image(folder / f"{id_}.jpg", number, size)
        png = cv2.imencode(".png", picture(number, size)[1])[1].tobytes()
        (masks / f"{id_}_segmentation.png").write_bytes(png)
    write_labels(root / (table or f"{prefix}_Part3_GroundTruth.csv"), labels(split, classes))
    return root


def add_all(root: Path) -> Path:
    """Write an official tree of 5 training, 3 validation and 3 test images; returns root."""
    add_split(root, "train", "mkbbb")
    add_split(root, "validation", "mkb")
    return add_split(root, "test", "bkm")


def table(root: Path, split: str = "train") -> Path:
    """The label table of a split."""
    return root / f"{PREFIXES[split]}_Part3_GroundTruth.csv"


def images(root: Path, split: str = "train") -> Path:
    """The folder of a split's images."""
    return root / f"{PREFIXES[split]}_Data"


def masks(root: Path, split: str = "train") -> Path:
    """The folder of a split's masks."""
    return root / f"{PREFIXES[split]}_Part1_GroundTruth"


def metadata(root: Path, rows: str, split: str = "train") -> Path:
    """Write a split's table of age and sex; rows without the names of the columns."""
    file = root / f"{PREFIXES[split]}_Data_metadata.csv"
    file.write_text("image_id,age_approximate,sex\n" + rows)
    return file
