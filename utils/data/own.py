"""A data folder of one's own: `images/`, with `labels.csv`, `masks/` or both beside it.

`labels.csv` has the columns image and label, and perhaps split (train, validation, test), group (a
patient or a lesion, which is never in two splits, hold-outs or folds), age (years) and sex. Without
the column split, `splits.csv` (image, split) has it. With masks the column label may be absent.
A mask is `<image>_segmentation.png` or `<image>.png`. A folder of ISIC 2017 is none of these.
"""

import re
from pathlib import Path

import pandas as pd

from utils.data.names import MASK_ENDING, NO_CLASS, SPLITS
from utils.data.spelling import match
from utils.data.tables import NO_LABEL, empty_cells, inspect_ids, people, read_csv
from utils.data.tree import (
    as_files,
    image_folders,
    masks_in,
    missing,
    pictures_in,
    present,
    strangers,
    unlisted,
    unpictured,
)
from utils.system.errors import DataError, Fault, listed, raise_first

IMAGES, MASKS, LABELS, SPLIT_TABLE = "images", "masks", "labels.csv", "splits.csv"
FEWEST, MOST = 2, 20  # classes
FIRST = ("melanoma", "malignant")  # whichever the set has is class 0, the others by alphabet
_ENDINGS = (MASK_ENDING, ".png")


def is_own(folder: Path) -> bool:
    """Whether the folder has this layout. DataError where it cannot be listed."""
    if not folder.is_dir() or any(image_folders(folder, split) for split in SPLITS):
        return False
    return bool(present(folder, [IMAGES]) and present(folder, [LABELS, MASKS]))


def classes(folder: Path) -> tuple[str, ...]:
    """The names of the classes by label, as file names and columns take them; () without labels."""
    if not present(folder, [LABELS]):
        return ()
    table = _table(folder)
    return tuple(named(table["label"], folder / LABELS)[1]) if "label" in table else ()


def read(folder: Path, allow_missing: bool = False) -> pd.DataFrame:
    """The checked images of all splits, as `data.read` describes them, with the column group."""
    images = undivided(folder, allow_missing)
    images["split"] = _splits(folder, images)
    raise_first(on_both_sides(images, folder / LABELS))
    images = images[images["image"].notna()].assign(official=True)
    order = ["id", "label", "split", "official", "image", "mask", "age", "sex", "group"]
    images = images[order].sort_values("split", key=lambda s: s.map(SPLITS.index), kind="stable")
    return images.reset_index(drop=True)


def undivided(folder: Path, allow_missing: bool = False) -> pd.DataFrame:
    """As `read`, but with the split as labels.csv has it, if it does.

    The path of a missing image is NaN.
    """
    pictures, faults = pictures_in([folder / IMAGES])
    file = folder / LABELS
    names: list[str] = []
    if present(folder, [LABELS]):
        images = as_files(_table(folder), pictures, LABELS)
        raise_first([*faults, *strangers(pictures, {*images["id"]}, file)])
        raise_first(unlisted("images", pictures, images["id"], file))
    else:
        raise_first(faults)
        images = pd.DataFrame({"id": pd.Series(sorted(pictures), dtype=str)})
    if "label" in images:
        raise_first(empty_cells(images["label"], images["id"], file))
        images["label"], names = named(images["label"], file)
    else:
        images["label"] = NO_LABEL
    images["image"] = images["id"].map(pictures)
    if not allow_missing:
        raise_first(missing("image", images.loc[images["image"].isna(), "id"], folder, LABELS))
    masks = _masks(folder, images["id"], file)
    images["mask"] = [masks.get(id_, "") for id_ in images["id"]]
    group = images.get("group", "")
    images["group"] = images["id"].where(pd.Series(group, images.index) == "", group)
    asked = images.rename(columns={"age": "age_approximate"})
    asked = people(asked.reindex(columns=["age_approximate", "sex"], fill_value=""))
    images = images.assign(age=asked["age"], sex=asked["sex"])
    images.attrs["classes"] = tuple(names)
    return images


def _table(folder: Path) -> pd.DataFrame:
    """The rows of labels.csv as text: id, and those of the further columns that it has."""
    file = folder / LABELS
    labelled = ("label",) if not present(folder, [MASKS]) else ()
    more = ("label", "split", "group", "age", "sex")
    table = read_csv(file, ("image", *labelled), more).rename(columns={"image": "image_id"})
    if table.empty:
        raise DataError(f"{file} has no rows under its column names; write one for each image.")
    raise_first(inspect_ids(table, file)[1])
    return table.rename(columns={"image_id": "id"})


