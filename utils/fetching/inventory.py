"""The files of each split of a tree, and every problem that shows without opening an image.

`tree.read_split` stops at the first fault; here all of them are collected.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
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
    """One line of the list of problems; "" for a column that does not apply."""

    severity: str  # "error" or "note"
    check: str
    split: str
    id: str
    file: str
    message: str


@dataclass
class Inventory:
    """One split of the tree in folder: its label tables, and the image and mask paths by id."""

    folder: Path
    split: str
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)  # by name of the file
    images: dict[str, str] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.label_files = label_files(self.folder, self.split)

    @property
    def listed(self) -> set[str]:
        """The ids of all tables of the split."""
        return set().union(*(table["id"] for table in self.tables.values()))

    @property
    def names(self) -> Path:
        """The names of the tables, for messages."""
        return Path(" and ".join(self.tables))

    @property
    def complete(self) -> bool:
        """Whether every table of the split could be read."""
        return len(self.tables) == len(self.label_files)

    def add(self, check: str, faults: Iterable[Fault], severity: str = "error") -> None:
        """Add a problem for each name of each fault."""
        for fault in faults:
            for name in fault.names or [""]:
                message = fault.about([name] if name else [])
                id_, file = printable(name), ""
                if fault.of_files:
                    id_, file = Path(id_).stem.removesuffix(Path(MASK_ENDING).stem), id_
                self.problems.append(Problem(severity, check, self.split, id_, file, message))

    def add_absent(self, check: str, what: str, part: str, more: str = "") -> None:
        """Add the problem that a table or folder of the split is missing."""
        official = _download(f"--splits {self.split} --parts {part}")
        cure = f"add it (the official one: {official}){more}"
        self.add(check, [Fault(f"{what} is not in {self.folder}", cure)])

    def spelled(
        self, check: str, ids: Iterable[str], what: str, others: Iterable[str] = ()
    ) -> Match:
        """Which image (or which of the others) each id means; adds a problem for odd spellings."""
        matched = match(ids, {*self.images, *others}, what)
        self.add(check, matched.faults)
        self.add(check, matched.notes, "note")
        return matched


def take(folder: Path) -> list[Inventory]:
    """The inventories of the splits that the folder holds, completely or in part.

    Raises DataError for a folder that cannot be listed, or holds nothing of ISIC 2017.
    """
    if not folder.exists():
        raise DataError(f"{folder} does not exist; name the folder that holds ISIC 2017.")
    inventories = [
        Inventory(folder, split)
        for split in SPLITS
        if label_files(folder, split) or image_folders(folder, split) or mask_folder(folder, split)
    ]
    if not inventories:
        expected = f"{IMAGE_FOLDERS['train'][0]} with {PREFIXES['train'][0]}_Part3_GroundTruth.csv"
        raise DataError(
            f"{folder} holds nothing of ISIC 2017; expected folders such as {expected} beside "
            f"them. Name the folder that holds them, or fetch them: {_download()}."
        )
    for inventory in inventories:
        _take_labels(inventory)
        _take_images(inventory)
        _take_masks(inventory)
        _take_metadata(inventory)
    return inventories


def _download(*arguments: str) -> str:
    return " ".join(["python prepare_data.py download", *arguments])


def _take_labels(inventory: Inventory) -> None:
    for file in inventory.label_files:
        try:
            inventory.tables[file.name], faults = inspect_labels(file)
        except DataError as error:
            faults = [_fault(error)]
        inventory.add("labels", faults)
    if not inventory.label_files:
        what = f"{PREFIXES[inventory.split][0]}_Part3_GroundTruth.csv with the labels"
        inventory.add_absent("labels", what, "labels", "; only segmenters do without")
    elif [file.name for file in inventory.label_files] == [EXTENDED_LABELS]:
        what = f"{inventory.folder} holds the enlarged training list only: which rows are official"
        cure = f"add the official list: {_download('--splits train --parts labels')}"
        inventory.add("labels", [Fault(f"{what} is unknown", cure)], "note")


def _take_images(inventory: Inventory) -> None:
    """Images, compared with the readable tables, whose ids are replaced by the files' names."""
    split = inventory.split
    inventory.images, faults = find_images(inventory.folder, split)
    inventory.add("images", faults)
    for file, table in inventory.tables.items():
        spelled = inventory.spelled("labels", table["id"], file)
        inventory.tables[file] = table.assign(id=table["id"].map(spelled.name))
    listed, images = inventory.listed, inventory.images
    if not image_folders(inventory.folder, split):
        inventory.add_absent("images", f"{IMAGE_FOLDERS[split][0]} with the images", "images")
    elif faults := strangers(images, listed, inventory.names):
        inventory.add("images", faults)
    elif listed:
        lacking = sorted(listed - {*images})
        inventory.add("images", missing("image", lacking, inventory.folder, split))
        if inventory.complete:
            inventory.add("images", unlisted("images", images, listed, inventory.names))


