"""The note of what archives held, `unpacked.json`: {folder: {file: CRC-32}}.

It outlives the archives, and tells a file that was damaged since from the one that was published:
a decoder notices a missing end, but not a wrong middle.
"""

import json
from pathlib import Path

UNPACKED = "unpacked.json"


def unpacked(folder: Path) -> dict[str, dict[str, int]]:
    """CRC-32 of each file by folder and name; empty where nothing readable says it."""
    try:
        note = json.loads((folder / UNPACKED).read_bytes())
        return {
            home: {name: int(crc) for name, crc in files.items()} for home, files in note.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