def named(labels: pd.Series, file: Path) -> tuple[pd.Series, list[str]]:
    """The label of each row as a number, and the classes' names. DataError for other labels."""
    names = {text: identifier(text) for text in labels.unique()}
    wrong = [text for text, name in names.items() if not name or name in NO_CLASS]
    cure = "write a word with a letter or a digit, other than " + ", ".join(sorted(NO_CLASS))
    raise_first([Fault(f"labels in {file} that cannot be used:", cure, wrong)] if wrong else [])
    if len(set(names.values())) < len(names):
        twice = [text for text in names if [*names.values()].count(names[text]) > 1]
        what = f"labels in {file} that differ only in spelling:"
        raise_first([Fault(what, "write each class in one way", sorted(twice))])
    found = sorted(names.values(), key=lambda name: (name not in FIRST, name))
    if not FEWEST <= len(found) <= MOST:
        raise DataError(
            f"{file} has {len(found)} class{'es' * (len(found) > 1)}: {listed(found)}; expected "
            f"{FEWEST} to {MOST} in the column label: check that it is the right one, and join "
            "rare classes, or remove the column to use the masks alone."
        )
    return labels.map(names).map(found.index), found


def identifier(label: str) -> str:
    """A label as the name of a column and of files.

    >>> identifier("Basal-cell carcinoma"), identifier("1")
    ('basal_cell_carcinoma', 'class_1')
    """
    name = re.sub(r"\W+", "_", label.lower()).strip("_")
    return f"class_{name}" if name[:1].isdigit() else name


def _masks(folder: Path, ids: pd.Series, file: Path) -> dict[str, str]:
    """Path of each mask by the id that its image has."""
    masks, faults = masks_in(next(iter(present(folder, [MASKS])), None), _ENDINGS)
    matched = match(masks, ids, MASKS)
    raise_first([*faults, *matched.faults])
    by_id = {matched.name(id_): path for id_, path in masks.items()}
    listed_in = present(folder, [LABELS])
    spare = unlisted("masks", by_id, ids, file) if listed_in else unpictured(by_id, ids, folder)
    raise_first(spare)
    return by_id


def _splits(folder: Path, images: pd.DataFrame) -> pd.Series:
    """The split of each image, from labels.csv or else from splits.csv."""
    file, cure = folder / LABELS, f"write {', '.join(SPLITS[:-1])} or {SPLITS[-1]}"
    if "split" in images and present(folder, [SPLIT_TABLE]):
        raise DataError(
            f"{file} has a column split, and {folder / SPLIT_TABLE} is there, too; keep one of "
            "them: it is unclear which splits are meant."
        )
    if "split" in images:
        splits = images["split"]
    elif present(folder, [SPLIT_TABLE]):
        file = folder / SPLIT_TABLE
        table = read_csv(file, ("image", "split")).rename(columns={"image": "image_id"})
        raise_first(inspect_ids(table, file)[1])
        table = as_files(table.rename(columns={"image_id": "id"}), images["id"], SPLIT_TABLE)
        splits = images["id"].map(table.set_index("id")["split"])
        again = f'move it elsewhere, and prepare_data.py adopt "{folder}" --write makes it anew'
        raise_first(
            Fault(f"images {way} {file}:", again, sorted(ids))
            for way, ids in (
                ("without a row in", images["id"][splits.isna()]),
                ("that are not in the set, but in", {*table["id"]} - {*images["id"]}),
            )
            if len(ids)
        )
    else:
        raise DataError(
            f"{folder} is not divided yet: {LABELS} has no column split, and there is no "
            f'{SPLIT_TABLE}; make it with\n    python prepare_data.py adopt "{folder}" --write'
        )
    if odd := sorted({*splits} - {*SPLITS}):
        raise_first([Fault(f"unknown splits in {file}:", cure, [text or '""' for text in odd])])
    return splits


def on_both_sides(images: pd.DataFrame, file: Path) -> list[Fault]:
    """The fault of groups in more than one split."""
    splits = images.groupby("group", sort=True)["split"].unique()
    found = [f"{group} ({', '.join(s)})" for group, s in splits.items() if len(s) > 1]
    what = f"groups of {file} that are in several splits:"
    cure = "put all images of a patient or lesion into one, as a network is tested on strangers"
    return [Fault(what, cure, found)] if found else []
