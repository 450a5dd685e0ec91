"""Is this tree the complete ISIC 2017, and nothing else? Every file is read to its last byte.

All problems are collected, and nothing is written but the list that the user asks for. An error
changes or stops a training or a score; a note is good to know.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from utils.data.decode import Facts, check, undecided
from utils.data.labels import class_counts
from utils.data.names import CLASSES
from utils.data.orientation import AS_STORED, UNDECIDED
from utils.data.own import is_own, read
from utils.data.splits import is_demo
from utils.data.tree import EXTENDED_LABELS
from utils.fetching import inventory
from utils.fetching.checksums import unpacked
from utils.fetching.duplicates import Picture, nearly_same, perceptual_hash, same
from utils.fetching.inventory import Inventory, Problem
from utils.system.console import progress
from utils.system.errors import Fault, listed, printable
from utils.system.files import write_table

Published = dict[str, dict[str, int]]  # CRC-32 by folder and file, as archives held them

OFFICIAL = {  # images of each class, in the order of CLASSES
    "train": (374, 254, 1372),
    "validation": (30, 42, 78),
    "test": (117, 90, 393),
}
CHECKS = (
    "labels",  # the tables can be read, and each row has one id and one label
    "images",  # every row has an image, every image a row
    "masks",  # every official row has a mask, every mask a row; none is empty, or looks inverted
    "files",  # images and masks decode to the last byte, and are what their archives held
    "sizes",  # a mask has its image's size
    "counts",  # the classes have as many images as in the official set
    "splits",  # no id is in two splits; which splits are absent
    "duplicates",  # no picture occurs twice, to the last pixel
    "near duplicates",  # nor nearly so
    "orientation",  # the camera's rotation: whether it is applied, and that the mask confirms it
    "metadata",  # age and sex can be read, each row with an image
)
# An image's border shows skin. Of the 2150 official training and validation masks (256 px)
# lesion fills half of it or more in 4, all of them right by their photos, whose lesions hardly fit:
# ISIC_0000203, 0011121, 0015062, 0015372; the next fills 39 %. With lesion and skin exchanged 2146
# are named: all but these 4.
BORDER = 0.5


class _Pair(NamedTuple):
    split: str
    id: str
    image: str
    mask: str


@dataclass(frozen=True)
class Report:
    """The class counts, one row for each label list; the problems as a table; and the duration."""

    counts: pd.DataFrame
    problems: pd.DataFrame
    checks: tuple[str, ...]
    images: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not (self.problems["severity"] == "error").any()

    def summary(self) -> str:
        """How many images, how quickly, how many errors and notes."""
        counts = []
        for kind in ("error", "note"):
            number = int((self.problems["severity"] == kind).sum())
            counts.append(f"{number:,} {kind}{'s' if number != 1 else ''}")
        return (
            f"{self.images:,} images verified in {self.seconds:.1f} s "
            f"({self.images / max(self.seconds, 1e-9):.0f} a second): {', '.join(counts)}."
        )

    def table(self) -> pd.DataFrame:
        """A line for each check: its errors, its notes, and the first ids or files they name."""
        lines = []
        for name in self.checks:
            problems = self.problems[self.problems["check"] == name]
            shown = problems["file"].where(problems["id"] == "", problems["id"])
            shown = shown.where(shown != "", problems["split"]).drop_duplicates()
            counts = [int((problems["severity"] == kind).sum()) for kind in ("error", "note")]
            lines.append((name, *counts, listed(shown)))
        return pd.DataFrame(lines, columns=["check", "errors", "notes", "first"]).set_index("check")

    def write(self, file: Path) -> None:
        """Write all problems as csv; UnwritableError if the file cannot be written."""
        write_table(file, self.problems)


def verify(data_dir: Path, near: bool = False, workers: int | None = None) -> Report:
    """Check everything in the tree; with near, look for near duplicates, too.

    Raises DataError for a folder that cannot be listed, or holds nothing of ISIC 2017; of own data
    for the first fault that shows without opening an image.
    """
    start = time.monotonic()
    mine = is_own(data_dir)
    problems, pairs, shown = (_of_own if mine else _of_official)(data_dir)
    seen = [*_examine_all(pairs, unpacked(data_dir), near, workers)]
    problems += [problem for faults, _ in seen for problem in faults]
    pictures = [picture for _, picture in seen]
    problems += same(pictures, official=not mine)
    if near:
        problems += nearly_same(pictures)
    checks = tuple(name for name in CHECKS if near or name != "near duplicates")
    problems.sort(key=lambda problem: (problem.severity, checks.index(problem.check)))
    table = pd.DataFrame(problems, columns=Problem._fields, dtype=str)
    return Report(shown, table, checks, len(pairs), time.monotonic() - start)


def _of_official(data_dir: Path) -> tuple[list[Problem], list[_Pair], pd.DataFrame]:
    """The problems of an ISIC 2017 tree that show without an image, its files and class counts."""
    splits = inventory.take(data_dir)
    counts, synthetic = _counts(splits), is_demo(data_dir)
    if not synthetic:
        _compare_counts(splits, counts)
    problems = [problem for split in splits for problem in split.problems]
    problems += inventory.across(splits)
    pairs = [
        _Pair(split.split, printable(id_), image, split.masks.get(id_, ""))
        for split in splits
        for id_, image in split.images.items()
    ]
    return problems, pairs, counts[[*CLASSES, "all"]] if synthetic else counts


def _of_own(data_dir: Path) -> tuple[list[Problem], list[_Pair], pd.DataFrame]:
    """The same of own data, whose reader raises its first fault."""
    images = read(data_dir)
    columns = images[["split", "id", "image", "mask"]].itertuples(index=False)
    pairs = [_Pair(split, printable(id_), image, mask) for split, id_, image, mask in columns]
    without = images.loc[images["mask"] == "", "id"].tolist()
    what, cure = "images without a mask:", "only classifiers do without; add them, or leave it so"
    lines = [
        Problem("note", "masks", "", printable(id_), "", Fault(what, cure, [id_]).about([id_]))
        for id_ in (without if len(without) < len(images) else [])
    ]
    return lines, pairs, class_counts(images)


def _examine_all(
    pairs: list[_Pair], published: Published, near: bool, workers: int | None
) -> Iterator[tuple[list[Problem], Picture]]:
    """The results of `_examine` for each pair, in order. Files are decoded in threads."""
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        results = pool.map(lambda pair: _examine(pair, published, near), pairs)
        try:
            yield from progress(results, "verifying", "images", len(pairs))
        finally:  # an interruption does not wait for all images
            pool.shutdown(cancel_futures=True)


def _examine(pair: _Pair, published: Published, near: bool) -> tuple[list[Problem], Picture]:
    """The problems of an image and its mask; the picture, to be compared with the others."""
    problems = []
    facts = check(pair.image, pair.mask)
    if isinstance(facts, str):
        fault, facts = facts, check(pair.image, "")
        bad = pair.image if isinstance(facts, str) else pair.mask
        message = f"{printable(fault)}; repair it, or replace it by an undamaged copy."
        problems.append(_problem("error", "files", pair, message, bad))
    else:
        problems += [*_mask_problems(pair, facts), *_orientation_problems(pair, facts)]
    if isinstance(facts, str):
        return problems, Picture(pair.split, pair.id, None, None)
    for file, crc in ((pair.image, facts.crc), (pair.mask, facts.mask_crc)):
        path = Path(file)
        if crc is not None and published.get(path.parent.name, {}).get(path.name, crc) != crc:
            message = f"{printable(path.name)} is not what its archive held; fetch the file again."
            problems.append(_problem("error", "files", pair, message, file))
    hash_ = perceptual_hash(pair.image, pair.mask) if near else None
    return problems, Picture(pair.split, pair.id, facts.pixels_sha256, hash_)


def _mask_problems(pair: _Pair, facts: Facts) -> Iterator[Problem]:
    start = f"the mask of {pair.id}"
    if pair.mask and facts[:2] != facts[2:4]:
        message = (
            "{} is {}×{} px, its image {}×{}; expected the same size. Add the mask that was drawn "
            "on this very image.".format(start, *facts[2:4], *facts[:2])
        )
        yield _problem("error", "sizes", pair, message, pair.mask)
    if pair.mask and facts.lesion_pixels == 0:
        message = f"{start} is empty: no pixel is lesion; replace it by the right one."
        yield _problem("error", "masks", pair, message, pair.mask)
    if facts.lesion_border >= BORDER:
        message = (
            f"{start} has lesion along {facts.lesion_border:.0%} of the image's border, which is "
            "mostly skin; check whether lesion (255) and skin (0) are exchanged."
        )
        yield _problem("note", "masks", pair, message, pair.mask)


def _orientation_problems(pair: _Pair, facts: Facts) -> Iterator[Problem]:
    if facts.orientation == 1 or (pair.mask and facts[:2] != facts[2:4]):
        return
    severity, start = "note", f"{pair.id} has the EXIF orientation {facts.orientation}, which is"
    if facts.lies == UNDECIDED:
        severity, message = "error", f"{pair.id} {undecided(facts.orientation)}."
    elif facts.lies == AS_STORED:
        message = f"{start} ignored: its mask has the size of the stored pixels; nothing to do."
    else:
        reason = "its mask has that size" if pair.mask else "every viewer shows it so"
        message = f"{start} applied: {reason}; nothing to do."
    yield _problem(severity, "orientation", pair, message, pair.image)


def _problem(severity: str, check: str, pair: _Pair, message: str, file: str) -> Problem:
    return Problem(severity, check, pair.split, pair.id, printable(Path(file).name), message)


def _counts(splits: list[Inventory]) -> pd.DataFrame:
    """Images of each class in each list of labels, and the official numbers."""
    counts: dict[str, list] = {}
    for split in splits:
        for file, table in split.tables.items():
            name = split.split
            official: list = [*OFFICIAL[name], sum(OFFICIAL[name])]
            if file == EXTENDED_LABELS:
                name, official = "train, enlarged list", [pd.NA] * 4
            labels = table["label"].tolist()
            counts[name] = [*map(labels.count, range(len(CLASSES))), len(labels), *official]
    names = [*CLASSES, "all"]
    columns = [*names, *(f"official {name}" for name in names)]
    return pd.DataFrame.from_dict(counts, "index", columns=columns).astype("Int64")


def _compare_counts(splits: list[Inventory], counts: pd.DataFrame) -> None:
    """Add a problem to each split whose official list has other numbers than the official set."""
    for split in splits:
        if split.split not in counts.index:
            continue
        row = counts.loc[split.split]
        actual, official = ("/".join(map(str, row.iloc[k : k + 3])) for k in (0, 4))
        if actual != official:
            what = (
                f"the {split.split} list holds {actual} melanomas / seborrheic keratoses / benign"
            )
            cure = (
                f"expected {official}, as ISIC 2017 has. Its scores cannot be compared with "
                "published ones: use the official list, unless this is a set of your own"
            )
            split.add("counts", [Fault(what, cure)])
