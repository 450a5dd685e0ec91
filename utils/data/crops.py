"""The folder of crops that one of the earlier studies trained on, and its csv.

Each training image gives 61 pictures: itself, and 15 crops at random places at each of four scales.
A crop at scale 0.4 has 0.4 of the image's width and height, cut from the original, so that it shows
detail that the prepared store has lost. The places are a function of (seed, image id): the same
whatever the order and the number of workers. They lie in the middle of the image: a crop has only
500 px times its scale to move in.
"""

import json
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from utils.data.decode import read_image, resized
from utils.data.names import LABEL_COLUMNS
from utils.system.console import progress
from utils.system.disk import require_room
from utils.system.errors import DataError, listed
from utils.system.files import locked, write_atomic, write_json

FOLDER = "ISIC-2017_Training_Data_Patch"
LABELS = "ISIC-2017_Training_Part3_GroundTruth_patch.csv"
SETTINGS = "patches.json"
SCALES = (0.2, 0.4, 0.6, 0.8)
CROPS = 15  # at each scale
MARGIN = 500  # px of the original, times the scale, that a crop has to move in
PICTURES = 1 + len(SCALES) * CROPS  # of each image
QUALITY = 95  # of the JPEG files
BYTES_A_PIXEL = 0.6  # of a JPEG of that quality, measured on lesions, with a margin
_NAME = re.compile(r"_(?:20|40|60|80)_\d\d$")


@dataclass(frozen=True)
class Settings:
    """What determines the pictures in the folder; kept beside them in `patches.json`."""

    side: int = 256  # px of each picture, which is stretched to a square
    seed: int = 0
    margin: int = MARGIN


def names(image_id: str) -> list[str]:
    """The ids of the pictures of one image: its own, then `<id>_<scale in %>_<number>`."""
    crops = [f"{image_id}_{scale * 100:.0f}_{k:02d}" for scale in SCALES for k in range(CROPS)]
    return [image_id, *crops]


def source(patch_ids: Iterable[str]) -> list[str]:
    """The id of the image that each picture was cut from; the id itself for a whole image."""
    return [_NAME.sub("", name) for name in patch_ids]


def boxes(image_id: str, width: int, height: int, settings: Settings) -> np.ndarray:
    """Left, top, right, bottom (61, 4) in px of the pictures of an image, in the order of `names`.

    Places are uniform within a central part that is margin × scale px larger than the crop, or
    within the image where that is smaller.
    """
    draw = np.random.default_rng([settings.seed, *image_id.encode()])
    places = [(0, 0, width, height)]
    for scale in SCALES:
        across, down = max(1, round(scale * width)), max(1, round(scale * height))
        spare = [
            min(side - crop, round(settings.margin * scale))
            for side, crop in ((width, across), (height, down))
        ]
        for left, top in draw.random((CROPS, 2)):
            x = (width - across - spare[0]) // 2 + int(left * (spare[0] + 1))
            y = (height - down - spare[1]) // 2 + int(top * (spare[1] + 1))
            places.append((x, y, x + across, y + down))
    return np.array(places)


def make(
    data_dir: Path, images: pd.DataFrame, settings: Settings, workers: int | None = None
) -> int:
    """Cut the crops of training images (`data.read`) unless they exist; returns their number.

    Works in `<folder>.partial`, where a second call resumes; the folder appears when it is
    complete, and the csv after it. Raises DataError without images, for one that cannot be read,
    for too little room on the disk, and for a folder made with other settings.
    """
    if images.empty:
        raise DataError(
            f"{data_dir} has no training images to cut crops from; fetch them: python "
            "prepare_data.py download --splits train"
        )
    folder = data_dir / FOLDER
    partial = folder.with_name(f".{FOLDER}.partial")
    sizes = {
        name: Path(path).stat().st_size
        for name, path in zip(images["id"], images["image"], strict=True)
    }
    wanted = asdict(settings) | {"images": sizes}
    pictures = len(images) * PICTURES
    with locked(folder.with_name(f".{FOLDER}.lock"), f"{folder} is being made", wait=True):
        if folder.exists():
            _require_same(folder, wanted)
        else:
            done = _kept(partial, settings, sizes)
            needed = int((pictures - done) * settings.side**2 * BYTES_A_PIXEL)
            require_room(f"{pictures} crops", data_dir, needed, "make them smaller (--side)")
            partial.mkdir(exist_ok=True)
            write_json(partial / SETTINGS, wanted)
            _cut_all(partial, images, settings, workers)
            partial.rename(folder)
        _write_labels(data_dir / LABELS, images)
    return pictures


