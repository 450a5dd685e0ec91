"""Room on the disk: required before the work, and a plain error where it runs out all the same."""

import errno
import os
import shutil
from pathlib import Path

from utils.system.console import amount
from utils.system.errors import DataError

# A quota and a limit on file sizes count as a full disk.
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def free_space(folder: Path) -> int:
    """Free bytes on the disk of the folder, which need not exist yet."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def require_room(what: str, folder: Path, needed: int, cure: str) -> None:
    """DataError where fewer than needed bytes are free; cure says what else would help."""
    if (free := free_space(folder)) < needed:
        raise DataError(
            f"{what} would take {amount(needed)} in {folder}, where {amount(free)} are free; "
            f"make room, or {cure}."
        )


def unwritable(error: OSError, folder: Path) -> Exception:
    """DataError where the disk is full or the user may not write there; else the error itself."""
    if error.errno in _FULL | _FORBIDDEN:
        return DataError(cannot_write(error, folder))
    return error


def cannot_write(error: OSError, path: str | Path, size: int | None = None) -> str:
    """The sentence for what could not be written; size is how many bytes a file was to have."""
    cure = "choose another place, or repair this one"
    if error.errno in _FULL:
        needed = "" if size is None else f"{amount(size)} are needed, "
        free = amount(free_space(Path(path).parent))
        cure = f"{needed}{free} are free. Make room, and run it again: finished work is kept"
    elif error.errno in _FORBIDDEN:
        cure = "make its folder writable, or choose another one"
    return f"{path} cannot be written ({error.strerror}); {cure}."


def reserve(file: Path, size: int) -> None:
    """Allocate all bytes of a file now; OSError where the disk is too full.

    Writing to a memory map of a sparse file would kill the process once the disk is full.
    """
    if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, size)
