"""Files that are whole or not there: atomic writes, and locks that die with their process."""

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout


def write_atomic(path: Path, write: bytes | str | Callable[[BinaryIO], None]) -> None:
    """Write a temporary sibling, fsync it, then rename: a reader sees the old file or the new one.

    write is the content, or a function that puts it into an open binary file. A text that the file
    holds already is not written again, so that this may be asked of a folder that is read-only.
    """
    if isinstance(write, str):
        write = write.encode()
        if path.is_file() and path.read_bytes() == write:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False
    ) as file:
        temporary = Path(file.name)
        try:
            if callable(write):
                write(file)
            else:
                file.write(write)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):  # closing writes what is left, which a full disk refuses again
                file.close()
            temporary.unlink(missing_ok=True)
            raise
    try:
        # A temporary file is private (0600); the result should be as readable as any other file.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, content: Any) -> None:
    """Write content as strict JSON: NaN becomes null, because JSON knows no NaN."""
    write_atomic(path, json.dumps(_plain(content), indent=2, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def locked(path: Path, busy: str, wait: bool = False) -> Iterator[None]:
    """Hold the lock file at path; the system frees it when the process dies, however it dies.

    Raises BlockingIOError(busy) when another process holds it and wait is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(busy) from None
    try:
        yield
    finally:
        lock.release()
