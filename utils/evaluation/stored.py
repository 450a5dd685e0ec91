"""The images that runs are evaluated on: those of the data, or, where these are not here, a list.

The runs in the box come with what they predicted. Tables and curves need no more than that; a
gallery needs the images.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from utils.data import splits
from utils.data.names import CLASSES, SPLITS
from utils.data.tables import NO_LABEL
from utils.logger.about import data_of
from utils.logger.run import RunFolder
from utils.system.console import say
from utils.system.errors import RunError
from utils.system.files import read_table

_FILES = ("predictions", "per-image")  # of a classifier, of a segmenter


def images_of(runs: Mapping[str, RunFolder], data_dir: Path) -> pd.DataFrame:
    """The images of the data that these runs were trained on, as `data.read` gives them.

    Where data_dir holds other data, those that the first run has predictions of: without paths, age
    and sex, and without labels for a segmenter. RunError where it has none.
    """
    if (trained_on := data_of(runs)) == splits.note(data_dir):
        return splits.read(data_dir)
    run = next(iter(runs.values()))
    tables = []
    for split in SPLITS:
        files = [run / f"{name}-{split}.csv" for name in _FILES]
        for file in (file for file in files if file.exists()):
            table = read_table(file)
            tables.append(table.reindex(columns=["id", "label"]).assign(split=split))
    if not tables:
        raise RunError(
            f"{run.path} was trained on {trained_on}, and {data_dir} is {splits.note(data_dir)}; "
            "it has no predictions to show without its images: name its data with data_dir."
        )
    say(f"no images of {trained_on} here: tables and curves from what is stored, no galleries")
    images = pd.concat(tables, ignore_index=True)
    images["label"] = images["label"].fillna(NO_LABEL).astype("int64")
    images.attrs["classes"] = tuple(run.config["row"].get("classes", CLASSES))
    return images.assign(official=True, image="", mask="", age=float("nan"), sex="unknown")


def at_hand(images: pd.DataFrame) -> bool:
    """Whether these are more than a list: the files are there."""
    return bool((images["image"] != "").all())
