"""Unpacks archives, nowhere but into their folder, and nothing but images, masks and tables.

An archive's directory is judged before anything is written and not trusted afterwards: the size and
CRC of every file are checked while it is written. A new folder is filled as `.<folder>.partial` and
renamed at the end, so that none is half full; after a kill at any moment the next call keeps the
complete files and continues.
"""

import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from utils.system.console import progress
from utils.system.disk import require_room
from utils.system.errors import DataError, listed
from utils.system.files import write_atomic, writing

DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(RuntimeError, ValueError, OverflowError),
)  # what zipfile raises for malformed and for encrypted bytes
AGAIN = "Remove the archive and download it again."
CHUNK = 2**20  # bytes held in memory at once
RATIO = 20  # of unpacked to packed bytes, at most: images are compressed already
_SMALL = 2**20  # bytes beyond the ratio that do no harm
# Folders, which are left out, and a name such as ISIC_0000000.jpg: every file system can hold it,
# and none takes it for a way out of the folder or for a device.
_MEMBER = re.compile(
    r"(?:\./)?(?:[\w -]+/)*([A-Za-z0-9]+[_-][A-Za-z0-9_-]{1,99}\.(?:jpe?g|png|csv))"
)
_SKIPPED = re.compile(r"(?:.*/)?(?:__MACOSX/.*|\.[^./].*|.*_superpixels\.png)", re.IGNORECASE)
# Others, such as LZMA, are not read piece by piece: a small file may fill the memory.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class UnpackError(DataError):
    """An archive cannot or must not be unpacked; the message says why, and what to do."""


class Unpacked(NamedTuple):
    """CRC-32 of the archive's files by name, and how many files were skipped on purpose."""

    files: dict[str, int]
    skipped: int


def unpack(archive: Path, folder: Path) -> Unpacked:
    """Unpack the archive's files into folder, without the folders they have in the archive.

    Superpixel images, `__MACOSX` and dot files are skipped. Files that folder already holds are
    compared and kept. Raises UnpackError, before anything is written, for an incomplete or unsafe
    archive and for files of folder with other content; later for damaged members. DataError for too
    little disk space, UnwritableError where files cannot be written.
    """
    folder = folder.resolve()  # a link to another disk stays one
    with _opened(archive) as source:
        files = [member for member in source.infolist() if not member.is_dir()]
        wanted = [member for member in files if not _SKIPPED.fullmatch(member.orig_filename)]
        members = _judged(archive, wanted)
        lacking = _lacking(archive, members, folder)
        partial = folder.with_name(f".{folder.name}.partial")
        with suppress(OSError):
            folder.rmdir()  # only if it is empty
        place = folder if folder.is_dir() else partial
        todo = [name for name, member in lacking.items() if not _matches(place / name, member)]
        needed = sum(lacking[name].file_size for name in todo)
        require_room(f"unpacking {archive.name}", folder, needed, "choose another --data-dir")
        for name in progress(todo, f"unpacking {archive.name}", "files"):
            _extract(archive, source, lacking[name], place / name)
    with writing(folder):
        if place == partial:
            for left in {path.name for path in partial.iterdir()} - lacking.keys():
                (partial / left).unlink()  # by a call that was killed, for another archive
            partial.rename(folder)
        shutil.rmtree(partial, ignore_errors=True)
    return Unpacked({name: members[name].CRC for name in sorted(members)}, len(files) - len(wanted))


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, its directory read. Raises UnpackError for an incomplete or invalid zip file."""
    try:
        source = zipfile.ZipFile(archive)
    except (*DAMAGE, OSError) as error:
        raise UnpackError(f"{archive} is not a complete zip archive ({error}). {AGAIN}") from error
    with source:
        yield source


def _judged(archive: Path, wanted: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The members by the name of the unpacked file. Raises UnpackError for an unsafe archive."""
    # `filename` may differ: cut at a null byte, or taken from an extra field.
    matches = [(member, _MEMBER.fullmatch(member.orig_filename)) for member in wanted]
    members = {match[1]: member for member, match in matches if match}
    size, packed = sum(member.file_size for member in wanted), archive.stat().st_size
    problem = ""
    if strange := [m.orig_filename for m, match in matches if not match or m.header_offset < 0]:
        problem = f"unexpected files: {listed(map(repr, strange))}"
    elif not wanted:
        problem = "no files to unpack; expected images"
    # Names that differ only in case are one file on Windows and macOS.
    elif len({name.lower() for name in members}) < len(wanted):
        problem = "several files of one name; expected one of each name"
    elif size > _SMALL + RATIO * packed:
        problem = f"a bomb ({size} bytes in {packed}; at most {RATIO} to 1 is unpacked)"
    elif other := {member.compress_type for member in wanted} - {*_METHODS}:
        problem = f"files packed by method {listed(sorted(other))}; expected {listed(_METHODS)}"
    if problem:
        raise UnpackError(
            f"{archive} was not unpacked: it holds {problem}. The official archives are not like "
            f"that. {AGAIN}"
        )
    return members


def _lacking(
    archive: Path, members: dict[str, zipfile.ZipInfo], folder: Path
) -> dict[str, zipfile.ZipInfo]:
    """The members that folder lacks. Raises UnpackError for those it holds with other content."""
    if folder.exists() and not folder.is_dir():
        raise UnpackError(f"{folder} is a file; expected a folder, or nothing. Move it away.")
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    compared = progress([*(members.keys() & held)], f"comparing {folder.name}", "files")
    if others := sorted(name for name in compared if not _matches(folder / name, members[name])):
        raise UnpackError(
            f"files of {folder} differ from those of {archive.name}: {listed(others)}. "
            f"Move them away to use those of the archive, or move {archive.name} away."
        )
    return {name: member for name, member in members.items() if name not in held}


def _matches(path: Path, member: zipfile.ZipInfo) -> bool:
    """Whether the file has the size and CRC that the archive's directory gives the member."""
    if not path.is_file() or path.stat().st_size != member.file_size:
        return False
    return zlib.crc32(path.read_bytes()) == member.CRC  # of a size that `_judged` has limited


def _extract(archive: Path, source: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Write one member to path, completely or not at all."""

    def copy(file: IO[bytes]) -> None:
        with source.open(member) as packed:  # its last read compares the CRC
            while chunk := packed.read(CHUNK):
                file.write(chunk)
        if file.tell() != member.file_size:
            raise zipfile.BadZipFile(f"{file.tell()} bytes, but {member.file_size} are declared")

    try:
        write_atomic(path, copy)
    except DAMAGE as error:
        raise UnpackError(
            f"{member.filename} in {archive} is damaged ({error}). {AGAIN} The files unpacked so "
            "far are kept."
        ) from error
