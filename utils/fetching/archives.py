"""Judges a zip archive by its directory, before anything is unpacked.

Refused are files that are not complete zip archives, members with an unsafe path, links and special
files, two files with the same name, and sizes that no honest archive of images has.
"""

import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_IFDIR, S_IFMT, S_IFREG

from utils.system.errors import DataError, listed

DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(NotImplementedError, ValueError, OverflowError),
)  # what zipfile raises for malformed bytes
AGAIN = "Remove the archive and download it again."
MOST_FILES = 50_000  # the official archives hold 4002 at most
RATIO = 20  # of unpacked to packed bytes, at most: images are compressed already
_SMALL = 2**20  # bytes beyond the ratio that do no harm
# A name that every file system can hold, and none takes for a way out of the folder or for a
# device: no "..", "C:", "\\", NUL.
_PART = re.compile(
    r"(?!(?i:con|prn|aux|nul|(?:com|lpt)[0-9¹²³]) *(?:[.]|\Z))[.]*\w([\w .()-]{0,198}[\w)-])?"
)
_ENCRYPTED = 0b10_0000_0100_0001  # flag bits 0, 6 and 13: encrypted, strongly, its directory too

Members = dict[str, zipfile.ZipInfo]  # by the name of the unpacked file


class UnpackError(DataError):
    """An archive cannot or must not be unpacked; the message says why, and what to do."""


@contextmanager
def opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, its directory read. Raises UnpackError for an incomplete or invalid zip file."""
    try:
        source = zipfile.ZipFile(archive)
    except (*DAMAGE, OSError) as error:
        raise UnpackError(f"{archive} is not a complete zip archive ({error}). {AGAIN}") from error
    with source:
        yield source


def select(archive: Path, members: list[zipfile.ZipInfo]) -> tuple[Members, int]:
    """The members to unpack by name, and how many are skipped; UnpackError for unsafe ones."""
    files = [member for member in members if not member.is_dir()]
    kept = [member for member in files if not _is_skipped(member)]
    if problem := _problem(members, kept, archive.stat().st_size):
        raise UnpackError(
            f"{archive} was not unpacked: it holds {problem}. The official archives are not like "
            f"that. {AGAIN}"
        )
    return {_parts(member)[-1]: member for member in kept}, len(files) - len(kept)


def _problem(members: list[zipfile.ZipInfo], kept: list[zipfile.ZipInfo], packed: int) -> str:
    """What makes an archive of so many packed bytes unsafe; "" for a safe one."""
    if len(members) > MOST_FILES:
        return f"{len(members)} members; at most {MOST_FILES} are unpacked"
    if faults := [f"{m.orig_filename!r} ({why})" for m in members if (why := _fault(m))]:
        return f"unsafe members: {listed(faults)}"
    if not kept:
        return "no files to unpack; expected images"
    # Names that differ only in case are one file on Windows and macOS.
    counts = Counter(_parts(member)[-1].casefold() for member in kept)
    if repeated := sorted(name for name, count in counts.items() if count > 1):
        return f"several files named {listed(repeated)}; expected one of each name"
    size = sum(member.file_size for member in kept)
    if size > _SMALL + RATIO * packed:
        return f"a bomb ({size} bytes in {packed}; at most {RATIO} to 1 is unpacked)"
    return ""


def _parts(member: zipfile.ZipInfo) -> list[str]:
    # `filename` may differ: cut at a null byte, or taken from an extra field.
    return member.orig_filename.removeprefix("./").removesuffix("/").split("/")


def _fault(member: zipfile.ZipInfo) -> str:
    """Why the member must not be unpacked; "" for a safe one."""
    kind = S_IFMT(member.external_attr >> 16)  # 0 where the archive comes from Windows
    faults = {
        "an unsafe path": not all(_PART.fullmatch(part) for part in _parts(member)),
        "a link or special file": kind not in (0, S_IFDIR if member.is_dir() else S_IFREG),
        "encrypted": member.flag_bits & _ENCRYPTED,
        "before the archive's first byte": member.header_offset < 0,
        f"packed by method {member.compress_type}": member.compress_type
        not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
    }
    return next((why for why, is_so in faults.items() if is_so), "")


def _is_skipped(member: zipfile.ZipInfo) -> bool:
    parts = _parts(member)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return hidden or parts[-1].lower().endswith("_superpixels.png")
