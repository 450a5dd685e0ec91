"""What was fetched and unpacked: two records in the data folder.

`downloads.json` is {name: {size, sha256, url}} of what was fetched; `unpacked.json` is {folder:
{file: CRC-32}} of what the archives held. The latter outlives the archives, and tells a file that
was damaged since: a decoder notices a missing end, but not a wrong middle.
"""

import json
import re
from pathlib import Path

from utils.system.errors import DataError

RECORD, UNPACKED = "downloads.json", "unpacked.json"


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
