"""ISIC 2017 on disk: where it lies, which images, labels and masks it holds, how it is split.

Two spellings of the tree are read: the official one (`ISIC-2017_Training_Data`, …) and that of
earlier coursework (`Aug_Training_Data`, `ISIC-2017_Test_Data`, one enlarged training list).
Everything is checked here, before any long work: a problem is a DataError that names up to five
offenders and their count.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split

from utils import demo

PROJECT = Path(__file__).resolve().parent.parent
CLASSES = ("melanoma", "seborrheic_keratosis", "benign")
SPLITS = ("train", "validation", "test")
TRAIN_LISTS = ("official", "extended")
SELECT_ON = ("validation", "holdout")
OFFICIAL_TRAINING_IMAGES = 2000
HOLDOUT_SHARE = 0.15  # 300 of the 2000 official training images

_IMAGE_FOLDERS = {
    "train": ("ISIC-2017_Training_Data", "Aug_Training_Data"),
    "validation": ("ISIC-2017_Validation_Data",),
    "test": ("ISIC-2017_Test_v2_Data", "ISIC-2017_Test_Data"),
}
_PREFIXES = {
    "train": ("ISIC-2017_Training",),
    "validation": ("ISIC-2017_Validation",),
    "test": ("ISIC-2017_Test_v2", "ISIC-2017_Test"),
}
_EXTENDED_LABELS = "ISIC-2017_Training_Aug_Part3_GroundTruth.csv"
_LABEL_COLUMNS = ("image_id", "melanoma", "seborrheic_keratosis")
_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}


class DataError(ValueError):
    """Something is wrong with the data on disk; the message says what, where and how to mend it."""


def name_offenders(names: Iterable[object]) -> str:
    """Up to five names and, when there are more, the count: 'a, b, c, d, e … (12 in all)'."""
    names = [str(name) for name in names]
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} … ({len(names)} in all)"


def locate(data_dir: str | Path | None = None) -> Path:
    """The data folder: the one named, else `Data/ISIC2017`, else $ISIC2017_DIR, else the demo set.

    "demo" always means the synthetic demo set, which is made when it is not there yet. A relative
    path is tried from the working directory, then from the project's root.
    Raises DataError when the folder named (or that of $ISIC2017_DIR) holds no ISIC 2017 split.
    """
    origin = ""
    if data_dir is None:
        standard, from_environment = PROJECT / "Data" / "ISIC2017", os.environ.get("ISIC2017_DIR")
        if _splits_in(standard):
            return standard
        data_dir, origin = from_environment or "demo", ", which $ISIC2017_DIR names"
    if str(data_dir) == "demo":
        return demo.generate(PROJECT / "Data" / "demo")
    folder = Path(data_dir).expanduser()
    if not folder.exists() and (PROJECT / folder).exists():
        folder = PROJECT / folder
    folder = folder.resolve()
    if not _splits_in(folder):
        found = name_offenders(sorted(p.name for p in folder.glob("*"))) or "nothing"
        raise DataError(
            f"no ISIC 2017 data in {folder}{origin}: found {found}; expected folders such as "
            f"{_IMAGE_FOLDERS['train'][0]} with {_PREFIXES['train'][0]}_Part3_GroundTruth.csv "
            "beside them. Name the folder that holds them, or use data_dir='demo'."
        )
    return folder


def is_demo(data_dir: Path) -> bool:
    """Whether the folder holds the synthetic demo set."""
    return (data_dir / demo.MARKER).is_file()


def set_name(data_dir: Path) -> str:
    """'demo' or 'isic2017': how run folders and figures name the data."""
    return "demo" if is_demo(data_dir) else "isic2017"


def note(data_dir: Path) -> str:
    """What every figure and table made from the folder says about its data."""
    return "synthetic demo data" if is_demo(data_dir) else "ISIC 2017"


def read(data_dir: Path, train_list: str = "official", allow_missing: bool = False) -> pd.DataFrame:
    """All rows of all splits that the folder holds, checked.

    Columns: id, split ("train", "validation", "test"), label (0 melanoma, 1 seborrheic keratosis,
    2 benign), image (path), mask (path or ""), age (years or NaN), sex ("male", "female",
    "unknown"). train_list "extended" adds the coursework's 1320 further archive images; with
    allow_missing, rows without an image are left out instead of being an error.
    Raises DataError for ids without image, images without row, duplicates, rows with both labels,
    labels that are not 0 or 1, and ids that stand in two splits.
    """
    _check_choice("train_list", train_list, TRAIN_LISTS)
    present = _splits_in(data_dir)
    if (
        "train" in present
        and train_list == "extended"
        and not (data_dir / _EXTENDED_LABELS).exists()
    ):
        raise DataError(
            f"train_list='extended' needs {_EXTENDED_LABELS} in {data_dir}, which is not there; "
            "put it there, or use train_list='official'."
        )
    frames = [_read_split(data_dir, split, train_list, allow_missing) for split in present]
    rows = pd.concat(frames, ignore_index=True)
    twice = rows.loc[rows["id"].duplicated(), "id"]
    if len(twice):
        raise DataError(
            f"ids that stand in two splits: {name_offenders(twice)}; a network must not be scored "
            f"on images it was trained on. Remove them from one of the csv files in {data_dir}."
        )
    return rows


def training_rows(
    rows: pd.DataFrame, select_on: str, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split into the rows to train on and the rows to select the best epoch on.

    "validation" selects on the official validation split, as the published studies did. "holdout"
    keeps 15 % of the official training rows (300 of 2000), stratified by class and fixed by the
    seed, and leaves the validation split untouched. Raises DataError when a split is missing.
    """
    _check_choice("select_on", select_on, SELECT_ON)
    train, validation = (rows[rows["split"] == split] for split in ("train", "validation"))
    if train.empty or (select_on == "validation" and validation.empty):
        raise DataError(
            f"training with select_on={select_on!r} needs the train"
            f"{' and the validation' if select_on == 'validation' else ''} split; found "
            f"{name_offenders(sorted(rows['split'].unique())) or 'none'}. Bring the split, "
            "or select on 'holdout'."
        )
    if select_on == "validation":
        return train.reset_index(drop=True), validation.reset_index(drop=True)
    official = train.iloc[:OFFICIAL_TRAINING_IMAGES]
    _, held_out = train_test_split(
        official, test_size=HOLDOUT_SHARE, stratify=official["label"], random_state=seed
    )
    kept = train[~train["id"].isin(held_out["id"])]
    return kept.reset_index(drop=True), held_out.sort_values("id").reset_index(drop=True)


