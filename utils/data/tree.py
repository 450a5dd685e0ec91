"""Which files of an ISIC 2017 tree belong to which image, checked one by one.

Two layouts are read: the official one (`ISIC-2017_Training_Data`, …) and that of earlier
coursework (`Aug_Training_Data`, `ISIC-2017_Test_Data`, one enlarged training list). Tables, texts,
superpixels and hidden files may be among the images.
"""

import os
from collections import defaultdict
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


def present(folder: Path, names: Iterable[str]) -> list[Path]:
    """Those of the names that the folder holds; links count whatever they point to.

    Raises DataError for a folder that cannot be listed.
    """
    try:
        held = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise DataError(str(unreadable(folder, error))) from error
    return [folder / name for name in names if name in held]


def image_folders(folder: Path, split: str) -> list[Path]:
    """The existing folders of the split's images."""
    return present(folder, IMAGE_FOLDERS[split])


def mask_folder(folder: Path, split: str) -> Path | None:
    """The folder of the split's masks, if it exists."""
    names = [f"{prefix}_Part1_GroundTruth" for prefix in PREFIXES[split]]
    return next(iter(present(folder, names)), None)


def label_files(folder: Path, split: str) -> list[Path]:
    """The existing label tables of the split; the enlarged training list last."""
    names = [f"{prefix}_Part3_GroundTruth.csv" for prefix in PREFIXES[split]]
    return present(folder, [*names, *([EXTENDED_LABELS] if split == "train" else [])])


def metadata_file(folder: Path, split: str) -> Path | None:
    """The split's table of age and sex, if it exists."""
    names = [f"{prefix}_Data_metadata.csv" for prefix in PREFIXES[split]]
    # The official training archive keeps its metadata among the images.
    homes = [folder, *image_folders(folder, split)]
    return next((file for home in homes for file in present(home, names)), None)


def splits_in(folder: Path) -> list[str]:
    """The splits of which the folder holds images, and labels or masks.

    Raises DataError for images with neither: leaving such a split out would score another one.
    """
    if not os.path.lexists(folder):
        return []
    present = {split: homes for split in SPLITS if (homes := image_folders(folder, split))}
    for split, homes in present.items():
        if not label_files(folder, split) and not mask_folder(folder, split):
            table, masks = (f"{PREFIXES[split][0]}_Part{part}_GroundTruth" for part in (3, 1))
            raise DataError(
                f"{homes[0]} holds images, but {table}.csv with their labels is not in {folder}, "
                f"nor is {masks} with their masks; put one of them there, or move the images away."
            )
    return list(present)


def read_split(folder: Path, split: str, train_list: str, allow_missing: bool) -> pd.DataFrame:
    """The checked images of one split, as `data.read` describes them."""
    pictures, faults = find_images(folder, split)
    files = label_files(folder, split)
    if not files:  # masks only: enough for segmenters
        raise_first(faults)
        ids = sorted(pictures)
        images = pd.DataFrame({"id": pd.Series(ids, dtype=str), "label": NO_LABEL, "split": split})
        images = images.assign(official=True, image=[pictures[id_] for id_ in ids])
        masks = _masks_of(ids, folder, split)
        raise_first(unpictured(masks, pictures, folder))
        return _completed(images, masks, folder, split)
    lists = {file.name: as_files(read_labels(file), pictures, file.name) for file in files}
    extended = split == "train" and train_list == "extended"
    images = lists[EXTENDED_LABELS if extended else files[0].name].assign(split=split)
    official = next((lists[f.name]["id"] for f in files if f.name != EXTENDED_LABELS), None)
    if official is None and not extended:
        raise DataError(
            f"{folder} holds the enlarged training list only ({EXTENDED_LABELS}), which does not "
            "say which images are the official ones. Put the official "
            f"{PREFIXES['train'][0]}_Part3_GroundTruth.csv beside it, or use train_list='extended'."
        )
    images["official"] = False if official is None else images["id"].isin(official)
    listed = set().union(*(table["id"] for table in lists.values()))
    raise_first([*faults, *strangers(pictures, listed, files[0])])
    raise_first(unlisted("images", pictures, listed, files[0]))
    images["image"] = images["id"].map(pictures)
    if not allow_missing:
        raise_first(missing("image", images.loc[images["image"].isna(), "id"], folder, split))
    masks = _masks_of(listed, folder, split)
    raise_first(unlisted("masks", masks, listed, files[0]))
    images = images[images["image"].notna()].reset_index(drop=True)
    return _completed(images, masks, folder, split)


def as_files(table: pd.DataFrame, pictures: Iterable[str], where: str) -> pd.DataFrame:
    """The table with the ids that the image files have; DataError for ambiguous ones."""
    matched = match(table["id"], pictures, where)
    raise_first(matched.faults)
    return table.assign(id=table["id"].map(matched.name))


def _masks_of(ids: Iterable[str], folder: Path, split: str) -> dict[str, str]:
    """Path of each mask by the id that its image has; DataError for anything wrong."""
    masks, faults = find_masks(folder, split)
    matched = match(masks, ids, "masks")
    raise_first([*faults, *matched.faults])
    return {matched.name(id_): path for id_, path in masks.items()}


def strangers(pictures: Iterable[str], in_table: set[str], file: Path) -> list[Fault]:
    """The fault of images and a table that have no id in common."""
    pictures = sorted(pictures)
    if not pictures or not in_table or in_table.intersection(pictures):
        return []
    ids, names = listed(sorted(in_table)), listed(pictures)
    what = f"no id in {file.name} is the name of an image: found the ids {ids}, the images {names}"
    return [Fault(what, "an id is the name of its image file without the ending; correct it")]


