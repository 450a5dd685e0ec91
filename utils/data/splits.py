"""ISIC 2017: where it is, which images, labels and masks it holds, how it is split.

Everything is checked here, before any long work: a problem is a DataError that names up to five
offenders and their count.
"""

import os
import re
from pathlib import Path

import pandas as pd

from utils.data import crops, demo, own, tree
from utils.data.folds import held_out, shared_out
from utils.data.labels import classes_of, numbers
from utils.data.names import CLASSES as CLASSES
from utils.data.names import ISIC_2017, TRAIN_LISTS
from utils.data.tree import EXTENDED_LABELS, IMAGE_FOLDERS, PREFIXES, read_split
from utils.system import project, values
from utils.system.errors import DataError, listed
from utils.system.fold import Fold
from utils.system.machine import refuse_several_processes

SELECT_ON = ("validation", "holdout", "fold")
HOLDOUT_SHARE = 0.15  # 300 of the 2000 official training images


def locate(data_dir: str | Path | None = None) -> Path:
    """The data folder: the one named, else `Data/ISIC2017`, else $ISIC2017_DIR, else the demo set.

    "demo" always means the synthetic demo set, which is made when it does not exist yet. A relative
    path is tried from the working directory, then from the project's root.
    Raises DataError when the folder named (or that of $ISIC2017_DIR) holds no ISIC 2017 split,
    ValueRefusedError for what cannot be a folder, and LaunchError where a launcher was asked for
    several processes: all work begins here.
    """
    refuse_several_processes()
    origin, name = "", "data_dir"
    if data_dir is None:
        data_dir = project.PROJECT / "Data" / "ISIC2017"
        if not _has_data(data_dir):
            data_dir = os.environ.get("ISIC2017_DIR") or "demo"
            origin, name = ", which $ISIC2017_DIR names", "$ISIC2017_DIR"
    if str(data_dir) == "demo":
        return demo.generate(project.PROJECT / "Data" / "demo")
    folder = values.path(name, data_dir, "folder")
    try:
        if not folder.exists() and (project.PROJECT / folder).exists():
            folder = project.PROJECT / folder
        folder = folder.resolve()
        if own.is_own(folder):
            check_name(folder)
        elif not splits_in(folder):
            raise _no_data(folder, origin)
    except OSError as error:
        raise DataError(
            f"{folder}{origin} cannot be read ({error.strerror}); give access to it, or name "
            "another folder (data_dir)."
        ) from error
    return folder


def _has_data(standard: Path) -> bool:
    """Whether someone put data there; the traces of an unfinished download do not count."""
    unfinished = {"archives", "downloads.json", "unpacked.json"}
    return standard.is_dir() and any(
        not path.name.startswith(".") and path.suffix != ".csv" and path.name not in unfinished
        for path in standard.iterdir()
    )


def _no_data(folder: Path, origin: str = "") -> DataError:
    names = listed(sorted(p.name for p in folder.glob("*") if not p.name.startswith(".")))
    return DataError(
        f"no ISIC 2017 data in {folder}{origin}: found {names or 'nothing'}; expected folders such "
        f"as {IMAGE_FOLDERS['train'][0]} with {PREFIXES['train'][0]}_Part3_GroundTruth.csv beside "
        "them. Download them (python prepare_data.py download), name the folder that holds them, "
        "or use data_dir='demo'. Data of your own are images/ beside labels.csv or masks/: "
        f'python prepare_data.py adopt "{folder}" shows what can be made of this folder.'
    )


def check_name(folder: Path) -> None:
    """DataError for own data whose runs would be taken for those of another set."""
    if folder.name.casefold() in ("demo", "isic2017"):
        raise DataError(
            f"{folder} holds data of your own, whose runs would lie among those of "
            f"{folder.name}; rename the folder."
        )


def splits_in(data_dir: Path) -> list[str]:
    """The splits that the folder has images of; DataError as `read`."""
    if not own.is_own(data_dir):
        return tree.splits_in(data_dir)
    return own.read(data_dir, allow_missing=True)["split"].unique().tolist()


def is_demo(data_dir: Path) -> bool:
    """Whether the folder holds the synthetic demo set."""
    return (data_dir / demo.MARKER).is_file()


def set_name(data_dir: Path) -> str:
    """'demo', 'isic2017', or the folder's name for own data: how run folders name the data."""
    if own.is_own(data_dir):  # without a hyphen: in model/<set>-<profile> it ends the name
        return re.sub(r"[^\w.]+", "_", data_dir.resolve().name)
    return "demo" if is_demo(data_dir) else "isic2017"


def note(data_dir: Path) -> str:
    """The note on the data in every figure and table made from the folder."""
    if own.is_own(data_dir):
        return data_dir.resolve().name
    return demo.ABOUT if is_demo(data_dir) else ISIC_2017


