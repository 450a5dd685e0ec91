"""The index of a prepared store, `index.csv`: one line an image."""

import csv
import io
import sys
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd

from utils.system.files import write_atomic


@dataclass(slots=True)
class Record:
    """A line of the index; with slots, as there may be 100 000 of them."""

    id: str
    split: str
    label: int
    age: float | None
    sex: str
    # Known once the image is decoded.
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
        """Take over the facts of decoding."""
        for name, value in facts.items():
            setattr(self, name, value)


COLUMNS = tuple(entry.name for entry in fields(Record))
DECODED = ("width", "height", "has_mask", "sha256", "mask_sha256")


def read_table(folder: Path) -> pd.DataFrame:
    """The index as it was written; empty without one, or for one of an earlier version."""
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
    """The index, one record a line; what is not decoded yet is None."""
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
    """Write the index; an unchanged one is left alone, as it may be read-only."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(attrgetter(*COLUMNS), records))
    write_atomic(folder / "index.csv", text.getvalue())
