"""Which files of an ISIC 2017 tree belong to which image, checked one by one.

Two spellings are read: the official one (`ISIC-2017_Training_Data`, …) and that of earlier
coursework (`Aug_Training_Data`, `ISIC-2017_Test_Data`, one enlarged training list). Tables, texts,
superpixels and files whose name begins with a dot may lie among the images.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from utils.data.names import EXTENDED_LABELS, IMAGE_FOLDERS, MASK_ENDING, PREFIXES, SPLITS
from utils.data.spelling import ENDINGS, match
from utils.data.tables import NO_LABEL, inspect_metadata, read_labels
from utils.system.errors import DataError, Fault, listed, raise_first, unreadable

_OTHER_KINDS = {
    *(".avif", ".bmp", ".dcm", ".gif", ".heic", ".heif", ".jp2", ".jpe", ".jfif"),
    *(".ppm", ".tif", ".tiff", ".webp"),
}


def _present(folder: Path, names: Iterable[str]) -> list[Path]:
    """Those of the names that the folder holds; links count wherever they lead.

    Raises DataError for a folder that cannot be listed.
    """
    try:
        held = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise DataError(str(unreadable(folder, error))) from error
    return [folder / name for name in names if name in held]


def image_folders(folder: Path, split: str) -> list[Path]:
    """The folders of the split's images that are there."""
    return _present(folder, IMAGE_FOLDERS[split])


def mask_folder(folder: Path, split: str) -> Path | None:
    """The folder of the split's masks, where it is there."""
    names = [f"{prefix}_Part1_GroundTruth" for prefix in PREFIXES[split]]
    return next(iter(_present(folder, names)), None)


def label_files(folder: Path, split: str) -> list[Path]:
    """The label tables of the split that are there; the enlarged training list last."""
    names = [f"{prefix}_Part3_GroundTruth.csv" for prefix in PREFIXES[split]]
    return _present(folder, [*names, *([EXTENDED_LABELS] if split == "train" else [])])


def metadata_file(folder: Path, split: str) -> Path | None:
    """The split's table of age and sex, where it is there."""
    names = [f"{prefix}_Data_metadata.csv" for prefix in PREFIXES[split]]
    # The official training archive keeps its metadata among the images.
    inside = [file for home in image_folders(folder, split) for file in _present(home, names)]
    return next(iter([*_present(folder, names), *inside]), None)


def splits_in(folder: Path) -> list[str]:
    """The splits of which the folder holds images, and labels or masks.

    Raises DataError for images with neither: leaving such a split out would score another one.
    """
    if not os.path.lexists(folder):
        return []
    present = []
    for split in SPLITS:
        homes = image_folders(folder, split)
        if homes:
            raise_first(unlabelled(folder, split))
            present.append(split)
    return present


def unlabelled(folder: Path, split: str) -> list[Fault]:
    """The fault of a split whose images have no label table, and no masks to do without."""
    if label_files(folder, split) or mask_folder(folder, split):
        return []
    table, masks = (f"{PREFIXES[split][0]}_Part{part}_GroundTruth" for part in (3, 1))
    what = (
        f"{image_folders(folder, split)[0]} holds images, but {table}.csv with their labels is not "
        f"in {folder}, nor is {masks} with their masks"
    )
    return [Fault(what, "put one of them there, or move the images away")]


def read_split(folder: Path, split: str, train_list: str, allow_missing: bool) -> pd.DataFrame:
    """The checked images of one split, as `data.read` describes them."""
    files = label_files(folder, split)
    if not files:
        return _unlabelled_rows(folder, split)
    pictures, faults = find_images(folder, split)
    lists = {file.name: _as_files(read_labels(file), pictures, file.name) for file in files}
    extended = split == "train" and train_list == "extended"
    images = lists[EXTENDED_LABELS if extended else files[0].name].assign(split=split)
    official = next((lists[f.name]["id"] for f in files if f.name != EXTENDED_LABELS), None)
    if official is None and not extended:
        raise DataError(
            f"{folder} holds the enlarged training list only ({EXTENDED_LABELS}), which does not "
            "say which of its rows are the official ones. Put the official "
            f"{PREFIXES['train'][0]}_Part3_GroundTruth.csv beside it, or use train_list='extended'."
        )
    images["official"] = False if official is None else images["id"].isin(official)
    listed = set().union(*(frame["id"] for frame in lists.values()))
    raise_first([*faults, *strangers(pictures, listed, files[0])])
    raise_first(unlisted("images", pictures, listed, files[0]))
    images["image"] = images["id"].map(pictures)
    if not allow_missing:
        raise_first(missing("image", images.loc[images["image"].isna(), "id"], folder, split))
    images = images[images["image"].notna()].reset_index(drop=True)
    masks, faults = find_masks(folder, split)
    found = match(masks, listed, "masks")
    masks = {found.name(id_): path for id_, path in masks.items()}
    raise_first([*faults, *found.faults, *unlisted("masks", masks, listed, files[0])])
    return _with_metadata(
        images.assign(mask=[masks.get(id_, "") for id_ in images["id"]]), folder, split
    )


def _unlabelled_rows(folder: Path, split: str) -> pd.DataFrame:
    """A row for each image of a split that has masks only: enough for segmenters."""
    pictures, image_faults = find_images(folder, split)
    masks, mask_faults = find_masks(folder, split)
    found = match(masks, pictures, "masks")
    masks = {found.name(id_): path for id_, path in masks.items()}
    raise_first([*image_faults, *mask_faults, *found.faults])
    raise_first(unpictured(masks, pictures, folder))
    ids = sorted(pictures)
    images = pd.DataFrame({"id": pd.Series(ids, dtype=str), "label": NO_LABEL, "split": split})
    images = images.assign(official=True, image=[pictures[id_] for id_ in ids])
    return _with_metadata(images.assign(mask=[masks.get(id_, "") for id_ in ids]), folder, split)


