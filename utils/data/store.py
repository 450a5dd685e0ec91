"""The prepared store: every image and mask decoded once into uint8 memory maps of one size.

`prepared-<width>x<height>/` (or `prepared-<side>/`) holds `images.npy` (n, H, W, 3) RGB,
`masks.npy` (n, H, W) 0/255 and `index.csv` (one row an image). Every image is stretched to the
store's size, as the published studies do; `index.csv` keeps the original width and height, so that
predictions can be resized back. Images shrink by area averaging and grow by linear interpolation;
masks are resized likewise and thresholded at one half, so they stay binary.

Preparing is resumable and never leaves a half-written store: it works in `<name>.partial` and
renames that at the end. A source is decoded again only when its content changed.
"""

import hashlib
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat, starmap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.data.decode import content_hash, decode, file_stat
from utils.data.index import DECODED, Record, read_records, read_table, write_index
from utils.data.regions import WHOLE, Boxes
from utils.system import project
from utils.system.console import progress
from utils.system.disk import require_room, reserve, unwritable
from utils.system.errors import DataError, listed
from utils.system.files import locked

CHUNK = 64  # images that are decoded at once, and held until they are stored
NOTE_EVERY = 10.0  # seconds between two saves of an unfinished store
_ARRAYS = ("images.npy", "masks.npy")


@dataclass(frozen=True)
class Store:
    """A prepared store. It keeps no file open, so it can be sent to worker processes.

    Each access reads one image from the file: pages of a memory map would count towards every
    process that touches them, and memory would grow with the number of images.
    """

    folder: Path
    index: pd.DataFrame
    shape: tuple[int, int]  # height, width
    offsets: tuple[int, int]  # bytes before the first image and the first mask

    def image(self, position: int) -> np.ndarray:
        """(H, W, 3) uint8, RGB, 0..255."""
        return self._read("images.npy", self.offsets[0], position, (*self.shape, 3))

    def mask(self, position: int) -> np.ndarray:
        """(H, W) uint8, 0 background, 255 lesion; all 0 where index.has_mask is False."""
        return self._read("masks.npy", self.offsets[1], position, self.shape)

    def _read(self, name: str, start: int, position: int, shape: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(shape))
        offset = start + int(position) * size
        return np.fromfile(self.folder / name, np.uint8, size, offset=offset).reshape(shape)

    def positions(self, images: pd.DataFrame) -> np.ndarray:
        """Position in the store of each image; KeyError for an id that was not prepared."""
        by_id = pd.Series(np.arange(len(self.index)), index=self.index["id"])
        return by_id.loc[images["id"]].to_numpy()

    def fingerprint(self, images: pd.DataFrame, masks: bool = False) -> str:
        """Sixteen hex digits that change when an id, split, label, group or image file changes.

        With masks also when a mask changes; a classifier never sees them.
        """
        kept = ["id", "sha256", *(["mask_sha256"] if masks else [])]
        columns = self.index.iloc[self.positions(images)][kept].astype(str)
        columns = columns.assign(split=images["split"].to_numpy(), label=images["label"].to_numpy())
        if "group" in images:  # it decides what is held out
            columns = columns.assign(group=images["group"].to_numpy())
        text = columns.sort_values("id").to_csv(index=False, lineterminator="\n")
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def prepare(
    data_dir: Path,
    images: pd.DataFrame,
    size: int | tuple[int, int],
    workers: int | None = None,
    boxes: Boxes | None = None,
) -> Store:
    """The store of the images (`data.read`) at size (side, or (width, height)) px.

    With boxes, of what lies in them, in a folder of its own; width and height in the index are
    then those of a box. Decodes what is missing. Raises DataError naming the unusable sources,
    after all others were decoded, and where nothing can be written. A second process that prepares
    the same store waits for the first.
    """
    width, height = (size, size) if isinstance(size, int) else size
    name = f"prepared-{width}" if width == height else f"prepared-{width}x{height}"
    name += f"-{boxes.name}" if boxes else ""
    regions = [boxes.regions[id] for id in images["id"]] if boxes else [WHOLE] * len(images)
    images = images.assign(region=pd.Series(regions, images.index, dtype=object))
    folder = _writable_home(data_dir) / name
    try:
        with locked(folder.with_name(f".{name}.lock"), f"{folder} is being prepared", wait=True):
            records = _plan(read_records(folder), images)
            if folder.exists() and all(record.decoded for record in records):
                write_index(folder, records)  # labels, age and sex may have changed
            else:
                _build(folder, images, (width, height), workers)
    except OSError as error:
        raise unwritable(error, folder) from error
    return open_store(folder)


def open_store(folder: Path) -> Store:
    """Open a finished store. Raises DataError when the folder holds none."""
    if not (folder / "index.csv").exists():
        raise DataError(f"no prepared store in {folder}; prepare one with store.prepare.")
    images, masks = (np.load(folder / file, mmap_mode="r") for file in _ARRAYS)
    index = read_table(folder).astype({"width": int, "height": int, "has_mask": bool})
    return Store(folder, index, images.shape[1:3], (images.offset, masks.offset))