def read(data_dir: Path, images: pd.DataFrame) -> pd.DataFrame:
    """The crops of official training images (`data.read`), in the same columns.

    The images themselves are left out: the table has them. Crops have no mask, and are not
    official. Raises DataError where the folder is missing, or lacks crops of an image.
    """
    folder = data_dir / FOLDER
    if not (data_dir / LABELS).is_file() or not folder.is_dir():
        raise DataError(
            f"train_list='patches' needs {FOLDER} and {LABELS} in {data_dir}; make them with\n"
            f'    python prepare_data.py patches --data-dir "{data_dir}"'
        )
    ids = [name for image_id in images["id"] for name in names(image_id)[1:]]
    present = {entry.name for entry in os.scandir(folder) if entry.stat().st_size}
    if lacking := [name for name in ids if f"{name}.jpg" not in present]:
        raise DataError(
            f"crops that are missing or empty in {folder}: {listed(lacking)}; remove the folder "
            "and make it again (python prepare_data.py patches)."
        )
    crops = images.loc[images.index.repeat(PICTURES - 1)].reset_index(drop=True)
    files = [str(folder / f"{name}.jpg") for name in ids]
    return crops.assign(id=ids, image=files, mask="", official=False)


def _require_same(folder: Path, wanted: dict) -> dict:
    """The settings the folder was made with; DataError where they differ from the wanted ones."""
    try:
        made = json.loads((folder / SETTINGS).read_bytes())
    except (OSError, ValueError):
        made = {}
    if other := [name for name in wanted if made.get(name) != wanted[name]]:
        what = ", ".join(f"{name} {made.get(name)}" for name in other if name != "images")
        raise DataError(
            f"{folder} was made with {what or 'other images'}; remove it to make it again with the "
            "new settings, or use the old ones."
        )
    return made


def _kept(partial: Path, settings: Settings, sizes: dict[str, int]) -> int:
    """How many pictures an interrupted call left; those of images replaced since are removed."""
    if not any(partial.glob("*.jpg")):
        return 0
    for name, size in _require_same(partial, asdict(settings))["images"].items():
        if sizes.get(name) != size:
            for picture in names(name):
                (partial / f"{picture}.jpg").unlink(missing_ok=True)
    return len([*partial.glob("*.jpg")])


def _cut_all(folder: Path, images: pd.DataFrame, settings: Settings, workers: int | None) -> None:
    present = {entry.name for entry in os.scandir(folder)}

    def cut(name: str, path: str, mask: str) -> str:
        if not all(f"{picture}.jpg" in present for picture in names(name)):
            try:
                image = read_image(path, mask)
            except ValueError as error:
                return str(error)
            _cut(folder, name, image, settings)
        return ""

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        work = pool.map(cut, images["id"], images["image"], images["mask"])
        faults = [fault for fault in progress(work, "crops", "images", len(images)) if fault]
    if faults:
        raise DataError(
            f"files that cannot be used: {listed(faults)}; repair them, or replace them by "
            "undamaged copies. The crops of all others are kept."
        )


def _cut(folder: Path, name: str, image: np.ndarray, settings: Settings) -> None:
    """Write the pictures of one image, each under another name until it is complete."""
    side = (settings.side, settings.side)
    places = boxes(name, image.shape[1], image.shape[0], settings)
    for picture, (left, top, right, bottom) in zip(names(name), places, strict=True):
        part = resized(image[top:bottom, left:right], side)
        square = cv2.cvtColor(part, cv2.COLOR_RGB2BGR)
        _, jpeg = cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        # No fsync for each of 122 000 files: the folder gets its name when all are written.
        unfinished = folder / f".{picture}.tmp"
        unfinished.write_bytes(jpeg.tobytes())
        unfinished.replace(folder / f"{picture}.jpg")


def _write_labels(file: Path, images: pd.DataFrame) -> None:
    columns = {"image_id": [picture for name in images["id"] for picture in names(name)]}
    for number, column in enumerate(LABEL_COLUMNS[1:]):
        columns[column] = np.repeat(images["label"] == number, PICTURES).astype(int).tolist()
    write_atomic(file, pd.DataFrame(columns).to_csv(index=False, lineterminator="\n"))
