"""What a finished network said of each image: computed once, written, read ever after."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from utils.data.splits import CLASSES
from utils.evaluation.counts import Counts
from utils.evaluation.masks import METRICS
from utils.logger.run import RunFolder
from utils.system.errors import RunError, listed

_PREDICTIONS = [["id", "label", *CLASSES[:width]] for width in (len(CLASSES), 1)]
_PER_IMAGE = [["id", "width", "height", *Counts._fields, *METRICS]]
_THRESHOLDS = [["id", "threshold", *Counts._fields]]
_CURE = "Remove that file to predict again, or train the run again (resume='restart')."


class Result(NamedTuple):
    """A row an image: counts and official scores; and the counts at each of several thresholds."""

    per_image: pd.DataFrame  # id, width, height, tp, fp, fn, tn, METRICS
    thresholds: pd.DataFrame  # id, threshold, tp, fp, fn, tn


def predictions(
    run: RunFolder, split: str, images: pd.DataFrame, predict: Callable[[], np.ndarray]
) -> pd.DataFrame:
    """The table id, label and one probability column a class; predict() runs only if need be.

    images are those of the split, in the order in which predict() gives probabilities (n, C). What
    `predictions-<split>.csv` holds already is read. Raises RunError when that file is damaged, or
    was made for other ids or labels.
    """
    file = run / f"predictions-{split}.csv"
    if not file.exists():
        probabilities = predict().astype(np.float64)  # as they will be read
        made = pd.DataFrame({"id": images["id"].to_numpy(), "label": images["label"].to_numpy()})
        for number, name in enumerate(CLASSES[: probabilities.shape[1]]):
            made[name] = probabilities[:, number]
        run.save_table(file.name, made)
    table = _read(file, _PREDICTIONS, images, once=True)
    changed = table["label"].to_numpy() != images["label"].to_numpy()
    if changed.any():
        raise RunError(
            f"{file} holds other labels than the data for {listed(table['id'][changed])}; "
            f"one of them is wrong. {_CURE}"
        )
    return table


def per_image(
    run: RunFolder,
    split: str,
    images: pd.DataFrame,
    evaluate: Callable[[], Result],
    masks_to: Path | None = None,
) -> Result:
    """The counts and scores of each of the images; evaluate() runs only if need be.

    What `per-image-<split>.csv` and `thresholds-<split>.csv` hold already is read, unless
    evaluate() is to write masks into masks_to, too, and one of them is not there. Raises RunError
    when a table is damaged or was made for other images.
    """
    files = [run / f"{name}-{split}.csv" for name in ("per-image", "thresholds")]
    masks = [] if masks_to is None else [masks_to / mask_name(name) for name in images["id"]]
    if not all(file.exists() for file in [*files, *masks]):
        for file, table in zip(files, evaluate(), strict=True):
            run.save_table(file.name, table)
    return Result(
        _read(files[0], _PER_IMAGE, images, once=True), _read(files[1], _THRESHOLDS, images)
    )


def mask_name(image_id: str) -> str:
    """What the challenge calls the mask of an image.

    >>> mask_name("ISIC_0000000")
    'ISIC_0000000_segmentation.png'
    """
    return f"{image_id}_segmentation.png"


def _read(
    file: Path, columns: Sequence[list[str]], images: pd.DataFrame, once: bool = False
) -> pd.DataFrame:
    """The table in a file, also where it was written just now: a second run sees the same.

    It has one of these lists of columns, and is about these images; with `once` it holds each of
    them once, and is given in their order.
    """
    try:
        table = pd.read_csv(file, converters={"id": str})  # "NA" is an id, too
    except ValueError as error:  # empty, or no table
        raise RunError(f"{file} is damaged ({error}). {_CURE}") from error
    empty = int(table.isna().sum().sum())
    if table.columns.tolist() not in columns or empty:
        raise RunError(
            f"{file} is damaged: expected the columns {', '.join(columns[0])}, none of them empty; "
            f"found {listed(table.columns)}, {empty} empty. {_CURE}"
        )
    if strange := sorted(set(table["id"]) ^ set(images["id"])):
        raise RunError(
            f"{file} was made for other images; only on one side: {listed(strange)}. {_CURE}"
        )
    if not once:
        return table
    if twice := sorted(set(table["id"][table["id"].duplicated()])):
        raise RunError(f"{file} holds ids twice: {listed(twice)}. {_CURE}")
    return table.set_index("id").loc[images["id"]].reset_index()
