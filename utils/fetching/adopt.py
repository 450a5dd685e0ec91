"""Data of one's own, or a public set as it was downloaded, made a data folder of this project.

First a plan, which only reads: what was found, what the classes will be called, and how the images
are divided. Then, where it is wanted, `Data/<name>/` with `labels.csv`, and images and masks as
links to the originals; in a folder that has this layout already, only the missing `splits.csv`.
"""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from utils.data import labels, own
from utils.data.folds import shared_out
from utils.data.names import MASK_ENDING, SPLITS
from utils.data.orientation import opened
from utils.data.spelling import match
from utils.data.splits import check_name
from utils.data.tables import NO_LABEL
from utils.data.tree import image_folders
from utils.fetching.formats import CODES, FORMATS, Files, files_in
from utils.system.console import progress
from utils.system.errors import DataError, Fault, listed, raise_first
from utils.system.files import write_atomic, write_json

SHARES = (0.7, 0.1, 0.2)  # of SPLITS, where the set has none of its own


@dataclass(frozen=True)
class Plan:
    """What was found in a folder, and what would be written to `target`."""

    folder: Path
    kind: str
    target: Path
    images: pd.DataFrame  # as `own.read`, with paths of originals and the set's own label as code
    seed: int | None  # of the splits that are made; None where the set has them
    notes: tuple[str, ...]

    @property
    def done(self) -> bool:
        """Whether there is nothing to write."""
        return self.target == self.folder and self.seed is None

    def counts(self) -> pd.DataFrame:
        """Images of each class, a row, in each split; the set's own labels where they differ."""
        counts = labels.class_counts(self.images).T
        codes = self.images.groupby("label")["code"].unique()
        names = labels.classes_of(self.images)
        own_names = [", ".join(codes.get(number, ())) for number in range(len(names))]
        if [*names] != own_names and names:
            counts.insert(0, "in the set", [*own_names, *[""] * (len(counts) - len(names))])
        return counts.rename_axis(index="class", columns=None)

    def lines(self) -> list[str]:
        """What was found and would be done, in sentences."""
        images, groups = self.images, self.images["group"].nunique()
        masks = int((images["mask"] != "").sum())
        splits = "as the set has them"
        if self.seed is not None:
            shares = ", ".join(f"{s} {p:.0%}" for s, p in zip(SPLITS, SHARES, strict=True))
            splits = f"{shares}, each class alike, fixed by seed {self.seed}"
        grouped = f"{groups} groups (lesions or patients), each in one split"
        return [
            f"{self.folder}: {self.kind}, {len(images)} images, {masks} masks",
            grouped if groups < len(images) else "no groups: each image stands for itself",
            f"splits: {splits}",
            *self.notes,
        ]