def _as_files(table: pd.DataFrame, pictures: Iterable[str], where: str) -> pd.DataFrame:
    """The table with the ids that the image files have; DataError where several may be meant."""
    found = match(table["id"], pictures, where)
    raise_first(found.faults)
    return table.assign(id=table["id"].map(found.name))


def strangers(pictures: Iterable[str], in_table: set[str], file: Path) -> list[Fault]:
    """The fault of images and a table that have no id in common."""
    pictures = sorted(pictures)
    if not pictures or not in_table or in_table.intersection(pictures):
        return []
    ids, names = listed(sorted(in_table)), listed(pictures)
    what = f"no id in {file.name} is the name of an image: found the ids {ids}, the images {names}"
    return [Fault(what, "an id is the name of its image file without the ending; write it so")]


def unlisted(what: str, found: Iterable[str], in_table: set[str], file: Path) -> list[Fault]:
    """The fault of images or masks whose id has no row."""
    names = sorted(set(found) - in_table)
    cure = "add their rows to the table, or move the files elsewhere"
    return [Fault(f"{what} without a row in {file.name}:", cure, names)] if names else []


def unpictured(masks: Iterable[str], pictures: Iterable[str], folder: Path) -> list[Fault]:
    """The fault of masks, by id, without an image where no table says which images there are."""
    spare = sorted(set(masks) - set(pictures))
    cure = "bring the images, or move the masks elsewhere"
    return [Fault(f"masks without an image in {folder}:", cure, spare)] if spare else []


def missing(what: str, ids: Iterable[str], folder: Path, split: str) -> list[Fault]:
    """The fault of ids whose image or mask is not there."""
    cure = {
        "image": "bring the images, or set allow_missing=True in the row to train without them",
        "mask": f"bring the masks, each named <id>{MASK_ENDING}",
    }[what]
    names = list(ids)
    start = f"ids of the {split} list without {'an' if what == 'image' else 'a'} {what}"
    return [Fault(f"{start} in {folder}:", cure, names)] if names else []


def find_images(folder: Path, split: str) -> tuple[dict[str, str], list[Fault]]:
    """Path of each image by id, over all folders of the split; and what is wrong in them."""
    found: dict[str, str] = {}
    faults: list[Fault] = []
    homes = image_folders(folder, split)
    for home in homes:
        paths, home_faults = _pictures(home)
        by_id: dict[str, list[Path]] = {}
        for path in paths:
            by_id.setdefault(path.stem, []).append(path)
        for id_, files in by_id.items():
            if len(files) > 1:
                names = [file.name for file in files]
                home_faults.append(
                    Fault(f"two files for the image {id_}:", "keep one", names, True)
                )
        # The folder that IMAGE_FOLDERS names first wins.
        found = {id_: str(files[0]) for id_, files in by_id.items()} | found
        faults += home_faults
    if homes and not found and not faults:
        held = listed(sorted(path.name for path in homes[0].iterdir())) or "nothing"
        what = f"{homes[0]} holds no images: found {held}, expected files such as ISIC_0000000.jpg"
        faults.append(Fault(what, "bring them, lying directly in this folder, or remove it"))
    return found, faults


def find_masks(folder: Path, split: str) -> tuple[dict[str, str], list[Fault]]:
    """Path of each mask by id; and what is wrong in their folder."""
    home = mask_folder(folder, split)
    if home is None:
        return {}, []
    paths, faults = _pictures(home)
    if wrong := [path.name for path in paths if not path.name.endswith(MASK_ENDING)]:
        cure = (
            f"a mask is a PNG named <id>{MASK_ENDING}, in small letters; rename it, or save it so"
        )
        faults.append(Fault(f"files in {home} that are not named as masks:", cure, wrong, True))
    masks = [path for path in paths if path.name.endswith(MASK_ENDING)]
    return {path.name.removesuffix(MASK_ENDING): str(path) for path in masks}, faults


def _pictures(home: Path) -> tuple[list[Path], list[Fault]]:
    """The picture files of a folder, by name; and what is in it that no picture may be."""
    try:
        entries = [path for path in sorted(home.iterdir()) if not _is_passed_over(path)]
        paths = [path for path in entries if path.suffix.lower() in ENDINGS]
        hollow = [path.name for path in paths if not path.is_file()]
    except OSError as error:
        return [], [unreadable(home, error)]
    faults = []
    if other := [path.name for path in entries if path.suffix.lower() in _OTHER_KINDS]:
        cure = "save them as .jpg or .png, or move them elsewhere"
        faults.append(Fault(f"pictures of a kind that is not read in {home}:", cure, other, True))
    if hollow:
        what = f"entries of {home} that are no files, but folders or links that lead nowhere:"
        faults.append(Fault(what, "bring the files, or remove the entries", hollow, True))
    return [path for path in paths if path.name not in set(hollow)], faults


def _is_passed_over(path: Path) -> bool:
    """Superpixels, and what macOS leaves beside each file on a foreign disk (`._ISIC_…`)."""
    return path.name.startswith(".") or path.stem.lower().endswith("_superpixels")


def _with_metadata(images: pd.DataFrame, folder: Path, split: str) -> pd.DataFrame:
    file = metadata_file(folder, split)
    if file is None:
        return images.assign(age=float("nan"), sex="unknown")
    table, faults = inspect_metadata(file)
    found = match(table.index, images["id"], file.name)
    raise_first([*faults, *found.faults])
    table = table.rename(found.names).reindex(images["id"])
    return images.assign(age=table["age"].to_numpy(), sex=table["sex"].fillna("unknown").to_numpy())
