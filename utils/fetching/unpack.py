"""Archives, unpacked all or not at all, and nowhere but in their folder.

What an archive says of itself is judged before anything is written (`archives`) and not believed
afterwards: every byte is counted and checked (size, CRC) on its way to the disk. The work goes on
in `.<folder>.partial` beside the folder, which takes the folder's name at the end; killed at any
moment, the next call keeps what is whole and goes on.
"""

import shutil
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from utils.fetching.archives import AGAIN, DAMAGE, Members, UnpackError, opened, select
from utils.system.console import progress
from utils.system.disk import require_room
from utils.system.errors import listed
from utils.system.files import write_atomic, writing

CHUNK = 2**20  # bytes that are held in memory at once


@dataclass(frozen=True)
class Unpacked:
    """CRC-32 of the archive's files in the folder, and how many were left out on purpose."""

    files: dict[str, int]
    skipped: int


def unpack(archive: Path, folder: Path) -> Unpacked:
    """Put the archive's files into folder, without the folders they have in the archive.

    Superpixel images, `__MACOSX` and dot files are left out. Files that folder holds already are
    compared and kept. Raises UnpackError, before anything is written, for an archive that is no
    whole zip file or holds unsafe members, and for files of folder with other content; while it
    works, for damaged members. DataError for too full a disk, UnwritableError for one that refuses.
    """
    folder = folder.resolve()  # a link to another disk stays one
    partial = folder.with_name(f".{folder.name}.partial")
    if partial.is_symlink():
        partial.unlink()
    with opened(archive) as source:
        wanted, skipped = select(archive, source.infolist())
        lacking = _lacking(archive, wanted, folder)
        todo = [name for name, info in lacking.items() if not _matches(partial / name, info)]
        needed = sum(lacking[name].file_size for name in todo)
        require_room(f"unpacking {archive.name}", folder, needed, "choose another --data-dir")
        for name in progress(todo, f"unpacking {archive.name}", "files"):
            _extract(archive, source, lacking[name], partial / name)
    with writing(folder):
        _take_place(partial, folder, lacking)
    return Unpacked({name: wanted[name].CRC for name in sorted(wanted)}, skipped)


def _lacking(archive: Path, wanted: Members, folder: Path) -> Members:
    """The members that folder lacks. Raises UnpackError for those it holds with other content."""
    if not folder.is_dir() and (folder.exists() or folder.is_symlink()):
        raise UnpackError(f"{folder} is a file; expected a folder, or nothing. Move it away.")
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    compared = progress([*(wanted.keys() & held)], f"comparing {folder.name}", "files")
    if others := sorted(name for name in compared if not _matches(folder / name, wanted[name])):
        raise UnpackError(
            f"files of {folder} differ from those of {archive.name}: {listed(others)}. "
            f"Move them away to have those of the archive, or move {archive.name} away."
        )
    return {name: info for name, info in wanted.items() if name not in held}


def _matches(path: Path, member: zipfile.ZipInfo) -> bool:
    """Whether the file is what the archive's directory says of the member: size and CRC."""
    if not path.is_file() or path.stat().st_size != member.file_size:
        return False
    check = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            check = zlib.crc32(chunk, check)
    return check == member.CRC


def _extract(archive: Path, source: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Write one member to path, whole or not at all."""

    def copy(file: IO[bytes]) -> None:
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
    for path in partial.iterdir():  # what an interrupted call has left
        if path.name not in lacking:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    with suppress(OSError):
        folder.rmdir()  # an empty one makes way
    if not folder.exists():
        partial.rename(folder)
        return
    for name in lacking:
        (partial / name).rename(folder / name)
    partial.rmdir()
