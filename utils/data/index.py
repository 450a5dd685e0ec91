"""The index of a prepared store, `index.csv`: one line an image.

It is read and written line by line or in pieces, never as a whole, so that memory hardly grows with
the number of images.
"""

import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd

from utils.system.files import write_atomic

LINES = 4096  # that are written at once


@dataclass(slots=True)
class Record:
    """A line of the index. There may be 100 000 of them: as dicts they would fill the memory."""

    id: str
    split: str
    label: int
    age: float | None
    sex: str
    # What is known once the image was decoded.
    width: int | None = None
    height: int | None = None
    has_mask: bool | None = None
    sha256: str | None = None
    mask_sha256: str | None = None
    image_stat: str = ""
    mask_stat: str = ""

    @property
    def decoded(self) -> bool:
        return self.sha256 is not None

    def learn(self, facts: dict) -> None:
        """Take over what decoding told."""
        for name, value in facts.items():
            setattr(self, name, value)


COLUMNS = tuple(entry.name for entry in fields(Record))
DECODED = ("width", "height", "has_mask", "sha256", "mask_sha256")


def read_table(folder: Path) -> pd.DataFrame:
    """The index as it was written; empty where there is none, or one of an earlier version."""
    file = folder / "index.csv"
    names = ("id", "split", "sex", "image_stat", "mask_stat", "sha256", "mask_sha256")
    text: dict[str, Any] = dict.fromkeys(names, str)
    sides = dict.fromkeys(("width", "height"), "Int64")  # may be missing, and stay integers
    blank = dict.fromkeys(("age", *sides), "")
    if file.exists():
        table = pd.read_csv(file, dtype=text | sides, keep_default_na=False, na_values=blank)
        if set(table.columns) == set(COLUMNS):
            return table[list(COLUMNS)]
    return pd.DataFrame(columns=list(COLUMNS))


def read_records(folder: Path) -> list[Record]:
    """The index, a record a line; what an unfinished one does not know yet is None."""
    records = []
    line: Any
    for line in read_table(folder).itertuples(index=False):
        record = Record(line.id, sys.intern(line.split), line.label, None, sys.intern(line.sex))
        record.age = None if pd.isna(line.age) else line.age
        record.image_stat, record.mask_stat = line.image_stat, line.mask_stat
        if line.sha256 != "":
            record.learn({name: getattr(line, name) for name in DECODED})
        records.append(record)
    return records


def write_index(folder: Path, records: list[Record]) -> None:
    """Write the index in pieces; not at all where it says this already, as it may be read-only."""
    file = folder / "index.csv"
    if file.exists():
        with file.open("rb") as old:
            if all(old.read(len(piece)) == piece for piece in _pieces(records)) and not old.read(1):
                return
    write_atomic(file, lambda new: new.writelines(_pieces(records)))


def _pieces(records: list[Record]) -> Iterator[bytes]:
    """The lines of the index, LINES at a time."""
    cells = attrgetter(*COLUMNS)
    yield (",".join(COLUMNS) + "\n").encode()
    for start in range(0, len(records), LINES):
        piece = io.StringIO(newline="")
        lines = map(cells, records[start : start + LINES])
        csv.writer(piece, lineterminator="\n").writerows(lines)
        yield piece.getvalue().encode()
