"""The table of answers, photo by photo: complete lines or none, however it ends.

`photos.csv` has a line a photo, and `settings.json` says which runs answered, by the hashes of
their weights. Pictures are in `pictures/`, named after the photo and the hash of its path.
"""

import csv
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from utils.photographs.answers import CAUTION, Answer, Models
from utils.system.errors import RunError, printable
from utils.system.files import FORMULA, write_atomic, write_json, writing

QUALITY = 90  # of JPEG


def require_ours(folder: Path) -> None:
    """RunError where a table would be made among other people's files."""
    if (folder / "settings.json").is_file():
        return
    if strange := sorted(path.name for path in folder.glob("[!.]*")):
        raise RunError(
            f"{folder} holds other files ({strange[0]}); name a new or an empty folder with --out."
        )


class Record:
    """The folder of a table, in which the photos that are asked for (`name_of`) are tried again.

    RunError where it holds that of other runs.
    """

    def __init__(self, folder: Path, models: Models, asked: Collection[str] = ()) -> None:
        self.folder, self.columns = folder, models.columns
        self.table = folder / "photos.csv"
        hashes = {name: _hash(one.run / "best.safetensors") for name, one in models.runs.items()}
        here = {"runs": hashes, "columns": self.columns}
        there = self._settings()
        if there is None:
            write_json(folder / "settings.json", here)
        elif there != here:
            raise RunError(
                f"{folder} holds answers of {', '.join(there['runs'])}, and now it is the turn of "
                f"{', '.join(models.runs)}, or of other weights; name another folder with --out, "
                "or remove that one."
            )
        self.done = self._tidied(asked)

    def _settings(self) -> dict[str, Any] | None:
        """What `settings.json` says; None in a new or empty folder."""
        file = self.folder / "settings.json"
        if file.is_file():
            try:
                found = json.loads(file.read_text(encoding="utf-8"))
                return {"runs": dict(found["runs"]), "columns": list(found["columns"])}
            except (ValueError, LookupError, TypeError) as error:
                raise RunError(
                    f"{file} is damaged ({error}); name another folder with --out, or remove "
                    f"{self.folder}."
                ) from error
        return None

    def _tidied(self, asked: Collection[str]) -> set[str]:
        """The photos that have an answer; faults of those asked for are removed from the table."""
        done = set()

        def write(file: Any) -> None:
            file.write(_line(dict(zip(self.columns, self.columns, strict=True)), self.columns))
            for line in self.lines():
                if not line["error"]:
                    done.add(line["photo"])
                elif line["photo"] in asked:
                    continue
                file.write(_line(line, self.columns))

        write_atomic(self.table, write)
        return done

    def lines(self) -> Iterator[dict[str, str]]:
        """The complete lines of the table, one at a time."""
        if not self.table.is_file():
            return
        with self.table.open(encoding="utf-8", newline="") as file:
            whole = (line for line in file if line.endswith("\n"))
            for line in csv.DictReader(whole):
                if None not in line and None not in line.values():  # no cell too many, or too few
                    yield line

    def add(self, path: Path, answer: Answer | None, error: str = "") -> None:
        """The pictures of a photo, then its line, on the disk at once."""
        pictures = "" if answer is None else picture_name(path)
        if answer:
            for name, picture in answer.pictures.items():
                rgb = picture if picture.ndim == 2 else picture[..., ::-1]
                options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY] if name.endswith(".jpg") else []
                _, content = cv2.imencode(Path(name).suffix, np.ascontiguousarray(rgb), options)
                write_atomic(self.folder / "pictures" / f"{pictures}-{name}", content.tobytes())
        line: dict[str, Any] = {"photo": name_of(path), "pictures": pictures, "error": error}
        line |= {"note": CAUTION} | (answer.line if answer else {})
        with writing(self.table), self.table.open("ab") as file:
            file.write(_line(line, self.columns))
            file.flush()
            os.fsync(file.fileno())


def name_of(path: Path) -> str:
    """How the table names a photo: its full path, on one line, and no formula of a spreadsheet."""
    return printable(str(path.absolute()))


def picture_name(path: Path) -> str:
    """What the names of a photo's pictures begin with: one for each path.

    >>> picture_name(Path("b c.jpg"))[:-8]  # without the hash
    'b_c-'
    """
    mark = hashlib.sha256(name_of(path).encode()).hexdigest()[:8]
    return f"{re.sub(r'[^a-zA-Z0-9_.-]', '_', path.stem)[:60]}-{mark}"


def _line(line: Mapping[str, Any], columns: list[str]) -> bytes:
    """A line of csv; numbers with every digit."""
    cells = [line.get(name, "") for name in columns]
    texts = [f"'{c}" if isinstance(c, str) and c.startswith(FORMULA) else str(c) for c in cells]
    quoted = ['"' + t.replace('"', '""') + '"' if re.search('[",\n\r]', t) else t for t in texts]
    return (",".join(quoted) + "\n").encode()


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
