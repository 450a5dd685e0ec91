"""What a tree holds of each split, and everything wrong with it that no image need be opened for.

`tree.read_split` stops at the first fault; here they are all collected.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from utils.data.spelling import match
from utils.data.tables import inspect_labels, inspect_metadata, odd_metadata
from utils.data.tree import (
    EXTENDED_LABELS,
    IMAGE_FOLDERS,
    MASK_ENDING,
    PREFIXES,
    SPLITS,
    find_images,
    find_masks,
    image_folders,
    label_files,
    mask_folder,
    metadata_file,
    missing,
    strangers,
    unlisted,
    unpictured,
)
from utils.system.errors import DataError, Fault, printable


class Problem(NamedTuple):
    """One line of the list of problems; "" where a column has nothing to say."""

    severity: str  # "error" or "note"
    check: str
    split: str
    id: str
    file: str
    message: str


@dataclass
class Inventory:
    """One split: its label tables, and the paths of images and masks by id."""

    split: str
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)  # by name of the file
    images: dict[str, str] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def official(self) -> pd.DataFrame | None:
        """The official rows, where their table is there and can be read."""
        tables = (table for name, table in self.tables.items() if name != EXTENDED_LABELS)
        return next(tables, None)

    @property
    def listed(self) -> set[str]:
        """The ids of all tables of the split."""
        return set().union(*(table["id"] for table in self.tables.values()))

    def add(self, check: str, faults: Iterable[Fault], severity: str = "error") -> None:
        """Note a problem for each name of each fault."""
        for fault in faults:
            for name in fault.names or [""]:
                message = fault.about([name] if name else [])
                id_, file = _id_and_file(name) if fault.of_files else (printable(name), "")
                self.problems.append(Problem(severity, check, self.split, id_, file, message))


def _id_and_file(name: str) -> tuple[str, str]:
    name = printable(name)
    return Path(name).stem.removesuffix(Path(MASK_ENDING).stem), name


def take(folder: Path) -> list[Inventory]:
    """The inventories of the splits that the folder holds, whole or in part.

    Raises DataError for a folder that cannot be listed, or holds nothing of ISIC 2017.
    """
    if not folder.exists():
        raise DataError(f"{folder} is not there; name the folder that holds ISIC 2017.")
    found = [_take_split(folder, split) for split in SPLITS if _is_there(folder, split)]
    if not found:
        expected = f"{IMAGE_FOLDERS['train'][0]} with {PREFIXES['train'][0]}_Part3_GroundTruth.csv"
        raise DataError(
            f"{folder} holds nothing of ISIC 2017; expected folders such as {expected} beside "
            f"them. Name the folder that holds them, or fetch them: {_download()}."
        )
    return found


def _is_there(folder: Path, split: str) -> bool:
    labels, images = label_files(folder, split), image_folders(folder, split)
    return bool(labels or images or mask_folder(folder, split))


def _download(*arguments: str) -> str:
    return " ".join(["python prepare_data.py download", *arguments])


def _take_split(folder: Path, split: str) -> Inventory:
    found = Inventory(split)
    _take_labels(found, folder)
    _take_images(found, folder)
    _take_masks(found, folder)
    _take_metadata(found, folder)
    return found


def _take_labels(found: Inventory, folder: Path) -> None:
    files = label_files(folder, found.split)
    for file in files:
        try:
            found.tables[file.name], faults = inspect_labels(file)
        except DataError as error:
            faults = [_whole(error)]
        found.add("labels", faults)
    if not files:
        name = f"{PREFIXES[found.split][0]}_Part3_GroundTruth.csv"
        fault = _absent(f"{name} with the labels", folder, found.split, "labels")
        found.add("labels", [replace(fault, cure=f"{fault.cure}; only segmenters do without")])
    elif [file.name for file in files] == [EXTENDED_LABELS]:
        what = f"{folder} holds the enlarged training list only: which rows are official is unknown"
        cure = f"bring the official list: {_download('--splits train --parts labels')}"
        found.add("labels", [Fault(what, cure)], "note")


def _take_images(found: Inventory, folder: Path) -> None:
    """Images, held against the tables that can be read, whose ids become the names of the files."""
    split = found.split
    found.images, faults = find_images(folder, split)
    found.add("images", faults)
    for file, table in found.tables.items():
        spelled = match(table["id"], found.images, file)
        found.add("labels", spelled.faults)
        found.add("labels", spelled.notes, "note")
        found.tables[file] = table.assign(id=table["id"].map(spelled.name))
    listed, tables = found.listed, Path(" and ".join(found.tables))
    if not image_folders(folder, split):
        name = f"{IMAGE_FOLDERS[split][0]} with the images"
        found.add("images", [_absent(name, folder, split, "images")])
    elif faults := strangers(found.images, listed, tables):
        found.add("images", faults)
    elif listed:
        found.add("images", missing("image", sorted(listed - {*found.images}), folder, split))
        if _knows_all(found, folder):
            found.add("images", unlisted("images", found.images, listed, tables))


def _take_masks(found: Inventory, folder: Path) -> None:
    """Masks, held against the tables; their ids become those of the images."""
    split, listed = found.split, found.listed
    found.masks, faults = find_masks(folder, split)
    spelled = match(found.masks, listed | {*found.images}, "masks")
    found.masks = {spelled.name(id_): path for id_, path in found.masks.items()}
    found.add("masks", [*faults, *spelled.faults])
    found.add("masks", spelled.notes, "note")
    if mask_folder(folder, split) is None:
        name = f"{PREFIXES[split][0]}_Part1_GroundTruth with the masks"
        found.add("masks", [_absent(name, folder, split, "masks")])
    elif strangers(found.images, listed, folder):
        return  # no mask can be told from another, either
    elif found.official is not None or not label_files(folder, split):
        # Only the official images have masks: further ones of the archive come without.
        ids = {*found.images} if found.official is None else {*found.official["id"]}
        found.add("masks", missing("mask", sorted(ids - {*found.masks}), folder, split))
    if not label_files(folder, split):
        found.add("masks", unpictured(found.masks, found.images, folder))
    if listed and _knows_all(found, folder):
        tables = Path(" and ".join(found.tables))
        found.add("masks", unlisted("masks", found.masks, listed, tables))


def _knows_all(found: Inventory, folder: Path) -> bool:
    """Whether every table of the split could be read."""
    return len(found.tables) == len(label_files(folder, found.split))


def _take_metadata(found: Inventory, folder: Path) -> None:
    try:
        file = metadata_file(folder, found.split)
        if file is None:
            return
        table, faults = inspect_metadata(file)
    except DataError as error:
        found.add("metadata", [_whole(error)])
        return
    found.add("metadata", odd_metadata(file), "note")
    spelled = match(table.index, found.images, file.name)
    found.add("metadata", [*faults, *spelled.faults])
    found.add("metadata", spelled.notes, "note")
    table = table.rename(spelled.names)
    if found.images and (spare := sorted({*table.index} - {*found.images})):
        cure = "they are not used; bring the images, or leave it so"
        found.add("metadata", [Fault(f"rows of {file.name} without image:", cure, spare)], "note")


def _whole(error: DataError) -> Fault:
    """The fault that an error's sentence states, cure and all."""
    what, _, cure = str(error).rpartition("; ")
    return Fault(what, cure.removesuffix("."))


def _absent(what: str, folder: Path, split: str, part: str) -> Fault:
    cure = f"bring it (the official one: {_download(f'--splits {split} --parts {part}')})"
    return Fault(f"{what} is not in {folder}", cure)


def across(found: list[Inventory]) -> list[Problem]:
    """What can be wrong between splits without opening an image; and which are not here."""
    problems = []
    homes = pd.Series(
        [place.split for place in found for _ in place.listed],
        index=[id_ for place in found for id_ in place.listed],
        dtype=str,
    )
    for id_, splits in homes[homes.index.duplicated(keep=False)].groupby(level=0):
        message = (
            f"{id_} stands in the lists of {' and '.join(splits)}; a network must not be scored "
            "on images it was trained on: remove it from one of them."
        )
        problems.append(Problem("error", "splits", splits.iloc[-1], str(id_), "", message))
    for split in SPLITS:
        if split not in {place.split for place in found}:
            official = _download(f"--splits {split}")
            message = f"the {split} split is not here; bring it (the official one: {official})."
            problems.append(Problem("note", "splits", split, "", "", message))
    return problems