def unlisted(what: str, found: Iterable[str], in_table: Iterable[str], file: Path) -> list[Fault]:
    """The fault of images or masks whose id has no row."""
    cure = "add their rows to the table, or move the files elsewhere"
    return _fault(f"{what} without a row in {file.name}:", cure, sorted({*found} - {*in_table}))


def unpictured(masks: Iterable[str], pictures: Iterable[str], folder: Path) -> list[Fault]:
    """The fault of masks, by id, without an image where there is no table of the images."""
    cure = "add the images, or move the masks elsewhere"
    return _fault(f"masks without an image in {folder}:", cure, sorted({*masks} - {*pictures}))


def missing(what: str, ids: Iterable[str], folder: Path, split: str) -> list[Fault]:
    """The fault of ids without their "image" or "mask"."""
    article, cure = {
        "image": ("an", "add the images, or set allow_missing=True to train without them"),
        "mask": ("a", f"add the masks, each named <id>{MASK_ENDING}"),
    }[what]
    return _fault(f"ids of the {split} list without {article} {what} in {folder}:", cure, [*ids])


def _fault(what: str, cure: str, names: list[str], of_files: bool = False) -> list[Fault]:
    return [Fault(what, cure, names, of_files)] if names else []


def find_images(folder: Path, split: str) -> tuple[dict[str, str], list[Fault]]:
    """Path of each image by id, over all folders of the split; and what is wrong in them."""
    return pictures_in(image_folders(folder, split))


def pictures_in(homes: list[Path]) -> tuple[dict[str, str], list[Fault]]:
    """Path of each image by id in these folders, of which the first wins; and what is wrong."""
    images: dict[str, str] = {}
    faults: list[Fault] = []
    for home in homes:
        paths, home_faults = _pictures(home)
        faults += home_faults
        by_id: dict[str, list[Path]] = defaultdict(list)
        for path in paths:
            by_id[path.stem].append(path)
        for id_, files in by_id.items():
            names = [file.name for file in files] if len(files) > 1 else []
            faults += _fault(f"two files for the image {id_}:", "keep one", names, True)
        images = {id_: str(files[0]) for id_, files in by_id.items()} | images
    if homes and not images and not faults:
        held = listed(sorted(path.name for path in homes[0].iterdir())) or "nothing"
        what = f"{homes[0]} holds no images: found {held}, expected files such as ISIC_0000000.jpg"
        faults.append(Fault(what, "put them directly into this folder, or remove it"))
    return images, faults


def find_masks(folder: Path, split: str) -> tuple[dict[str, str], list[Fault]]:
    """Path of each mask by id; and what is wrong in their folder."""
    return masks_in(mask_folder(folder, split))


def masks_in(
    home: Path | None, endings: tuple[str, ...] = (MASK_ENDING,)
) -> tuple[dict[str, str], list[Fault]]:
    """Path of each mask by id in a folder, without the first of the endings that its name has."""
    if home is None:
        return {}, []
    paths, faults = _pictures(home)
    wrong = [path.name for path in paths if not path.name.endswith(endings)]
    cure = f"a mask is a PNG named <id>{MASK_ENDING}, in lower case; rename it, or save it again"
    faults += _fault(f"files in {home} that are not named like masks:", cure, wrong, True)
    masks: dict[str, str] = {}
    for path in (path for path in paths if path.name.endswith(endings)):
        ending = next(ending for ending in endings if path.name.endswith(ending))
        id_ = path.name.removesuffix(ending)
        names = [Path(masks[id_]).name, path.name] if id_ in masks else []
        faults += _fault(f"two masks for the image {id_}:", "keep one", names, True)
        masks[id_] = str(path)
    return masks, faults


def _pictures(home: Path) -> tuple[list[Path], list[Fault]]:
    """The picture files of a folder, by name; and the entries that cannot be pictures."""
    try:
        # Hidden files are what macOS leaves beside each file on a foreign disk (`._ISIC_…`).
        entries = [path for path in sorted(home.iterdir()) if not path.name.startswith(".")]
        entries = [path for path in entries if not path.stem.lower().endswith("_superpixels")]
        paths = [path for path in entries if path.suffix.lower() in ENDINGS]
        hollow = [path.name for path in paths if not path.is_file()]
    except OSError as error:
        return [], [unreadable(home, error)]
    other = [path.name for path in entries if path.suffix.lower() in _OTHER_KINDS]
    cure = "save them as .jpg or .png, or move them elsewhere"
    faults = _fault(f"pictures of an unsupported kind in {home}:", cure, other, True)
    what = f"entries of {home} that are folders or broken links, expected files:"
    faults += _fault(what, "add the files, or remove the entries", hollow, True)
    return [path for path in paths if path.name not in set(hollow)], faults


def _completed(
    images: pd.DataFrame, masks: dict[str, str], folder: Path, split: str
) -> pd.DataFrame:
    """The images with their masks, and with age and sex."""
    images = images.assign(mask=[masks.get(id_, "") for id_ in images["id"]])
    file = metadata_file(folder, split)
    if file is None:
        return images.assign(age=float("nan"), sex="unknown")
    table, faults = inspect_metadata(file)
    matched = match(table.index, images["id"], file.name)
    raise_first([*faults, *matched.faults])
    table = table.rename(matched.names).reindex(images["id"])
    return images.assign(age=table["age"].to_numpy(), sex=table["sex"].fillna("unknown").to_numpy())
