"""What a zip archive says of itself, judged before anything of it is unpacked.

Refused are archives that are no whole zip files, members whose path is not a plain one, links and
special files, two files of one name, and sizes that no honest archive of images has.
"""

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_IFDIR, S_IFMT, S_IFREG
from typing import NoReturn

from utils.system.errors import DataError, listed

DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(NotImplementedError, ValueError, OverflowError),
)  # what zipfile raises for bytes that make no sense
AGAIN = "Remove the archive and download it again."
MOST_FILES = 50_000  # the official archives hold 4002 at most
RATIO = 20  # of unpacked to packed bytes, at most: images are compressed already
_SMALL = 2**20  # so many bytes more do no harm
# What every file system holds and none takes for a way out of the folder: no "..", "C:", "\\", NUL.
_PART = re.compile(r"[.]*\w([\w .()-]{0,198}[\w)-])?")
_ENCRYPTED = 0b10_0000_0100_0001  # flag bits 0, 6 and 13: encrypted, strongly, its directory too

Members = dict[str, zipfile.ZipInfo]  # by the name that the file gets in the folder


class UnpackError(DataError):
    """An archive cannot be unpacked, or must not be; the message says why and how to mend it."""


@contextmanager
def opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, its directory read. Raises UnpackError for what is no whole zip file."""
    try:
        source = zipfile.ZipFile(archive)
    except (*DAMAGE, OSError) as error:
        raise UnpackError(f"{archive} is no whole zip archive ({error}). {AGAIN}") from error
    with source:
        yield source


def select(archive: Path, members: list[zipfile.ZipInfo]) -> tuple[Members, int]:
    """The members to unpack by name, and how many are left out; refuses what is unsafe."""
    if len(members) > MOST_FILES:
        _refuse(archive, f"{len(members)} members; at most {MOST_FILES} are unpacked")
    if faults := [f"{m.orig_filename!r} ({why})" for m in members if (why := _fault(m))]:
        _refuse(archive, f"unsafe members: {listed(faults)}")
    files = [member for member in members if not member.is_dir()]
    kept = [member for member in files if not _is_left_out(member)]
    if not kept:
        raise UnpackError(f"{archive} holds no files to unpack; expected images. {AGAIN}")
    # Names that differ only in case are one file on Windows and macOS.
    alike = [_parts(member)[-1].casefold() for member in kept]
    if len(set(alike)) < len(alike):
        twice = sorted({name for name in alike if alike.count(name) > 1})
        _refuse(archive, f"several files named {listed(twice)}; expected one of each name")
    size, packed = sum(member.file_size for member in kept), archive.stat().st_size
    if size > _SMALL + RATIO * packed:
        _refuse(archive, f"a bomb ({size} bytes in {packed}; at most {RATIO} to 1 is unpacked)")
    return {_parts(member)[-1]: member for member in kept}, len(files) - len(kept)


def _refuse(archive: Path, why: str) -> NoReturn:
    raise UnpackError(
        f"{archive} was not unpacked: it holds {why}. The official archives are not like that. "
        f"{AGAIN}"
    )


def _parts(member: zipfile.ZipInfo) -> list[str]:
    # `filename` may be another one: cut at a null byte, or taken from an extra field.
    return member.orig_filename.removeprefix("./").removesuffix("/").split("/")


def _fault(member: zipfile.ZipInfo) -> str:
    """Why the member must not be unpacked; "" where nothing speaks against it."""
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


def _is_left_out(member: zipfile.ZipInfo) -> bool:
    parts = _parts(member)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return hidden or parts[-1].lower().endswith("_superpixels.png")
