"""Pictures that are in a tree more than once: identical to the last pixel, or nearly so.

ISIC releases are known for both, within and across splits (Cassidy et al., Medical Image Analysis
75, 2022, 102305). Near duplicates are found by pHash (library ImageHash): the signs of the 16×16
lowest frequencies of the grey image, 256 bits. It survives another size, quality or colour, but not
mirroring or rotation. The usual 64 bits are too few here, where most images show one dark spot in
the middle.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.data.orientation import laid, lie, opened
from utils.fetching.inventory import Problem
from utils.system.errors import listed

# Bits in which near duplicates may differ. Of the 2150 official training and validation images, 10
# pairs differ in at most 38, each of one lesion by the look of it; of the next ten, 3.
MOST = 38
# Pairs across splits in the official set itself: nothing that a user could repair.
OFFICIAL_PAIRS = (frozenset({"ISIC_0012970", "ISIC_0012127"}),)  # training, validation
_BITS = 256
_ROWS = 1024  # of the matrix of distances at a time


class Picture(NamedTuple):
    """An image of a split, with the hash of its pixels and the perceptual one; None if unknown."""

    split: str
    id: str
    pixels: str | None
    hash: bytes | None

    def __str__(self) -> str:
        return f"{self.id} ({self.split})"


def perceptual_hash(path: str | Path, mask: str | Path = "") -> bytes:
    """The hash of a readable image file, oriented as its mask is."""
    import imagehash  # imports scipy and PyWavelets, which take a while

    with opened(path) as file:
        lies = lie(file, mask)
        file.draft(
            "L", (256, 256)
        )  # 64×64 pixels are hashed: no need to decode a JPEG at full size
        return np.packbits(imagehash.phash(laid(file, lies), hash_size=16).hash).tobytes()


def near_pairs(hashes: list[bytes], most: int = MOST) -> Iterator[tuple[int, int, int]]:
    """Positions (first < second) and distance of all pairs that differ in at most `most` bits."""
    from scipy.spatial.distance import cdist

    if len(hashes) < 2:
        return
    bits = np.unpackbits(np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), -1), axis=1)
    for start in range(0, len(bits), _ROWS):  # all pairs of 25 000 images would take gigabytes
        rows = bits[start : start + _ROWS].view(bool), bits[start:].view(bool)
        distances = np.rint(cdist(*rows, "hamming") * bits.shape[1]).astype(int)
        for first, second in np.argwhere(np.triu(distances <= most, k=1)).tolist():
            yield start + first, start + second, int(distances[first, second])


def same(pictures: Iterable[Picture], official: bool = True) -> list[Problem]:
    """A problem for each picture that occurs more than once; an error across splits."""
    by_pixels: dict[str, list[Picture]] = {}
    for picture in pictures:
        if picture.pixels is not None:
            by_pixels.setdefault(picture.pixels, []).append(picture)
    problems = []
    for group in by_pixels.values():
        if len(group) < 2:
            continue
        severity, cure = "note", "the official set holds such pairs; leave them as they are"
        if not official:
            cure = "leave one out, or give them one group in labels.csv"
        across = len({picture.split for picture in group}) > 1
        if across and frozenset(picture.id for picture in group) not in OFFICIAL_PAIRS:
            cure = "a network must not be scored on what it was trained on: remove one of them"
            severity = "error"
        message = f"the same picture, to the last pixel: {listed(group)}; {cure}."
        problems.append(Problem(severity, "duplicates", group[0].split, group[0].id, "", message))
    return problems


def nearly_same(pictures: Iterable[Picture]) -> list[Problem]:
    """A note for each pair that looks the same, but is not identical."""
    hashed = [picture for picture in pictures if picture.hash is not None]
    problems = []
    for first, second, distance in near_pairs([picture.hash or b"" for picture in hashed]):
        one, other = hashed[first], hashed[second]
        if one.pixels == other.pixels:
            continue
        where = "in one split" if one.split == other.split else "in two splits"
        message = (
            f"{one} and {other}, {where}, look nearly the same ({distance} of {_BITS} bits "
            "differ); look at both, and leave one out if they show the same lesion."
        )
        problems.append(Problem("note", "near duplicates", one.split, one.id, "", message))
    return problems
