"""Small data sets of one's own: pictures by the demo's painter, in the layout of `data.own`."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from utils.data import demo

NAMES = ("nevus", "melanoma", "basal cell carcinoma", "actinic keratosis", "dermatofibroma",
         "vascular lesion", "benign keratosis")  # fmt: skip


def painted(label: int, number: int, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) RGB and mask (H, W) 0/255; a class has cues of its own."""
    strong = (np.arange(len(demo.CUES)) * 7 + 3 * label) % 10 / 11 + 0.04
    return demo.paint(
        np.random.default_rng([label, number]),
        dict(zip(demo.CUES, strong.tolist(), strict=True)),
        (side, side),
    )


def write(file: Path, image: np.ndarray) -> None:
    """Write an RGB image or a mask, in the format that the name's ending says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    stored = image[..., ::-1] if image.ndim == 3 else image
    file.write_bytes(cv2.imencode(file.suffix, stored)[1].tobytes())


def table(count: int, names: Sequence[str] = NAMES[:3], pair: bool = True) -> pd.DataFrame:
    """Rows image, label, split, group, age, sex; the classes in turn, two images a group."""
    at = np.arange(count)
    # Groups are of one class: images k and k + C, for each run of 2 C images.
    group = at // (2 * len(names)) * len(names) + at % len(names) if pair else at
    turn = group // len(names) % 4  # half of the groups of a class are trained on
    return pd.DataFrame(
        {
            "image": [f"own_{number:03d}" for number in at],
            "label": [names[number % len(names)] for number in at],
            "split": np.array(["train", "test", "train", "validation"])[turn],
            "group": [f"P{number:02d}" for number in group],
            "age": 30 + at % 50,
            "sex": np.array(["female", "male", "unknown"])[at % 3],
        }
    )


def make(
    folder: Path, rows: pd.DataFrame, masks: bool = True, labels: bool = True, side: int = 64
) -> Path:
    """Write images, and masks or labels of these rows; returns folder."""
    kinds = sorted(set(rows["label"]))
    for number, row in enumerate(rows.itertuples()):
        image, mask = painted(kinds.index(row.label), number, side)
        write(folder / "images" / f"{row.image}.jpg", image)
        if masks:
            write(folder / "masks" / f"{row.image}_segmentation.png", mask)
    if labels:
        rows.to_csv(folder / "labels.csv", index=False)
    else:
        rows[["image", "split"]].to_csv(folder / "splits.csv", index=False)
    return folder