def evaluation_split(rows: pd.DataFrame, split: str | None = None) -> str:
    """The split to score: the one named, else test where it is there, else validation."""
    present = sorted(rows["split"].unique())
    if split is None:
        split = "test" if "test" in present else "validation"
    if split not in present:
        raise DataError(f"no rows of split {split!r} in the data; found {name_offenders(present)}.")
    return split


def class_counts(rows: pd.DataFrame) -> pd.DataFrame:
    """Images per split and class, in class order, with a column for all."""
    counts = pd.crosstab(rows["split"], rows["label"]).reindex(columns=range(3), fill_value=0)
    counts.columns = list(CLASSES)
    counts["all"] = counts.sum(axis=1)
    return counts.reindex([s for s in SPLITS if s in counts.index])


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(known)}.")


def _first_existing(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def _label_files(folder: Path, split: str) -> list[Path]:
    names = [f"{prefix}_Part3_GroundTruth.csv" for prefix in _PREFIXES[split]]
    if split == "train":
        names.append(_EXTENDED_LABELS)
    return [folder / name for name in names if (folder / name).is_file()]


def _splits_in(folder: Path) -> list[str]:
    return [
        split
        for split in SPLITS
        if _first_existing(folder, _IMAGE_FOLDERS[split]) and _label_files(folder, split)
    ]


def _read_split(folder: Path, split: str, train_list: str, allow_missing: bool) -> pd.DataFrame:
    files = _label_files(folder, split)
    lists = {file.name: _read_labels(file) for file in files}
    extended = split == "train" and train_list == "extended"
    rows = lists[_EXTENDED_LABELS if extended else files[0].name]
    if files[0].name == _EXTENDED_LABELS and not extended:
        # The coursework's tree has the enlarged list only; its first 2000 rows are the official.
        rows = rows.iloc[:OFFICIAL_TRAINING_IMAGES]
    rows = rows.assign(split=split)
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


def _read_labels(file: Path) -> pd.DataFrame:
    table = pd.read_csv(file, dtype=str, encoding="utf-8-sig")
    if lacking := [column for column in _LABEL_COLUMNS if column not in table.columns]:
        raise DataError(
            f"{file} lacks the column {', '.join(lacking)}; found {', '.join(table.columns)}. "
            f"Expected {', '.join(_LABEL_COLUMNS)}."
        )
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
    for name in _IMAGE_FOLDERS[split]:
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
    masks = _first_existing(folder, [f"{prefix}_Part1_GroundTruth" for prefix in _PREFIXES[split]])
    names = {} if masks is None else {path.name: str(path) for path in masks.glob("*.png")}
    return rows.assign(mask=[names.get(f"{id_}_segmentation.png", "") for id_ in rows["id"]])


def _with_metadata(rows: pd.DataFrame, folder: Path, split: str) -> pd.DataFrame:
    names = [f"{prefix}_Data_metadata.csv" for prefix in _PREFIXES[split]]
    # The official training archive keeps its metadata among the images.
    inside = [f"{images}/{name}" for images in _IMAGE_FOLDERS[split] for name in names]
    file = _first_existing(folder, [*names, *inside])
    if file is None:
        return rows.assign(age=float("nan"), sex="unknown")
    table = pd.read_csv(file, dtype=str, encoding="utf-8-sig").set_index("image_id")
    table = table[~table.index.duplicated()].reindex(rows["id"])
    age = pd.to_numeric(table["age_approximate"], errors="coerce").to_numpy()
    return rows.assign(age=age, sex=table["sex"].fillna("unknown").to_numpy())
