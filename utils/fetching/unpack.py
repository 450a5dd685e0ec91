"""Unpacks archives completely or not at all, and nowhere but into their folder.

An archive's directory is judged before anything is written (`archives`) and not trusted afterwards:
the size and CRC of every file are checked while it is written. Files are unpacked into
`.<folder>.partial` beside the folder, which is renamed at the end; after a kill at any moment the
next call keeps the complete files and continues.
"""

import shutil
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from utils.fetching.archives import AGAIN, DAMAGE, Members, UnpackError, opened, select
from utils.system.console import progress
from utils.system.disk import require_room
from utils.system.errors import listed
from utils.system.files import write_atomic, writing

CHUNK = 2**20  # bytes held in memory at once


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
            f"Move them away to use those of the archive, or move {archive.name} away."
        )
    return {name: info for name, info in wanted.items() if name not in held}


def _matches(path: Path, member: zipfile.ZipInfo) -> bool:
    """Whether the file has the size and CRC that the archive's directory gives the member."""
    if not path.is_file() or path.stat().st_size != member.file_size:
        return False
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc == member.CRC


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


def _take_place(partial: Path, folder: Path, lacking: Members) -> None:
    """Move the unpacked files to their place: in one step, unless folder already holds files."""
    if not lacking:
        shutil.rmtree(partial, ignore_errors=True)
        return
    for path in partial.iterdir():  # left by an interrupted call
        if path.name not in lacking:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    with suppress(OSError):
        folder.rmdir()  # only if it is empty
    if not folder.exists():
        partial.rename(folder)
        return
    for name in lacking:
        (partial / name).rename(folder / name)
    partial.rmdir()
