"""Archives, unpacked all or not at all, and nowhere but in their folder.

What an archive says of itself is judged before anything is written (`archives`) and not believed
afterwards: every byte is counted and checked (size, CRC) on its way to the disk. The work goes on
in `.<folder>.partial` beside the folder, which takes the folder's name at the end; killed at any
moment, the next call keeps what is whole and goes on.
"""

import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from utils.fetching.archives import AGAIN, DAMAGE, Limits, Members, UnpackError, opened, select
from utils.system.console import progress
from utils.system.disk import require_room
from utils.system.errors import listed
from utils.system.files import locked, write_atomic

CHUNK = 2**20  # bytes that are held in memory at once
OFFICIAL = Limits()
_READ = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class Unpacked:
    """How many files of the archive are in the folder, and how many were left out on purpose."""

    files: int
    skipped: int


def unpack(archive: Path, folder: Path, limits: Limits = OFFICIAL) -> Unpacked:
    """Put the archive's files into folder, without the folders they have in the archive.

    Superpixel images, `__MACOSX` and dot files are left out. Files that folder holds already are
    compared and kept. A second process that unpacks into the same folder waits for the first.
    Raises UnpackError, before anything is written, for an archive that is no whole zip file, that
    holds unsafe members or more than limits allow, and for files of folder with other content;
    while it works, for damaged members and a disk that refuses. DataError for too full a disk.
    """
    folder = folder.resolve()  # a link to another disk stays one
    lock, partial = (folder.with_name(f".{folder.name}.{end}") for end in ("lock", "partial"))
    with opened(archive) as source, _said(folder):
        wanted, skipped = select(archive, source.infolist(), limits)
        with locked(lock, f"{folder} is being unpacked", wait=True):
            lacking = _lacking(archive, wanted, folder)
            todo = _clean_up(partial, lacking)
            _check_ways(archive, folder, todo)
            needed = sum(member.file_size for member in todo.values())
            require_room(f"unpacking {archive.name}", folder, needed, "choose another --data-dir")
            for name in progress(todo, f"unpacking {archive.name}", "files"):
                _extract(archive, source, todo[name], partial / name)
            _take_place(partial, folder, lacking)
    return Unpacked(len(wanted), skipped)


def is_unpacked(archive: Path, folder: Path) -> bool:
    """Whether folder holds every wanted file of the archive, at the right size.

    Raises UnpackError for an archive that `unpack` would refuse by its directory.
    """
    with opened(archive) as source:
        wanted, _ = select(archive, source.infolist(), OFFICIAL)
    return all(_has_size(folder / name, info) for name, info in wanted.items())


@contextmanager
def _said(folder: Path) -> Iterator[None]:
    """Put what the system refuses (a full disk, a read-only folder) into words."""
    try:
        yield
    except OSError as error:
        raise UnpackError(
            f"unpacking into {folder} failed: {error.strerror or error}. Make room, allow writing "
            "there, or choose another --data-dir; the same command goes on where it stopped."
        ) from error


def _lacking(archive: Path, wanted: Members, folder: Path) -> Members:
    """The members that folder lacks. Raises UnpackError for those it holds with other content."""
    if not folder.is_dir() and (folder.exists() or folder.is_symlink()):
        raise UnpackError(f"{folder} is a file; expected a folder, or nothing. Move it away.")
    known = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    present = [name for name in wanted if name in known]
    checked = progress(present, f"comparing {folder.name}", "files")
    if others := [name for name in checked if not _matches(folder / name, wanted[name])]:
        raise UnpackError(
            f"files of {folder} differ from those of {archive.name}: {listed(others)}. "
            f"Move them away to have those of the archive, or move {archive.name} away."
        )
    return {name: info for name, info in wanted.items() if name not in known}


def _has_size(path: Path, member: zipfile.ZipInfo) -> bool:
    return path.is_file() and path.stat().st_size == member.file_size


def _matches(path: Path, member: zipfile.ZipInfo) -> bool:
    """Whether the file is what the archive's directory says of the member: size and CRC."""
    if not _has_size(path, member):
        return False
    check = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            check = zlib.crc32(chunk, check)
    return check == member.CRC


def _clean_up(partial: Path, lacking: Members) -> Members:
    """Remove from partial what is not whole or not asked for; what is then still to do."""
    if not partial.is_dir() or partial.is_symlink():
        partial.unlink(missing_ok=True)
        return lacking
    kept = set()
    for path in partial.iterdir():
        if path.name in lacking and _matches(path, lacking[path.name]):
            kept.add(path.name)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return {name: info for name, info in lacking.items() if name not in kept}


def _check_ways(archive: Path, folder: Path, todo: Members) -> None:
    if strange := [name for name, info in todo.items() if info.compress_type not in _READ]:
        raise UnpackError(
            f"{archive} is packed in a way that python's zipfile does not read (method "
            f"{todo[strange[0]].compress_type}): {listed(strange)}. Unpack it with another "
            f"tool (7-Zip, unzip) so that the files lie in {folder}."
        )


def _extract(archive: Path, source: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Write one member to path, whole or not at all."""

    def copy(file: BinaryIO) -> None:
        size = 0
        with source.open(member) as packed:  # its last read compares the CRC
            while chunk := packed.read(CHUNK):
                size += len(chunk)
                file.write(chunk)
        if size != member.file_size:
            raise zipfile.BadZipFile(f"{size} bytes where {member.file_size} are declared")

    try:
        write_atomic(path, copy)
    except DAMAGE as error:
        raise UnpackError(
            f"{member.filename} in {archive} is damaged ({error}). {AGAIN} What is unpacked "
            "already is kept."
        ) from error


def _take_place(partial: Path, folder: Path, lacking: Members) -> None:
    """Bring what is unpacked to its place; at once, unless folder holds files already."""
    if not lacking:
        shutil.rmtree(partial, ignore_errors=True)
        return
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    if not folder.exists():
        partial.rename(folder)
        return
    for name in lacking:
        (partial / name).rename(folder / name)
    partial.rmdir()