def _take_masks(inventory: Inventory) -> None:
    """Masks, compared with the tables; their ids are replaced by those of the images."""
    folder, split, listed = inventory.folder, inventory.split, inventory.listed
    masks, faults = find_masks(folder, split)
    inventory.add("masks", faults)
    spelled = inventory.spelled("masks", masks, "masks", listed)
    inventory.masks = {spelled.name(id_): path for id_, path in masks.items()}
    # Only the official images have masks: further ones of the archive come without.
    tables = (table for name, table in inventory.tables.items() if name != EXTENDED_LABELS)
    official = next(tables, None)
    if mask_folder(folder, split) is None:
        what = f"{PREFIXES[split][0]}_Part1_GroundTruth with the masks"
        inventory.add_absent("masks", what, "masks")
    elif strangers(inventory.images, listed, folder):
        return  # masks cannot be told apart, either
    elif official is not None or not inventory.label_files:
        ids = {*inventory.images} if official is None else {*official["id"]}
        inventory.add("masks", missing("mask", sorted(ids - {*inventory.masks}), folder, split))
    if not inventory.label_files:
        inventory.add("masks", unpictured(inventory.masks, inventory.images, folder))
    if listed and inventory.complete:
        inventory.add("masks", unlisted("masks", inventory.masks, listed, inventory.names))


def _take_metadata(inventory: Inventory) -> None:
    try:
        file = metadata_file(inventory.folder, inventory.split)
        if file is None:
            return
        table, faults = inspect_metadata(file)
    except DataError as error:
        inventory.add("metadata", [_fault(error)])
        return
    inventory.add("metadata", odd_metadata(file), "note")
    inventory.add("metadata", faults)
    ids = {*table.rename(inventory.spelled("metadata", table.index, file.name).names).index}
    if inventory.images and (spare := sorted(ids - {*inventory.images})):
        fault = Fault(
            f"rows of {file.name} without an image:",
            "they are not used; add the images, or leave it so",
            spare,
        )
        inventory.add("metadata", [fault], "note")


def _fault(error: DataError) -> Fault:
    """The fault that an error's sentence states, cure and all."""
    what, _, cure = str(error).rpartition("; ")
    return Fault(what, cure.removesuffix("."))


def across(inventories: list[Inventory]) -> list[Problem]:
    """Problems between splits that show without opening an image, and which splits are absent."""
    problems = []
    splits_of: dict[str, list[str]] = {}
    for inventory in inventories:
        for id_ in inventory.listed:
            splits_of.setdefault(id_, []).append(inventory.split)
    for id_, splits in sorted(splits_of.items()):
        if len(splits) > 1:
            message = (
                f"{id_} is in the lists of {' and '.join(splits)}; a network must not be scored "
                "on images it was trained on: remove it from one of them."
            )
            problems.append(Problem("error", "splits", splits[-1], id_, "", message))
    for split in SPLITS:
        if split not in {inventory.split for inventory in inventories}:
            official = _download(f"--splits {split}")
            message = f"the {split} split is absent; add it (the official one: {official})."
            problems.append(Problem("note", "splits", split, "", "", message))
    return problems
