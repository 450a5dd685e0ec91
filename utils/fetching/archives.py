"""What a zip archive says of itself, judged before anything of it is unpacked.

Refused are archives that are no zip files or cut off, members that would leave their folder or are
no plain files, names that some system cannot hold or takes for another, and sizes that no honest
archive of images has.
"""

import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path
from stat import S_IFDIR, S_IFMT, S_IFREG
from typing import NoReturn

from utils.system.errors import DataError, listed

DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(NotImplementedError, ValueError, OverflowError),
)  # what zipfile raises for bytes that make no sense
AGAIN = "Remove the archive and download it again."
_SMALL = 2**20  # below so many bytes, a file that shrinks a thousandfold does no harm
_LONGEST = 200  # bytes of a name; file systems take 255, and a temporary name is longer
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode: control, format, surrogate, line, paragraph
_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*[. ]", re.IGNORECASE)
_END = struct.Struct("<4s6xH10x")  # the last record: its mark, and the number of members
_IN_ZIP64 = 0xFFFF  # this number stands in another record, made for many or long members
_ENCRYPTED = 0b10_0000_0100_0001  # flag bits 0, 6 and 13: encrypted, strongly, its directory too

Members = dict[str, zipfile.ZipInfo]  # by the name that the file gets in the folder


class UnpackError(DataError):
    """An archive cannot be unpacked, or must not be; the message says why and how to mend it."""


@dataclass(frozen=True)
class Limits:
    """What an archive may declare at most; the official ones stay far below."""

    files: int = 50_000
    file_bytes: int = 2**29
    total_bytes: int = 2**36
    ratio: float = 200.0  # of unpacked to packed bytes


@contextmanager
def opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, its directory read. Raises UnpackError for what is no whole zip file.

    The errors of the work within pass through.
    """
    try:
        source = zipfile.ZipFile(archive)
    except FileNotFoundError:
        raise UnpackError(f"{archive} is not there; download it first.") from None
    except (*DAMAGE, OSError) as error:
        raise UnpackError(f"{archive} {_found(archive, error)}. {AGAIN}") from error
    with source:
        if not _is_consistent(archive, source):
            raise UnpackError(f"{archive} has a damaged directory at its end. {AGAIN}")
        yield source


def _found(archive: Path, error: Exception) -> str:
    """What there is instead of a whole zip archive."""
    try:
        with archive.open("rb") as file:
            start = file.read(16)
    except OSError as refusal:
        return f"cannot be read ({refusal}); expected a zip archive"
    if start.startswith(b"PK\x03\x04"):
        size = archive.stat().st_size
        return f"begins as a zip archive, but after {size} bytes its end is missing ({error})"
    return f"is no zip archive: {f'it begins with {start!r}' if start else 'it is empty'}"


def _is_consistent(archive: Path, source: zipfile.ZipFile) -> bool:
    """Whether the end of the archive counts as many members as its directory lists.

    zipfile does not compare them: a directory cut short would pass for a smaller archive.
    """
    members = source.infolist()
    with archive.open("rb") as file:
        file.seek(-_END.size - len(source.comment), SEEK_END)
        mark, count = _END.unpack(file.read(_END.size))
    counted = mark == b"PK\x05\x06" and count in (len(members), _IN_ZIP64)
    return counted and all(member.header_offset >= 0 for member in members)


def select(archive: Path, members: list[zipfile.ZipInfo], limits: Limits) -> tuple[Members, int]:
    """The members to unpack by name, and how many are left out; refuses what is unsafe."""
    if len(members) > limits.files:
        _refuse(archive, f"{len(members)} members; at most {limits.files} are unpacked")
    if faults := [f"{m.orig_filename!r} ({why})" for m in members if (why := _fault(m))]:
        _refuse(archive, f"unsafe members: {listed(faults)}")
    files = [member for member in members if not member.is_dir()]
    kept = [member for member in files if not _left_out(member)]
    if not kept:
        raise UnpackError(f"{archive} holds no files to unpack; expected images. {AGAIN}")
    wanted: Members = {}
    seen: set[str] = set()
    for member in kept:
        name = _parts(member)[-1]
        # Names that differ only so are one file on Windows and macOS.
        alike = unicodedata.normalize("NFC", name).casefold()
        if alike in seen:
            _refuse(archive, f"two files named {name}; expected one of each name")
        seen.add(alike)
        wanted[name] = member
    _check_sizes(archive, kept, limits)
    return wanted, len(files) - len(kept)


def _refuse(archive: Path, why: str) -> NoReturn:
    raise UnpackError(
        f"{archive} was not unpacked: it holds {why}. The official archives are not like that. "
        f"{AGAIN}"
    )


def _parts(member: zipfile.ZipInfo) -> list[str]:
    # `filename` may be another one: cut at a null byte, or taken from an extra field.
    return [part for part in member.orig_filename.rstrip("/").split("/") if part != "."]


def _fault(member: zipfile.ZipInfo) -> str:
    """Why the member must not be unpacked; "" where nothing speaks against it."""
    name, parts = member.orig_filename, _parts(member)
    kind = S_IFMT(member.external_attr >> 16)  # 0 where the archive comes from Windows
    faults = {
        "an absolute path": name.startswith("/") or re.match("[A-Za-z]:", name),
        "a backslash in its path": "\\" in name,
        "a path out of the folder": ".." in parts,
        "an empty name": not parts or not all(parts),
        "unseen characters in its name": any(unicodedata.category(c) in _UNSEEN for c in name),
        "too long a name": any(len(part.encode()) > _LONGEST for part in parts),
        "a name that Windows cannot hold": any(
            _WINDOWS.fullmatch(part) or set(part) & set('<>:"|?*') for part in parts
        ),
        "a link or special file": kind not in (0, S_IFDIR if member.is_dir() else S_IFREG),
        "encrypted": member.flag_bits & _ENCRYPTED,
    }
    return next((why for why, found in faults.items() if found), "")


def _left_out(member: zipfile.ZipInfo) -> bool:
    parts = _parts(member)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return hidden or parts[-1].lower().endswith("_superpixels.png")


def _check_sizes(archive: Path, members: list[zipfile.ZipInfo], limits: Limits) -> None:
    for member in members:
        if member.file_size > limits.file_bytes:
            said = f"{member.file_size} bytes; at most {limits.file_bytes} are unpacked"
            _refuse(archive, f"{member.filename} of {said}")
        _check_ratio(archive, member.filename, member.file_size, member.compress_size, limits)
    packed, size = archive.stat().st_size, sum(member.file_size for member in members)
    if size > limits.total_bytes:
        _refuse(archive, f"{size} bytes in all; at most {limits.total_bytes} are unpacked")
    if sum(member.compress_size for member in members) > packed:
        _refuse(archive, f"members that overlap: together they are longer than its {packed} bytes")
    _check_ratio(archive, "all files", size, packed, limits)


def _check_ratio(archive: Path, what: str, size: int, packed: int, limits: Limits) -> None:
    if size > max(_SMALL, limits.ratio * packed):
        said = f"{size} bytes packed into {packed}; at most {limits.ratio:g} to 1 is unpacked"
        _refuse(archive, f"a bomb ({what}: {said})")