def _writable_home(data_dir: Path) -> Path:
    """data_dir, or `Data/<fingerprint of its path>` when it is read-only."""
    if data_dir.stat().st_mode & 0o222 and os.access(data_dir, os.W_OK):
        return data_dir
    fingerprint = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:12]
    return project.PROJECT / "Data" / fingerprint


def _plan(previous: list[Record], images: pd.DataFrame) -> list[Record]:
    """The records of the store to build; those that are not decoded yet are to do.

    Images already stored keep their position, whatever is added: a run in progress reads on.
    """
    records = {record.id: record for record in previous}
    row: Any
    for row in images.itertuples():
        age = None if pd.isna(row.age) else row.age
        split, sex = sys.intern(row.split), sys.intern(row.sex)
        files = (row.image, row.region), (row.mask, row.region)
        stats = dict(zip(("image_stat", "mask_stat"), starmap(file_stat, files), strict=True))
        record = Record(row.id, split, row.label, age, sex)
        record.learn(stats)
        old = records.get(row.id)
        if old is not None and old.decoded:
            untouched = all(getattr(old, name) == stat for name, stat in stats.items())
            hashes = (old.sha256, old.mask_sha256)
            if untouched or hashes == tuple(starmap(content_hash, files)):
                record.learn({name: getattr(old, name) for name in DECODED})
        records[row.id] = record
    return list(records.values())


def _build(folder: Path, images: pd.DataFrame, size: tuple[int, int], workers: int | None) -> None:
    """Decode what is missing next to the finished store, then replace it."""
    partial = folder.with_name(f"{folder.name}.partial")
    records, arrays = _open_partial(folder, partial, images, size)
    sources = images.set_index("id")[["image", "mask", "region"]]
    todo = [place for place, record in enumerate(records) if not record.decoded]
    broken: list[str] = []
    noted = time.monotonic()
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        chunks = [todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK)]
        for chunk in progress(chunks, f"preparing {folder.name}", f"× {CHUNK} images"):
            paths = sources.loc[[records[place].id for place in chunk]]
            files = (paths["image"], paths["mask"], repeat(size), paths["region"])
            decoded = pool.map(decode, *files)
            for place, result in zip(chunk, decoded, strict=True):
                if isinstance(result, str):
                    broken.append(result)
                    continue
                arrays[0][place], arrays[1][place], facts = result
                records[place].learn(facts)
            # Not after each chunk: the complete index is written each time.
            if time.monotonic() - noted >= NOTE_EVERY:
                _save(partial, records, arrays)
                noted = time.monotonic()
    _save(partial, records, arrays)
    if broken:
        raise DataError(
            f"files that cannot be used: {listed(broken)}; repair them, or replace them by "
            "undamaged copies. To train without them move the images elsewhere and set "
            "allow_missing=True. What was decoded is kept."
        )
    del arrays
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _save(partial: Path, records: list[Record], arrays: list[np.memmap]) -> None:
    """Make the images decoded so far outlive this process: pixels first, then the index."""
    for array in arrays:
        array.flush()
    write_index(partial, records)


def _open_partial(
    folder: Path, partial: Path, images: pd.DataFrame, size: tuple[int, int]
) -> tuple[list[Record], list[np.memmap]]:
    """Records and arrays of an unfinished store, with the images an earlier attempt decoded."""
    finished, left = read_records(folder), read_records(partial)
    if left and [record.id for record in left] == [r.id for r in _plan(finished, images)]:
        return _plan(left, images), [np.lib.format.open_memmap(partial / f, "r+") for f in _ARRAYS]
    # The earlier attempt was for other images: its pixels move to their new positions.
    records = _plan(finished + [record for record in left if record.decoded], images)
    needed = len(records) * size[0] * size[1] * 4
    require_room(f"{len(records)} images", partial, needed, "prepare them smaller (stored_size)")
    spare = folder.with_name(f"{folder.name}.left")
    shutil.rmtree(spare, ignore_errors=True)
    if partial.exists():
        partial.rename(spare)
    partial.mkdir(parents=True)
    places = {record.id: place for place, record in enumerate(records)}
    arrays = []
    for file, shape in zip(_ARRAYS, ((*size[::-1], 3), size[::-1]), strict=True):
        array = np.lib.format.open_memmap(partial / file, "w+", np.uint8, (len(records), *shape))
        reserve(partial / file, array.offset + array.nbytes)
        for source, stored in ((folder, finished), (spare, left)):
            old = np.load(source / file, mmap_mode="r") if stored else array
            for number, record in enumerate(stored):
                if record.decoded:
                    array[places[record.id]] = old[number]
        arrays.append(array)
    _save(partial, records, arrays)
    shutil.rmtree(spare, ignore_errors=True)
    return records, arrays
