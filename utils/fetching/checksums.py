"""How a fetched file is known to be the right one: its first bytes, its structure, its SHA-256."""

import csv
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from utils.system.errors import DataError

HEAD = 64  # bytes that tell an archive or a table from an error page
KINDS = {"zip": "zip archive", "csv": "csv file"}
_BEGINNINGS = {"zip": rb"PK\x03\x04", "csv": rb'(\xef\xbb\xbf)?"?\w+"?\s*[,;]'}


@dataclass(frozen=True)
class Fetched:
    """A finished file: what it is, and where it comes from."""

    path: Path
    size: int
    sha256: str
    url: str


def read_record(file: Path) -> dict[str, dict]:
    """What was fetched, {name: {size, sha256, url}}. Raises DataError for a damaged file."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        right = all(re.fullmatch("[0-9a-f]{64}", e["sha256"]) for e in entries.values())
        problem = "" if right else "a sha256 that is not 64 hex digits"
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise DataError(
            f"{file} is no readable record of checksums ({problem}); expected JSON such as "
            '{"name": {"size": 1, "sha256": "…", "url": "…"}}. Remove it: it is written anew from '
            "the files that are here."
        )
    return entries


def begins_as(kind: str, head: bytes) -> bool:
    """Whether a file of the kind ("zip", "csv") may begin so; an HTML page or JSON does not."""
    return re.match(_BEGINNINGS[kind], head) is not None


def fault_of(file: Path, kind: str) -> str:
    """What shows that the file is not whole, or not of the kind; "" for a file without such signs.

    A zip has its directory at the end, so a shorter one is always noticed. A csv is noticed when
    its last line has fewer fields than its first one.
    """
    with file.open("rb") as opened:
        if not begins_as(kind, head := opened.read(HEAD)):
            return f"it begins with {head[:40]!r}, not as a {KINDS[kind]} does"
    return _zip_fault(file) if kind == "zip" else _csv_fault(file)


def _zip_fault(file: Path) -> str:
    try:
        with zipfile.ZipFile(file):
            return ""
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        return f"it is no whole zip archive ({error})"


def _csv_fault(file: Path) -> str:
    try:
        lines = [line for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
        separator = ";" if ";" in lines[0] else ","
        first, last = (len(next(csv.reader([lines[k]], delimiter=separator))) for k in (0, -1))
    except (ValueError, csv.Error) as error:
        return f"it is no csv file in UTF-8 ({error})"
    if first == last:
        return ""
    return f"its last line, {lines[-1][:40]!r}, has {last} fields where the first has {first}"
