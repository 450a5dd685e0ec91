"""Masks for the referee: folders of pairs of truth and prediction.

The scorer prints means over a folder and nothing else, so every special pair is a case of its own,
which shows the scores of that image, and then all of them are one folder.
"""

from pathlib import Path

import cv2
import numpy as np

from utils.system.files import write_atomic

Pair = tuple[np.ndarray, np.ndarray]  # truth and prediction, (H, W) uint8 grey, lesion > 128

# Of the official validation split, reduced to 256×256 px: from half a percent of the image to 96,
# the last in two pieces. ISIC 2017, CC-0.
REAL = Path(__file__).with_name("real")
SUFFIX = "_segmentation.png"
BETWEEN = (0, 127, 128, 129, 255)  # where grey becomes lesion

# tp, fp, fn, tn and the width of the image: the pixels are laid out row by row in this order.
_LAID_OUT = {
    "empty-both": (0, 0, 0, 48, 8),
    "empty-truth": (0, 5, 0, 43, 8),
    "empty-truth-full-prediction": (0, 48, 0, 0, 8),
    "empty-prediction": (0, 0, 9, 39, 8),
    "full-both": (48, 0, 0, 0, 8),
    "full-truth": (30, 0, 18, 0, 8),
    "full-truth-empty-prediction": (0, 0, 48, 0, 8),
    "full-prediction": (9, 39, 0, 0, 8),
    "inverted": (0, 20, 28, 0, 8),
    "one-pixel-image": (1, 0, 0, 0, 1),
    "one-pixel-found": (1, 0, 0, 47, 8),
    "one-pixel-missed": (0, 1, 1, 46, 8),
    # Jaccard 13/20 = 0.65, which is enough, and 12 999/20 000, which is not.
    "threshold-reached": (13, 3, 4, 28, 8),
    "threshold-missed": (12_999, 3000, 4001, 5000, 200),
}
_RANDOM_SIZES = ((3, 7), (48, 64), (97, 131), (256, 192))


def segmentation_cases() -> dict[str, dict[str, Pair]]:
    """Pairs by the id of the image, in folders by the name of the case."""
    pairs = {name: _laid_out(*counts) for name, counts in _LAID_OUT.items()}
    pairs["grey"] = _grey()
    pairs |= {f"random-{height}x{width}": _random(height, width) for height, width in _RANDOM_SIZES}
    # The scorer knows an image by ISIC_ and seven digits.
    ids = [f"ISIC_{number:07d}" for number in range(len(pairs))]
    alone = {name: {key: pairs[name]} for key, name in zip(ids, pairs, strict=True)}
    together = dict(zip(ids, pairs.values(), strict=True))
    return alone | {"all": together, "real": real_pairs(REAL)}


def write_segmentation(folder: Path, pairs: dict[str, Pair]) -> tuple[Path, Path]:
    """Two folders with a PNG per image, at its own size."""
    folders = folder / "truth", folder / "prediction"
    for side, place in enumerate(folders):
        place.mkdir()
        for name, pair in pairs.items():
            write_atomic(place / f"{name}{SUFFIX}", cv2.imencode(".png", pair[side])[1].tobytes())
    return folders


def read_grey(file: Path) -> np.ndarray:
    """(H, W) uint8 as it is in the file."""
    mask = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.ndim != 2:
        raise ValueError(f"{file} is no grey image; expected a mask as PNG, one channel")
    return mask


def real_pairs(folder: Path) -> dict[str, Pair]:
    """The official masks of a folder, each with a prediction made from it by a fixed rule.

    The rule shifts the lesion by an eighth, a sixteenth, a 32nd … of the image and makes it 4 px
    thicker, so that the answers differ in quality. Whole numbers only: no machine changes them.
    """
    pairs = {}
    for number, file in enumerate(sorted(folder.glob(f"*{SUFFIX}"))):
        truth = read_grey(file)
        step = max(truth.shape) >> (3 + number % 4)
        shifted = np.roll(truth, (step, -step), axis=(0, 1))
        prediction = cv2.dilate(shifted, np.ones((9, 9), np.uint8))
        pairs[file.name.removesuffix(SUFFIX)] = truth, prediction
    return pairs


def _laid_out(tp: int, fp: int, fn: int, tn: int, width: int) -> Pair:
    truth = np.repeat(np.uint8([255, 0, 255, 0]), (tp, fp, fn, tn)).reshape(-1, width)
    prediction = np.repeat(np.uint8([255, 255, 0, 0]), (tp, fp, fn, tn)).reshape(-1, width)
    return truth, prediction


def _grey() -> Pair:
    """Every shade of BETWEEN in the truth against every one in the prediction."""
    truth, prediction = np.meshgrid(np.uint8(BETWEEN), np.uint8(BETWEEN), indexing="ij")
    return truth, prediction


def _random(height: int, width: int) -> Pair:
    """A third lesion at random; the prediction misses a quarter of it and adds a sixteenth."""
    # Comparisons of `Generator.random`, whose digits no version and no machine changes.
    stream = np.random.default_rng([height, width])
    truth = stream.random((height, width)) < 1 / 3
    prediction = stream.random((height, width)) < np.where(truth, 3 / 4, 1 / 16)
    return np.uint8(255) * truth, np.uint8(255) * prediction
