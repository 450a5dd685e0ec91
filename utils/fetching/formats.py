"""Public data sets as they are downloaded and unpacked, in whatever folders: which one is it?

A reader finds its table among the files, and gives one row an image: id, label, split, group, age,
sex as text, "" where the set does not say; None where its table is not there.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from utils.data.names import MASK_ENDING
from utils.data.spelling import ENDINGS
from utils.data.tables import inspect_ids, read_csv
from utils.system.errors import DataError, Fault, raise_first

CODES = {  # the short names of the archive's diagnoses, and what we call them
    "mel": "melanoma",
    "nv": "nevus",
    "bcc": "basal_cell_carcinoma",
    "akiec": "actinic_keratosis",
    "ak": "actinic_keratosis",
    "bkl": "benign_keratosis",
    "df": "dermatofibroma",
    "vasc": "vascular_lesion",
    "scc": "squamous_cell_carcinoma",
    "unk": "unknown",
}
_OF_PH2 = {"0": "common nevus", "1": "atypical nevus", "2": "melanoma"}
_SPLITS = {"training": "train", "validation": "validation", "test": "test"}
_MOST, _DEEPEST = 300_000, 6  # files and folders that are looked at
_NOT_IMAGES = re.compile(r"_(segmentation|superpixels|lesion|roi\d*|label\d*|attribute_\w+)$")


@dataclass
class Files:
    """What lies in a folder and the folders in it."""

    folder: Path
    images: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))  # by id
    masks: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    tables: dict[str, Path] = field(default_factory=dict)  # by name in lower case

    def tables_like(self, pattern: str) -> list[tuple[re.Match[str], Path]]:
        """The tables whose whole name, in lower case, fits."""
        found = ((re.fullmatch(pattern, name), file) for name, file in self.tables.items())
        return [(match, file) for match, file in found if match]


def files_in(folder: Path) -> Files:
    """The files by what their names say. DataError for a folder with too many of them."""
    files, seen = Files(folder), 0
    for home, inside, names in os.walk(folder):
        if len(Path(home).relative_to(folder).parts) >= _DEEPEST:
            inside.clear()
        inside[:] = sorted(name for name in inside if not name.startswith((".", "prepared-")))
        seen += len(names)
        if seen > _MOST:
            raise DataError(
                f"{folder} holds more than {_MOST} files; name the folder of the data set itself."
            )
        for path in (Path(home, name) for name in sorted(names) if not name.startswith(".")):
            ending = path.suffix.lower()
            if ending in (".csv", ".tab", ".txt", ""):
                files.tables.setdefault(path.name.lower(), path)
            elif path.name.endswith(MASK_ENDING):
                files.masks[path.name.removesuffix(MASK_ENDING)].append(path)
            elif path.name.lower().endswith("_lesion.bmp"):
                files.masks[path.stem[: -len("_lesion")]].append(path)
            elif ending in (*ENDINGS, ".bmp") and not _NOT_IMAGES.search(path.stem.lower()):
                files.images[path.stem].append(path)
    return files


def _ham10000(files: Files) -> pd.DataFrame | None:
    for _, file in files.tables_like(r"ham10000_metadata(\.csv|\.tab)?"):
        table = _read(file, ("image_id", "dx"), ("lesion_id", "age", "sex"))
        return table.rename(columns={"image_id": "id", "dx": "label", "lesion_id": "group"})
    return None


def _one_hot(pattern: str) -> Callable[[Files], pd.DataFrame | None]:
    """Reads a challenge with a table for each split: a column of 0 and 1 for each class."""

    def read(files: Files) -> pd.DataFrame | None:
        tables = files.tables_like(rf"{pattern}_(training|validation|test)_groundtruth\.csv")
        parts = []
        for match, file in tables:
            part = _one_of(file)
            further = rf"{pattern}_{match[1]}_(lesiongroupings|metadata)\.csv"
            for _, beside in files.tables_like(further):
                more = _read(beside, ("image",), ("lesion_id", "age_approx", "sex"))
                names = {"lesion_id": "group", "age_approx": "age", "image": "id"}
                part = part.merge(more.rename(columns=names), how="left", on="id")
            parts.append(part.assign(split=_SPLITS[match[1]] if len(tables) > 1 else ""))
        return pd.concat(parts, ignore_index=True) if parts else None

    return read


def _one_of(file: Path) -> pd.DataFrame:
    """Columns id and label of a table with a column for each class, in which one of a row is 1."""
    table = _read(file, ("image",), tuple(code.upper() for code in CODES))
    values = table.drop(columns="image").apply(pd.to_numeric, errors="coerce")
    wrong = table["image"][~(values.isin((0, 1)).all(axis=1) & (values.sum(axis=1) == 1))]
    cure = "write 1 for one class and 0 for all others"
    if len(wrong):
        raise_first([Fault(f"rows of {file} without exactly one class:", cure, [*wrong])])
    return pd.DataFrame({"id": table["image"], "label": values.idxmax(axis=1).str.lower()})


def _ph2(files: Files) -> pd.DataFrame | None:
    for _, file in files.tables_like(r"ph2_dataset\.txt"):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        rows = [[cell.strip() for cell in line.split("||")] for line in lines]
        rows = [cells for cells in rows if len(cells) > 3 and re.fullmatch(r"IMD\d+", cells[1])]
        if not rows or not {cells[3] for cells in rows} <= {*_OF_PH2}:
            raise DataError(
                f"{file} is not the table of PH2: expected lines such as '|| IMD003 || || 0 ||', "
                "with the clinical diagnosis 0, 1 or 2; replace it by an undamaged copy."
            )
        table = pd.DataFrame({"image_id": [cells[1] for cells in rows]})
        raise_first(inspect_ids(table, file)[1])
        return pd.DataFrame(
            {"id": table["image_id"], "label": [_OF_PH2[cells[3]] for cells in rows]}
        )
    return None


def _masks_alone(files: Files) -> pd.DataFrame | None:
    """Images with a mask; their splits where the names of their folders say them."""
    ids = sorted({*files.images} & {*files.masks})
    homes = [str(files.images[id_][0].parent.relative_to(files.folder)).lower() for id_ in ids]
    splits = [next((_SPLITS[word] for word in _SPLITS if word in home), "") for home in homes]
    known = len({*splits}) > 1 and "" not in splits
    return pd.DataFrame({"id": ids, "split": splits if known else ""}) if ids else None


FORMATS: dict[str, tuple[str, Callable[[Files], pd.DataFrame | None]]] = {
    # what it is: the usual name of Data/<name>, and its reader; the first that fits is it
    "HAM10000": ("HAM10000", _ham10000),
    "ISIC 2018, Task 3": ("ISIC2018", _one_hot("isic2018_task3")),
    "ISIC 2019": ("ISIC2019", _one_hot("isic_2019")),
    "PH2": ("PH2", _ph2),
    "images with masks, without labels": ("", _masks_alone),
}


def _read(file: Path, columns: tuple[str, ...], more: tuple[str, ...]) -> pd.DataFrame:
    """These columns, and those of `more` that the table has; the first one holds good ids."""
    table = read_csv(file, columns, more)
    raise_first(inspect_ids(table.rename(columns={columns[0]: "image_id"}), file)[1])
    return table
