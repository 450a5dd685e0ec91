"""Files that are complete or absent: atomic writes, and locks that die with their process."""

import errno
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from utils.system.disk import cannot_write

if TYPE_CHECKING:
    import pandas as pd

FORMULA = tuple("=+-@\t\r")  # what a spreadsheet takes for the start of one


class UnwritableError(OSError):
    """What could not be written, why, and the cure; errno and strerror are the system's."""

    size: int | None = None  # bytes to be written

    def __str__(self) -> str:
        return cannot_write(self, self.filename, self.size)


@contextmanager
def writing(path: Path, size: int | None = None) -> Iterator[None]:
    """Turn an error of the system into an UnwritableError; path is being written, with size bytes.

    Errors without an errno (`OSError("…")`) stay as they are.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, UnwritableError) or error.errno is None:
            raise
        refused = UnwritableError(error.errno, error.strerror, str(path))
        refused.size = size
        raise refused from error


def place_of(path: Path) -> Path:
    """The regular file, existing or not, behind a path that may be a link.

    UnwritableError where the path is a folder, a device, a pipe, or a loop of links.
    """
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    if place.is_symlink():
        raise UnwritableError(errno.ELOOP, "links that point to each other", str(path))
    if place.exists() and not place.is_file():
        kind = "a folder" if place.is_dir() else "a device or a pipe"
        raise UnwritableError(errno.EEXIST, f"it is {kind}, no regular file", str(path))
    return place


def require_writable(path: Path) -> None:
    """UnwritableError where `write_atomic(path, …)` would fail; called before long work."""
    place = place_of(path)
    with writing(path):
        place.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=place.parent).close()


def write_atomic(path: Path, write: bytes | memoryview | str | Callable[[IO[bytes]], None]) -> None:
    """Write a temporary sibling, fsync it, then rename: a reader sees the old file or the new one.

    write is the content, or a function that writes it into an open binary file. A text that the
    file already holds is not written again, so this works in a read-only folder. Raises
    UnwritableError where the system refuses, or path is no regular file.
    """
    path = place_of(path)
    if isinstance(write, str):
        write = write.encode()
        if path.is_file() and path.read_bytes() == write:
            return
    with writing(path, None if callable(write) else len(write)):
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(number, "wb") as file:
                if callable(write):
                    write(file)
                else:
                    file.write(write)
                file.flush()
                os.fsync(number)
            # A temporary file is private (0600); the result is as readable as any other file.
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a csv table for spreadsheets, in which no text is a formula.

    Text that starts like one, as a run's name may, gets an apostrophe (OWASP, "CSV Injection").
    """

    def text(cell: Any) -> Any:
        return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell

    safe = table.rename(columns=text)
    for name in safe.select_dtypes(["object", "string"]):
        safe[name] = safe[name].map(text)
    write_atomic(path, safe.to_csv(index=False, lineterminator="\n"))


def read_table(path: Path, **options: Any) -> "pd.DataFrame":
    """A csv table of images: each id as it is written, be it "NA" or "007"; an empty cell is NaN.

    options are those of `pandas.read_csv`, which raises OSError or ValueError for other files.
    """
    import pandas as pd  # slow, and --help needs none

    # Converters do not keep "NA": pandas infers missing values in what they return.
    known: dict[str, Any] = {"dtype": {"id": str}, "keep_default_na": False, "na_values": [""]}
    return pd.read_csv(path, **known | options)


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

    Raises BlockingIOError(busy) when another process holds it and wait is False; UnwritableError
    where the file cannot be made.
    """
    with writing(path):  # FileLock would mistake some refusals for a held lock
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(busy) from None
    try:
        yield
    finally:
        lock.release()
