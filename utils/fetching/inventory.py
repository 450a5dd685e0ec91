"""What a tree holds of each split, and everything wrong with it that no image need be opened for.

`tree.read_split` stops at the first fault; here they are all collected.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from utils.data.spelling import Match, match
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

    def spelled(
        self, check: str, ids: Iterable[str], what: str, others: Iterable[str] = ()
    ) -> Match:
        """Which image, or other id, the ids of what mean; notes a problem where they are odd."""
        matched = match(ids, {*self.images, *others}, what)
        self.add(check, matched.faults)
        self.add(check, matched.notes, "note")
        return matched


def _id_and_file(name: str) -> tuple[str, str]:
    name = printable(name)
    return Path(name).stem.removesuffix(Path(MASK_ENDING).stem), name


def take(folder: Path) -> list[Inventory]:
    """The inventories of the splits that the folder holds, whole or in part.

    Raises DataError for a folder that cannot be listed, or holds nothing of ISIC 2017.
    """
    if not folder.exists():
        raise DataError(f"{folder} is not there; name the folder that holds ISIC 2017.")
    inventories = [_take_split(folder, split) for split in SPLITS if _is_there(folder, split)]
    if not inventories:
        expected = f"{IMAGE_FOLDERS['train'][0]} with {PREFIXES['train'][0]}_Part3_GroundTruth.csv"
        raise DataError(
            f"{folder} holds nothing of ISIC 2017; expected folders such as {expected} beside "
            f"them. Name the folder that holds them, or fetch them: {_download()}."
        )
    return inventories


def _is_there(folder: Path, split: str) -> bool:
    labels, images = label_files(folder, split), image_folders(folder, split)
    return bool(labels or images or mask_folder(folder, split))


def _download(*arguments: str) -> str:
    return " ".join(["python prepare_data.py download", *arguments])


def _take_split(folder: Path, split: str) -> Inventory:
    inventory = Inventory(split)
    _take_labels(inventory, folder)
    _take_images(inventory, folder)
    _take_masks(inventory, folder)
    _take_metadata(inventory, folder)
    return inventory


def _take_labels(inventory: Inventory, folder: Path) -> None:
    files = label_files(folder, inventory.split)
    for file in files:
        try:
            inventory.tables[file.name], faults = inspect_labels(file)
        except DataError as error:
            faults = [_whole(error)]
        inventory.add("labels", faults)
    if not files:
        name = f"{PREFIXES[inventory.split][0]}_Part3_GroundTruth.csv"
        fault = _absent(f"{name} with the labels", folder, inventory.split, "labels")
        inventory.add("labels", [replace(fault, cure=f"{fault.cure}; only segmenters do without")])
    elif [file.name for file in files] == [EXTENDED_LABELS]:
        what = f"{folder} holds the enlarged training list only: which rows are official is unknown"
        cure = f"bring the official list: {_download('--splits train --parts labels')}"
        inventory.add("labels", [Fault(what, cure)], "note")


def _take_images(inventory: Inventory, folder: Path) -> None:
    """Images, held against the tables that can be read, whose ids become the names of the files."""
    split = inventory.split
    inventory.images, faults = find_images(folder, split)
    inventory.add("images", faults)
    for file, table in inventory.tables.items():
        spelled = inventory.spelled("labels", table["id"], file)
        inventory.tables[file] = table.assign(id=table["id"].map(spelled.name))
    listed, tables = inventory.listed, Path(" and ".join(inventory.tables))
    if not image_folders(folder, split):
        name = f"{IMAGE_FOLDERS[split][0]} with the images"
        inventory.add("images", [_absent(name, folder, split, "images")])
    elif faults := strangers(inventory.images, listed, tables):
        inventory.add("images", faults)
    elif listed:
        inventory.add(
            "images", missing("image", sorted(listed - {*inventory.images}), folder, split)
        )
        if _knows_all(inventory, folder):
            inventory.add("images", unlisted("images", inventory.images, listed, tables))


def _take_masks(inventory: Inventory, folder: Path) -> None:
    """Masks, held against the tables; their ids become those of the images."""
    split, listed = inventory.split, inventory.listed
    inventory.masks, faults = find_masks(folder, split)
    inventory.add("masks", faults)
    spelled = inventory.spelled("masks", inventory.masks, "masks", listed)
    inventory.masks = {spelled.name(id_): path for id_, path in inventory.masks.items()}
    if mask_folder(folder, split) is None:
        name = f"{PREFIXES[split][0]}_Part1_GroundTruth with the masks"
        inventory.add("masks", [_absent(name, folder, split, "masks")])
    elif strangers(inventory.images, listed, folder):
        return  # no mask can be told from another, either
    elif inventory.official is not None or not label_files(folder, split):
        # Only the official images have masks: further ones of the archive come without.
        ids = {*inventory.images} if inventory.official is None else {*inventory.official["id"]}
        inventory.add("masks", missing("mask", sorted(ids - {*inventory.masks}), folder, split))
    if not label_files(folder, split):
        inventory.add("masks", unpictured(inventory.masks, inventory.images, folder))
    if listed and _knows_all(inventory, folder):
        tables = Path(" and ".join(inventory.tables))
        inventory.add("masks", unlisted("masks", inventory.masks, listed, tables))


def _knows_all(inventory: Inventory, folder: Path) -> bool:
    """Whether every table of the split could be read."""
    return len(inventory.tables) == len(label_files(folder, inventory.split))


def _take_metadata(inventory: Inventory, folder: Path) -> None:
    try:
        file = metadata_file(folder, inventory.split)
        if file is None:
            return
        table, faults = inspect_metadata(file)
    except DataError as error:
        inventory.add("metadata", [_whole(error)])
        return
    inventory.add("metadata", odd_metadata(file), "note")
    inventory.add("metadata", faults)
    spelled = inventory.spelled("metadata", table.index, file.name)
    table = table.rename(spelled.names)
    if inventory.images and (spare := sorted({*table.index} - {*inventory.images})):
        cure = "they are not used; bring the images, or leave it so"
        inventory.add(
            "metadata", [Fault(f"rows of {file.name} without image:", cure, spare)], "note"
        )


def _whole(error: DataError) -> Fault:
    """The fault that an error's sentence states, cure and all."""
    what, _, cure = str(error).rpartition("; ")
    return Fault(what, cure.removesuffix("."))


def _absent(what: str, folder: Path, split: str, part: str) -> Fault:
    cure = f"bring it (the official one: {_download(f'--splits {split} --parts {part}')})"
    return Fault(f"{what} is not in {folder}", cure)


def across(inventories: list[Inventory]) -> list[Problem]:
    """What can be wrong between splits without opening an image; and which are not here."""
    problems = []
    homes = pd.Series(
        [inventory.split for inventory in inventories for _ in inventory.listed],
        index=[id_ for inventory in inventories for id_ in inventory.listed],
        dtype=str,
    )
    for id_, splits in homes[homes.index.duplicated(keep=False)].groupby(level=0):
        message = (
            f"{id_} stands in the lists of {' and '.join(splits)}; a network must not be scored "
            "on images it was trained on: remove it from one of them."
        )
        problems.append(Problem("error", "splits", splits.iloc[-1], str(id_), "", message))
    for split in SPLITS:
        if split not in {inventory.split for inventory in inventories}:
            official = _download(f"--splits {split}")
            message = f"the {split} split is not here; bring it (the official one: {official})."
            problems.append(Problem("note", "splits", split, "", "", message))
    return problems
