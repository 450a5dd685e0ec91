"""What the files of an ISIC 2017 tree say, checked line by line.

Two spellings are read: the official one (`ISIC-2017_Training_Data`, …) and that of earlier
coursework (`Aug_Training_Data`, `ISIC-2017_Test_Data`, one enlarged training list).
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

SPLITS = ("train", "validation", "test")
IMAGE_FOLDERS = {
    "train": ("ISIC-2017_Training_Data", "Aug_Training_Data"),
    "validation": ("ISIC-2017_Validation_Data",),
    "test": ("ISIC-2017_Test_v2_Data", "ISIC-2017_Test_Data"),
}
PREFIXES = {
    "train": ("ISIC-2017_Training",),
    "validation": ("ISIC-2017_Validation",),
    "test": ("ISIC-2017_Test_v2", "ISIC-2017_Test"),
}
EXTENDED_LABELS = "ISIC-2017_Training_Aug_Part3_GroundTruth.csv"
_LABEL_COLUMNS = ("image_id", "melanoma", "seborrheic_keratosis")
_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}


class DataError(ValueError):
    """Something is wrong with the data on disk; the message says what, where and how to mend it."""


def name_offenders(names: Iterable[object]) -> str:
    """Up to five names and, when there are more, the count: 'a, b, c, d, e … (12 in all)'."""
    names = [str(name) for name in names]
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} … ({len(names)} in all)"


def _first_existing(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def _label_files(folder: Path, split: str) -> list[Path]:
    names = [f"{prefix}_Part3_GroundTruth.csv" for prefix in PREFIXES[split]]
    if split == "train":
        names.append(EXTENDED_LABELS)
    return [folder / name for name in names if (folder / name).is_file()]


def splits_in(folder: Path) -> list[str]:
    """The splits of which the folder holds images and labels.

    Raises DataError for images without labels: leaving such a split out would score another one.
    """
    present = []
    for split in SPLITS:
        images = _first_existing(folder, IMAGE_FOLDERS[split])
        if images and not _label_files(folder, split):
            raise DataError(
                f"{images} holds images, but {PREFIXES[split][0]}_Part3_GroundTruth.csv with their "
                f"labels is not in {folder}; put it there, or move the images away."
            )
        if images:
            present.append(split)
    return present


def read_split(folder: Path, split: str, train_list: str, allow_missing: bool) -> pd.DataFrame:
    """The checked rows of one split, as `data.read` describes them."""
    files = _label_files(folder, split)
    lists = {file.name: _read_labels(file) for file in files}
    extended = split == "train" and train_list == "extended"
    rows = lists[EXTENDED_LABELS if extended else files[0].name].assign(split=split)
    official = next((lists[f.name]["id"] for f in files if f.name != EXTENDED_LABELS), None)
    if official is None and not extended:
        raise DataError(
            f"{folder} holds the enlarged training list only ({EXTENDED_LABELS}), which does not "
            "say which of its rows are the official ones. Put the official "
            f"{PREFIXES['train'][0]}_Part3_GroundTruth.csv beside it, or use train_list='extended'."
        )
    rows["official"] = False if official is None else rows["id"].isin(official)
    listed = set().union(*(frame["id"] for frame in lists.values()))
    images = _images_in(folder, split)
    if unlisted := sorted(set(images) - listed):
        raise DataError(
            f"images without a row in {files[0].name}: {name_offenders(unlisted)}; remove the "
            "files, or add their labels."
        )
    rows["image"] = rows["id"].map(images)
    missing = rows.loc[rows["image"].isna(), "id"]
    if len(missing) and not allow_missing:
        raise DataError(
            f"ids of the {split} list without an image in {folder}: {name_offenders(missing)}; "
            "bring the images, or set allow_missing=True in the row to train without them."
        )
    rows = rows[rows["image"].notna()].reset_index(drop=True)
    return _with_metadata(_with_masks(rows, folder, split), folder, split)


def _read_csv(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A table of texts. Raises DataError when it is no csv file with these columns."""
    try:
        table = pd.read_csv(file, dtype=str, encoding="utf-8-sig")
    except ValueError as error:  # empty, no table at all, or not in UTF-8
        raise DataError(f"{file} is no readable csv file ({error}); fetch it again.") from error
    if lacking := [column for column in columns if column not in table.columns]:
        raise DataError(
            f"{file} lacks the column {', '.join(lacking)}; found {', '.join(table.columns)}. "
            f"Expected {', '.join(columns)}."
        )
    return table


def _read_labels(file: Path) -> pd.DataFrame:
    table = _read_csv(file, _LABEL_COLUMNS)
    ids = table["image_id"].str.strip()
    if len(twice := ids[ids.duplicated()]):
        raise DataError(
            f"duplicate ids in {file}: {name_offenders(twice)}; keep one row for each image."
        )
    values = table[["melanoma", "seborrheic_keratosis"]].apply(pd.to_numeric, errors="coerce")
    if len(strange := ids[~values.isin((0, 1)).all(axis=1)]):
        raise DataError(
            f"labels other than 0 and 1 in {file} for {name_offenders(strange)}; write 0 or 1."
        )
    melanoma, keratosis = (values[name] == 1 for name in values)
    if len(both := ids[melanoma & keratosis]):
        raise DataError(
            f"rows of {file} with both labels set: {name_offenders(both)}; a lesion is melanoma, "
            "or seborrheic keratosis, or neither (benign)."
        )
    label = (2 - 2 * melanoma.astype(int) - keratosis.astype(int)).astype("int64")
    return pd.DataFrame({"id": ids, "label": label})


def _images_in(folder: Path, split: str) -> dict[str, str]:
    """Path of each image by id, over all folder names of the split; no superpixel files."""
    found: dict[str, str] = {}
    for name in IMAGE_FOLDERS[split]:
        for path in sorted((folder / name).glob("*")):
            if path.suffix.lower() in _IMAGE_SUFFIXES and not path.stem.endswith("_superpixels"):
                if path.stem in found and (folder / name) == Path(found[path.stem]).parent:
                    raise DataError(
                        f"two files for the image {path.stem}: {found[path.stem]} and {path}; "
                        "keep one."
                    )
                found.setdefault(path.stem, str(path))
    return found


def _with_masks(rows: pd.DataFrame, folder: Path, split: str) -> pd.DataFrame:
    masks = _first_existing(folder, [f"{prefix}_Part1_GroundTruth" for prefix in PREFIXES[split]])
    names = {} if masks is None else {path.name: str(path) for path in masks.glob("*.png")}
    return rows.assign(mask=[names.get(f"{id_}_segmentation.png", "") for id_ in rows["id"]])


def _with_metadata(rows: pd.DataFrame, folder: Path, split: str) -> pd.DataFrame:
    names = [f"{prefix}_Data_metadata.csv" for prefix in PREFIXES[split]]
    # The official training archive keeps its metadata among the images.
    inside = [f"{images}/{name}" for images in IMAGE_FOLDERS[split] for name in names]
    file = _first_existing(folder, [*names, *inside])
    if file is None:
        return rows.assign(age=float("nan"), sex="unknown")
    table = _read_csv(file, ("image_id", "age_approximate", "sex")).set_index("image_id")
    table = table[~table.index.duplicated()].reindex(rows["id"])
    age = pd.to_numeric(table["age_approximate"], errors="coerce").to_numpy()
    return rows.assign(age=age, sex=table["sex"].fillna("unknown").to_numpy())