def plan(folder: Path, name: str | None, into: Path, seed: int = 0) -> Plan:
    """What would be made of a folder, into/<name> unless it has the layout already.

    Raises DataError for a folder that is no known set or is damaged, where into/<name> exists, and
    for a name where the folder itself is used.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; name the one that holds the data set, unpacked.")
    if any(image_folders(folder, split) for split in SPLITS):
        raise DataError(f"{folder} is ISIC 2017, used as it is; there is nothing to adopt.")
    if own.is_own(folder):
        if name:
            raise DataError(
                f"{folder} has the layout of a data folder already and is used where it is; leave "
                f"out --name {name}, or rename the folder."
            )
        images, kind, target = own.undivided(folder), "a data folder", folder
        notes: list[str] = []
        if divided := "split" in images or (folder / own.SPLIT_TABLE).exists():
            images = own.read(folder)
        names = (*labels.classes_of(images), "")  # the last for NO_LABEL
        images["code"] = [names[label] for label in images["label"]]
    else:
        images, kind, usual, notes = _recognised(folder)
        target = into / (name or usual or folder.name)
        check_name(target)
        if target.exists():
            raise DataError(f"{target} exists, and nothing is overwritten; choose another --name.")
        divided = bool((images["split"] != "").all())
    if not divided:
        parts = shared_out(images, SHARES, seed)
        images["split"] = [SPLITS[part] for part in parts]
    images = images.sort_values("split", key=lambda s: s.map(SPLITS.index), kind="stable")
    raise_first(own.on_both_sides(images, folder))
    return Plan(folder, kind, target, images, None if divided else seed, (*notes, *_rare(images)))


def _recognised(folder: Path) -> tuple[pd.DataFrame, str, str, list[str]]:
    """The images of a public set, what it is, its usual name, and what is to be said about it."""
    files = files_in(folder)
    for kind, (usual, read) in FORMATS.items():
        if (table := read(files)) is not None:
            images, notes = _completed(table, files)
            return images, kind, usual, notes
    held = listed(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise DataError(
        f"{folder} is no known data set: found {held}; expected images/ beside labels.csv (image, "
        "label) or masks/, or one of HAM10000 (HAM10000_metadata.csv), ISIC 2018 or 2019 "
        "(…_GroundTruth.csv), PH2 (PH2_dataset.txt), unpacked, with its images. docs/data.md "
        "describes the layout."
    )


def _completed(table: pd.DataFrame, files: Files) -> tuple[pd.DataFrame, list[str]]:
    """The images with paths, labels as numbers and groups; and what was left out."""
    notes = []
    columns = ["id", "label", "split", "group", "age", "sex"]
    table = table.reindex(columns=columns, fill_value="").fillna("")
    matched = match(table["id"], files.images, "the set's table")
    raise_first(matched.faults)
    table["id"] = table["id"].map(matched.name)
    if spare := len({*files.images} - {*table["id"]}):
        notes.append(f"left out: {spare} images that are not in the set's table")
    if unknown := int((table["label"] == "unk").sum()):
        notes.append(f"left out: {unknown} images of no known class (UNK)")
        table = table[table["label"] != "unk"].reset_index(drop=True)
    images, masks = _paths(files.images), _paths(files.masks)
    table["image"] = [images.get(id_) for id_ in table["id"]]
    table["mask"] = [masks.get(id_, "") for id_ in table["id"]]
    what, cure = f"images of the set's table that are not in {files.folder}:", "unpack all archives"
    if lacking := table.loc[table["image"].isna(), "id"].tolist():
        raise_first([Fault(what, f"{cure} of the set into it", lacking)])
    table["group"] = table["group"].where(table["group"] != "", table["id"])
    table["code"] = table["label"]
    if (table["label"] == "").all():
        return table.assign(label=NO_LABEL).pipe(_with_classes, ()), notes
    called = table["label"].map(lambda code: CODES.get(code.lower(), code))
    numbers, names = own.named(called, files.folder)
    return table.assign(label=numbers).pipe(_with_classes, names), notes


def _with_classes(images: pd.DataFrame, names: list[str] | tuple[str, ...]) -> pd.DataFrame:
    images.attrs["classes"] = tuple(names)
    return images


def _paths(files: dict[str, list[Path]]) -> dict[str, str]:
    """One path for each id. DataError where an id has several files that differ in size."""
    several = {id_: paths for id_, paths in files.items() if len(paths) > 1}
    for id_, paths in several.items():
        if len({(path.suffix, path.stat().st_size) for path in paths}) > 1:
            what = f"several files for the image {id_}:"
            raise_first([Fault(what, "keep one", [str(path) for path in paths], True)])
    return {id_: str(paths[0]) for id_, paths in files.items()}


def _rare(images: pd.DataFrame) -> list[str]:
    """A sentence where a split has no image of a class."""
    counts = labels.class_counts(images).drop(columns="all")
    absent = [
        f"{name} in {split}" for name in counts for split in counts.index if not counts[name][split]
    ]
    if not absent:
        return []
    return [f"no image of {listed(absent)}: too few to learn or score; join or drop rare classes"]


def write(planned: Plan) -> None:
    """Make what was planned; it appears when it is complete, and nothing is overwritten."""
    images, target = planned.images, planned.target
    if target == planned.folder:
        if planned.seed is not None:
            table = images[["id", "split"]].rename(columns={"id": "image"}).sort_values("image")
            write_atomic(target / own.SPLIT_TABLE, _csv(table))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        fresh = Path(scratch) / "fresh"
        for home in (own.IMAGES, own.MASKS):
            (fresh / home).mkdir(parents=True)
        rows = [*images[["id", "image", "mask"]].itertuples(index=False)]
        for id_, image, mask in progress(rows, f"making {target.name}", "images"):
            _put(Path(image), fresh / own.IMAGES / id_)
            if mask:
                stem = MASK_ENDING.removesuffix(".png")
                _put(Path(mask), fresh / own.MASKS / f"{id_}{stem}", grey=True)
        if not any((fresh / own.MASKS).iterdir()):
            (fresh / own.MASKS).rmdir()
        write_atomic(fresh / own.LABELS, _csv(_table(images)))
        made = {"seed": planned.seed, "shares": SHARES} if planned.seed is not None else None
        record = {"from": str(planned.folder), "set": planned.kind, "splits": made}
        write_json(fresh / "adopted.json", record)
        fresh.rename(target)


def _table(images: pd.DataFrame) -> pd.DataFrame:
    """labels.csv: the columns of which something is known."""
    names = labels.classes_of(images)
    table = images.drop(columns="image").rename(columns={"id": "image"}).sort_values("image")
    if names:
        table["label"] = [names[label] for label in table["label"]]
    else:
        table = table.drop(columns="label")
    columns = ["image", "label", "split", "group", "age", "sex"]
    known = [name for name in columns if name in table and (table[name] != "").any()]
    return table[[name for name in known if name != "group" or table["group"].duplicated().any()]]


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")


def _put(source: Path, place: Path, grey: bool = False) -> None:
    """A link to a file at place, with its ending, or a copy; a BMP becomes a PNG of its pixels."""
    if source.suffix.lower() == ".bmp":
        picture: Image.Image = opened(source, ("BMP",))
        picture.convert("L" if grey else "RGB").save(place.with_name(f"{place.name}.png"))
        return
    place = place.with_name(place.name + source.suffix.lower())
    for way in (os.link, os.symlink, shutil.copyfile):
        try:
            way(source.resolve(), place)
            return
        except OSError:
            if way is shutil.copyfile:
                raise
