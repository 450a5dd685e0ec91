"""What tells a right file from a wrong one: its first bytes, its structure, recorded checksums.

Two records lie in the data folder: `downloads.json`, {name: {size, sha256, url}}, of what was
fetched; and `unpacked.json`, {folder: {file: CRC-32}}, of what the archives held. The latter
outlives the archives, and tells a file that was damaged since: a decoder notices a missing end, but
not a wrong middle.
"""

import csv
import json
import re
import zipfile
from pathlib import Path

from utils.system.errors import DataError

HEAD = 64  # bytes that tell an archive or a table from an error page
KINDS = {"zip": "zip archive", "csv": "csv file"}
RECORD, UNPACKED = "downloads.json", "unpacked.json"
_BEGINNINGS = {"zip": rb"PK\x03\x04", "csv": rb'(\xef\xbb\xbf)?"?\w+"?\s*[,;]'}


def read_record(file: Path) -> dict[str, dict]:
    """What was fetched, {name: {size, sha256, url}}. Raises DataError for a damaged file."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        if not all(re.fullmatch("[0-9a-f]{64}", entry["sha256"]) for entry in entries.values()):
            raise ValueError("a sha256 that is not 64 hex digits")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} is not a readable record of checksums ({type(error).__name__}: {error}); "
            'expected JSON such as {"name": {"size": 1, "sha256": "…", "url": "…"}}. Remove it; '
            "the next download writes it again."
        ) from error
    return entries


def unpacked(folder: Path) -> dict[str, dict[str, int]]:
    """CRC-32 of each unpacked file by folder and name; empty without a readable record."""
    try:
        record = json.loads((folder / UNPACKED).read_bytes())
        return {
            home: {name: int(crc) for name, crc in files.items()} for home, files in record.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def begins_as(kind: str, head: bytes) -> bool:
    """Whether a file of the kind ("zip", "csv") may begin so; an HTML page or JSON does not."""
    return re.match(_BEGINNINGS[kind], head) is not None


def fault_of(file: Path, kind: str) -> str:
    """Why the file is incomplete, or not of the kind; "" for a file that looks right.

    A zip has its directory at the end, so a truncated one is always noticed. A csv is noticed when
    its last line has fewer fields than its first one.
    """
    with file.open("rb") as opened:
        if not begins_as(kind, head := opened.read(HEAD)):
            return f"it begins with {head[:40]!r}, not as a {KINDS[kind]} does"
    try:
        if kind == "zip":
            zipfile.ZipFile(file).close()
            return ""
        lines = [line for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
        separator = ";" if ";" in lines[0] else ","
        first, last = (len(next(csv.reader([lines[k]], delimiter=separator))) for k in (0, -1))
    except (zipfile.BadZipFile, csv.Error, ValueError, NotImplementedError) as error:
        return f"it is not a complete {KINDS[kind]} ({error})"
    if first == last:
        return ""
    return f"its last line, {lines[-1][:40]!r}, has {last} fields where the first has {first}"
