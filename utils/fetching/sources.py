"""The files of ISIC 2017, and the folder that each archive is unpacked to.

The organisers' own storage; images, masks and labels are CC-0. The archives of images also hold
metadata (age, sex) and superpixels; superpixels are skipped.
"""

from dataclasses import dataclass

from utils.data.names import IMAGE_FOLDERS, PREFIXES, SPLITS

BASE_URL = "https://isic-challenge-data.s3.amazonaws.com/2017/"
PAGE = "https://challenge.isic-archive.com/data/#2017"
PARTS = ("images", "masks", "labels")
IMAGES = {"train": 2000, "validation": 150, "test": 600}


@dataclass(frozen=True)
class Source:
    """A file of the challenge; an archive has a folder to unpack to, and a number of files."""

    name: str
    split: str
    part: str
    folder: str = ""
    files: int = 0


def sources_of(parts: tuple[str, ...] = PARTS, splits: tuple[str, ...] = SPLITS) -> list[Source]:
    """The files of these parts and splits, the small ones first."""
    return [
        _source(part, split)
        for part in reversed(PARTS)
        if part in parts
        for split in SPLITS
        if split in splits
    ]


def _source(part: str, split: str) -> Source:
    prefix = PREFIXES[split][0]
    if part == "labels":
        return Source(f"{prefix}_Part3_GroundTruth.csv", split, part)
    folder = IMAGE_FOLDERS[split][0] if part == "images" else f"{prefix}_Part1_GroundTruth"
    return Source(f"{folder}.zip", split, part, folder, IMAGES[split])
