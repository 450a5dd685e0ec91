"""The csv tables of ISIC 2017, labels and metadata, read without guessing.

Every cell stays the text in the file, so an image may be called "NA". What is wrong is a `Fault`:
readers of a table raise the first one, the verification collects them all.
"""

import csv
import io
import re
import textwrap
from pathlib import Path

import pandas as pd

from utils.data.names import LABEL_COLUMNS
from utils.system.errors import DataError, Fault, listed, printable, raise_first, unreadable

METADATA_COLUMNS = ("image_id", "age_approximate", "sex")
SEXES = ("male", "female")  # anything else is unknown
OLDEST = 110  # years
_UNKNOWN = {"", "unknown", "nan", "na", "n/a", "none", "null"}
NO_LABEL = -1  # of an image whose class is unknown
# Ids become file names, also of masks that are written: none may lead out of its folder.
_NO_FILE_NAME = re.compile(r"[/\\\x00-\x1f\x7f]|^\.+$")


def read_csv(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """These columns of a table, as text without surrounding spaces.

    Commas, semicolons or tabs, a byte order mark, any line ends, empty lines and further columns
    are accepted. Raises DataError for a file that is no such table. () stands for all columns.
    """
    text = _read_text(file)
    first_line = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first_line.count), strict=True)
    lines: list[list[str]] = []
    try:
        for line in reader:
            cells = [cell.strip() for cell in line]
            if not any(cells):
                continue
            lines.append(cells)
            if len(cells) != len(lines[0]):
                sizes = f"{len(cells)} cells, the first {len(lines[0])}"
                raise csv.Error(f"line {reader.line_num} has {sizes}")
    except csv.Error as error:
        raise _no_csv(file, str(error)) from error
    if not lines:
        raise _no_csv(file, "it is empty")
    expected = f"Expected {', '.join(columns)}."
    if lacking := [column for column in columns if column not in lines[0]]:
        found = textwrap.shorten(listed(lines[0]), 200, placeholder=" …")
        raise DataError(
            f"{file} lacks the column {', '.join(lacking)}; found {found}. {expected[:-1]}: rename "
            "a column, or add what is missing (labels: 0 where the set has none of that class)."
        )
    if twice := [column for column in columns if lines[0].count(column) > 1]:
        raise DataError(f"{file} has the column {', '.join(twice)} twice; keep one. {expected}")
    table = pd.DataFrame(lines[1:], columns=lines[0], dtype=str)
    return table[list(columns)] if columns else table


def _read_text(file: Path) -> str:
    if file.is_dir():
        raise DataError(f"{file} is a folder, expected a csv file; put the file in its place.")
    if file.exists() and not file.is_file():  # reading a pipe would wait forever
        raise DataError(f"{file} is no regular file, expected a csv file; put one in its place.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(str(unreadable(file, error))) from error
    except UnicodeDecodeError as error:
        fault = f"not UTF-8: byte {error.object[error.start]:#04x} at {error.start}"
        raise _no_csv(file, fault, "save it as 'CSV UTF-8'") from error
    if "\0" in text:
        raise _no_csv(file, "it holds zero bytes, as a picture or an archive does")
    return text


def _no_csv(file: Path, fault: str, cure: str = "repair it") -> DataError:
    cure += ", or replace it by an undamaged copy"
    return DataError(f"{file} is no readable csv file ({printable(fault)}); {cure}.")


def inspect_labels(file: Path) -> tuple[pd.DataFrame, list[Fault]]:
    """Columns id and label (0 melanoma, 1 seborrheic keratosis, 2 benign), and what is wrong.

    Each usable id once; `NO_LABEL` for an invalid label. Raises DataError for a file that is no
    label table, or has no rows.
    """
    table = read_csv(file, LABEL_COLUMNS)
    if table.empty:
        raise DataError(f"{file} has no rows under its column names; write one for each image.")
    ids, faults = inspect_ids(table, file)
    values = table[[*LABEL_COLUMNS[1:]]].apply(pd.to_numeric, errors="coerce")
    invalid = ~values.isin((0, 1)).all(axis=1)
    both = (values == 1).all(axis=1)
    cure = "a lesion is melanoma, or seborrheic keratosis, or neither (benign)"
    faults += _with_names(
        Fault(
            f"labels other than 0 and 1 in {file} for", "write 0 or 1", [*table.image_id[invalid]]
        ),
        Fault(f"rows of {file} with both labels set:", cure, [*table.image_id[both]]),
    )
    melanoma, keratosis = (values[name] == 1 for name in values)
    label = (2 - 2 * melanoma.astype("int64") - keratosis).mask(invalid | both, NO_LABEL)
    return pd.DataFrame({"id": ids, "label": label.loc[ids.index]}).reset_index(drop=True), faults


def inspect_ids(table: pd.DataFrame, file: Path) -> tuple[pd.Series, list[Fault]]:
    """The usable ids of a table, once each, and what is wrong with the others."""
    ids = table["image_id"]
    empty = ids == ""
    strange = ids.map(lambda id_: _NO_FILE_NAME.search(id_) is not None).astype(bool)
    twice = ids.duplicated() & ~empty
    rows = [f"row {place + 1}" for place in ids.index[empty]]
    name = "an id is the name of its image file without the ending, such as ISIC_0000001"
    return ids[~(empty | strange | twice)], _with_names(
        Fault(f"rows without an id in {file}:", f"{name}; add it, or remove the row", rows),
        Fault(f"ids in {file} that are no file names:", name, ids[strange].tolist()),
        Fault(f"duplicate ids in {file}:", "keep one row for each image", ids[twice].tolist()),
    )


def _with_names(*faults: Fault) -> list[Fault]:
    return [fault for fault in faults if fault.names]


def read_labels(file: Path) -> pd.DataFrame:
    """Columns id and label as `inspect_labels` gives them; DataError for anything wrong."""
    labels, faults = inspect_labels(file)
    raise_first(faults)
    return labels


def inspect_metadata(file: Path) -> tuple[pd.DataFrame, list[Fault]]:
    """Columns age (years or NaN) and sex by id, and what is wrong with the ids.

    Impossible ages are unknown. Raises DataError for a file that is no metadata table.
    """
    table = read_csv(file, METADATA_COLUMNS)
    ids, faults = inspect_ids(table, file)
    return _people(table.loc[ids.index].set_index("image_id")), faults


def odd_metadata(file: Path) -> list[Fault]:
    """Cells of a metadata table that are read as unknown, though they do not say "unknown"."""
    table = read_csv(file, METADATA_COLUMNS)
    people, faults = _people(table), []
    for column, known, expected in (
        ("age_approximate", people["age"].notna(), f"years from 0 to {OLDEST}"),
        ("sex", people["sex"] != "unknown", " or ".join(SEXES)),
    ):
        odd = table[~known & ~table[column].str.lower().isin(_UNKNOWN)]
        cells = [f"{id_} ({cell})" for id_, cell in zip(odd["image_id"], odd[column], strict=True)]
        if cells:
            what = f"{column} in {file.name} that is read as unknown, expected {expected}:"
            faults.append(Fault(f"{what} {listed(cells)}", "correct it where it is known"))
    return faults


def _people(table: pd.DataFrame) -> pd.DataFrame:
    age = pd.to_numeric(table["age_approximate"], errors="coerce").astype(float)
    sex = table["sex"].str.lower()
    age, sex = age.where(age.between(0, OLDEST)), sex.where(sex.isin(SEXES), "unknown")
    return pd.DataFrame({"age": age, "sex": sex})
