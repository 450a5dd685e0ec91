"""The predictions of a trained network for each image: computed once, then read from file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from utils.data.names import CLASSES
from utils.evaluation.counts import Counts
from utils.evaluation.masks import METRICS
from utils.logger.run import RunFolder
from utils.system.errors import RunError, listed
from utils.system.files import read_table

SEEN = "seen_"  # counts of the pixels that the network saw, at its own size, for "middle"
_PER_IMAGE = [["id", "width", "height", *Counts._fields, *METRICS]]
_PER_IMAGE += [[*_PER_IMAGE[0], *(SEEN + name for name in Counts._fields)]]
_THRESHOLDS = [["id", "threshold", *Counts._fields]]
_CURE = "Remove that file to predict again, or train the run again (resume='restart')."


class Result(NamedTuple):
    """Counts and official scores of each image, and the counts at several thresholds."""

    per_image: pd.DataFrame  # id, width, height, tp, fp, fn, tn, METRICS, perhaps seen_tp …
    thresholds: pd.DataFrame  # id, threshold, tp, fp, fn, tn


def classes_of(run: RunFolder) -> tuple[str, ...]:
    """The classes of the set that a classifier was trained on."""
    return tuple(run.config.get("row", {}).get("classes", CLASSES))


def predictions(
    run: RunFolder, split: str, images: pd.DataFrame, predict: Callable[[], np.ndarray]
) -> pd.DataFrame:
    """The table id, label and one probability column per class; predict() runs only if needed.

    images are those of the split, in the order of predict()'s probabilities (n, C). An existing
    `predictions-<split>.csv` is read; RunError when it is damaged or has other ids or labels.
    """
    file = run / f"predictions-{split}.csv"
    if not file.exists():
        _require_images(images, file)
        probabilities = predict().astype(np.float64)  # as they will be read
        names = list(classes_of(run)[: probabilities.shape[1]])
        new = images[["id", "label"]].reset_index(drop=True)
        run.save_table(file.name, new.join(pd.DataFrame(probabilities, columns=names)))
    table = _read(file, _columns(run), images, once=True)
    changed = table["label"].to_numpy() != images["label"].to_numpy()
    if changed.any():
        raise RunError(
            f"{file} and the data have different labels for {listed(table['id'][changed])}; "
            f"expected the same. {_CURE}"
        )
    return table


def stored_predictions(run: RunFolder, split: str) -> pd.DataFrame:
    """The predictions in a run's folder, where the images are not at hand.

    RunError where they are missing or damaged.
    """
    file = run / f"predictions-{split}.csv"
    if not file.exists():
        raise RunError(f"{file} is missing; evaluate the run again, which predicts it.")
    return _read(file, _columns(run), None, once=True)


def per_image(
    run: RunFolder,
    split: str,
    images: pd.DataFrame,
    evaluate: Callable[[], Result],
    masks_to: Path | None = None,
) -> Result:
    """The counts and scores of each image; evaluate() runs only if needed.

    Existing files `per-image-<split>.csv` and `thresholds-<split>.csv` are read, unless evaluate()
    is to write masks to masks_to and one of them is missing. RunError when a table is damaged or is
    about other images.
    """
    files = [run / f"{name}-{split}.csv" for name in ("per-image", "thresholds")]
    masks = [] if masks_to is None else [masks_to / mask_name(name) for name in images["id"]]
    lacking = [file for file in [*files, *masks] if not file.exists()]
    if lacking:
        _require_images(images, lacking[0])
        for file, table in zip(files, evaluate(), strict=True):
            run.save_table(file.name, table)
    return Result(
        _read(files[0], _PER_IMAGE, images, once=True), _read(files[1], _THRESHOLDS, images)
    )


def _require_images(images: pd.DataFrame, file: Path) -> None:
    """RunError where a file is to be made of images that are only a list (`stored.images_of`)."""
    if "image" in images and (images["image"] == "").all():
        raise RunError(
            f"{file} is missing, and so are the images it would be made of; name their folder with "
            "data_dir, or ask only for what is stored (views, threshold and clean_up None)."
        )


def mask_name(image_id: str) -> str:
    """The challenge's file name for the mask of an image.

    >>> mask_name("ISIC_0000000")
    'ISIC_0000000_segmentation.png'
    """
    return f"{image_id}_segmentation.png"


def _columns(run: RunFolder) -> list[list[str]]:
    """Those of predictions: all classes, or of one logit the first."""
    names = classes_of(run)
    return [["id", "label", *names[:width]] for width in (len(names), 1)]


def _read(
    file: Path, columns: Sequence[list[str]], images: pd.DataFrame | None, once: bool = False
) -> pd.DataFrame:
    """The table in a file, even if it was just written: a second run gets the same.

    It must have one of these lists of columns and be about these images (None for any); with `once`
    each of them has one row, in their order.
    """
    try:
        table = read_table(file)
    except ValueError as error:  # empty, or no table
        raise RunError(f"{file} is damaged ({error}). {_CURE}") from error
    empty = int(table.isna().sum().sum())
    if table.columns.tolist() not in columns or empty:
        raise RunError(
            f"{file} is damaged: expected the columns {', '.join(columns[0])}, none of them empty; "
            f"found {listed(table.columns)}, {empty} empty. {_CURE}"
        )
    ids = table["id"] if images is None else images["id"]
    if unshared := sorted(set(table["id"]) ^ set(ids)):
        raise RunError(
            f"{file} is about other images than the data; only in one: {listed(unshared)}. {_CURE}"
        )
    if not once:
        return table
    if twice := sorted(set(table["id"][table["id"].duplicated()])):
        raise RunError(f"{file} has duplicate ids, expected none: {listed(twice)}. {_CURE}")
    return table.set_index("id").loc[ids].reset_index()