def read(data_dir: Path, train_list: str = "official", allow_missing: bool = False) -> pd.DataFrame:
    """All images of all splits that the folder holds, checked; one row an image.

    Columns: id, split ("train", "validation", "test"), label (the number in `data.classes`;
    `NO_LABEL` where there are only masks), official (False for images of the enlarged list alone),
    image (path), mask (path or ""), age (years or NaN), sex ("male", "female", "unknown"); of own
    data also group, the id where there is none. train_list "extended" adds the coursework's 1320
    further archive images,
    "patches" 60 crops of each official training image (`data.crops`); with allow_missing, rows
    without an image file are left out instead of being an error.
    Raises DataError for ids without image, images without row, duplicates, rows with both labels,
    labels that are not 0 or 1, and ids in two splits.
    """
    _check_choice("train_list", train_list, TRAIN_LISTS)
    if own.is_own(data_dir):
        if train_list != "official":
            raise DataError(
                f"train_list is {train_list!r}, which exists for ISIC 2017 alone; use 'official' "
                f"for {data_dir}, and a profile or row that does (light, best; all but 1-4, 1-6)."
            )
        return own.read(data_dir, allow_missing)
    present = splits_in(data_dir)
    extended = "train" in present and train_list == "extended"
    if extended and not (data_dir / EXTENDED_LABELS).exists():
        raise DataError(
            f"train_list='extended' needs {EXTENDED_LABELS} in {data_dir}, which is missing; add "
            "it, or use train_list='official'."
        )
    if not present:
        raise _no_data(data_dir)
    frames = [read_split(data_dir, split, train_list, allow_missing) for split in present]
    if train_list == "patches" and "train" in present:
        frames.append(crops.read(data_dir, frames[present.index("train")]))
    images = pd.concat(frames, ignore_index=True)
    twice = images.loc[images["id"].duplicated(), "id"]
    if len(twice):
        raise DataError(
            f"ids in two splits: {listed(twice)}; a network must not be scored on images it was "
            f"trained on. Remove them from one of the csv files in {data_dir}."
        )
    return images


def training_images(
    images: pd.DataFrame, select_on: str, seed: int, fold: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split into the images to train on and those to select the best epoch on.

    "validation" selects on the official validation split, as the published studies did. "holdout"
    keeps 15 % of the official training images (300 of 2000), stratified by class and fixed by the
    seed, and leaves the validation split untouched; no crop of a held-out image is trained on.
    "fold" keeps a fold of them ("2/5", see `data.folds`), to be scored rather than selected on.
    Raises DataError when a split is missing, or a class has too few images; ValueError for a fold
    that is none.
    """
    _check_choice("select_on", select_on, SELECT_ON)
    train, validation = (images[images["split"] == split] for split in ("train", "validation"))
    on_validation = select_on == "validation"
    if train.empty or (on_validation and validation.empty):
        raise DataError(
            f"training with select_on={select_on!r} needs the train"
            f"{' and the validation' * on_validation} split; found "
            f"{listed(sorted(images['split'].unique())) or 'none'}. Add the split"
            f"{', or select on ' + repr('holdout') if on_validation else ''}."
        )
    if on_validation:
        return train.reset_index(drop=True), validation.reset_index(drop=True)
    official = train[train["official"]]
    if select_on == "fold":
        return _apart(train, official[held_out(official, Fold.parse(fold))])
    other = "choose the epoch on the validation split (select_on='validation')"
    if "group" in official:
        official = official.reset_index(drop=True)
        _require_pairs(official, "a hold-out of the training images", other)
        kept = shared_out(official, (1 - HOLDOUT_SHARE, HOLDOUT_SHARE), seed) == 1
        return _apart(train, official[kept])
    _require_pairs(official, "a hold-out of the official training images", other)
    if len(official) * HOLDOUT_SHARE <= official["label"].nunique() - 1:  # scikit-learn rounds up
        raise DataError(
            f"a hold-out of {HOLDOUT_SHARE:.0%} of {len(official)} training images has no room for "
            f"an image of each class; add more images, or {other}."
        )
    return _apart(train, _stratified(official, seed, test_size=HOLDOUT_SHARE)[1])


def _apart(train: pd.DataFrame, kept: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training images that are none of these nor crops of them, and these, by id."""
    whole = train["id"].where(train["official"], crops.source(train["id"]))
    rest = train[~whole.isin(kept["id"])]
    return rest.reset_index(drop=True), kept.sort_values("id").reset_index(drop=True)


def drawn(images: pd.DataFrame, count: int | None, seed: int) -> pd.DataFrame:
    """At most `count` of the images, stratified by class, fixed by the seed; all of them for None.

    Raises DataError where an image of each class cannot be both drawn and left.
    """
    if count is None or count >= len(images):
        return images
    classes = images["label"].nunique()
    if not classes <= count <= len(images) - classes:
        raise DataError(
            f"train_images is {count} of {len(images)}; expected at least {classes}, an image "
            f"of each class, and at most {len(images) - classes}, or all of them (None)."
        )
    what = f"drawing {count} training images by class"
    _require_pairs(images, what, "use all (train_images=None)")
    kept, _ = _stratified(images, seed, train_size=count)
    return kept.sort_index().reset_index(drop=True)


def _stratified(images: pd.DataFrame, seed: int, **size: float) -> list[pd.DataFrame]:
    from sklearn.model_selection import train_test_split  # slow: it imports scipy

    return train_test_split(images, stratify=images["label"], random_state=seed, **size)


def _require_pairs(images: pd.DataFrame, what: str, other: str) -> None:
    """DataError where a class has too few images, or groups of them, to be split."""
    units = "images"
    if "group" in images:
        units, images = "groups", images.drop_duplicates(["label", "group"])
    counts = images["label"].value_counts().sort_index()
    if counts.empty or counts.min() < 2:
        found = numbers(counts, classes_of(images)) or "none"
        raise DataError(
            f"{what} needs at least 2 {units} of each class; found {found}. "
            f"Add more images of it, or {other}."
        )


def evaluation_split(images: pd.DataFrame, split: str | None = None) -> str:
    """The split to score: the one named, else test if present, else validation."""
    present = sorted(images["split"].unique())
    if split is None:
        split = "test" if "test" in present else "validation"
    if split not in present:
        raise DataError(f"no images of split {split!r} in the data; found {listed(present)}.")
    return split


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}.")
