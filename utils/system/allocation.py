"""Freed memory stays with a process that will want it again at once.

glibc's malloc gives every array of more than 32 MB (at first: 128 kB) back to the system when it is
freed, and the system clears each page before it hands it out again. A training step on a CPU frees
and takes some gigabytes, and spent up to a third of its time on that.
"""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt, and their values outside: https://man7.org/linux/man-pages/man3/mallopt.3.html
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_OUTSIDE = {_TRIM_THRESHOLD: 64 * 2**20, _MMAP_MAX: 65_536}
_INSIDE = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}

_lock = threading.Lock()
_depth = 0


@contextmanager
def memory_kept() -> Iterator[None]:
    """Inside, the process keeps what it frees; at the end of the outermost it is given back.

    Does nothing where the C library is not glibc.
    """
    global _depth
    glibc = _glibc()
    with _lock:
        if glibc and not _depth:
            _set(glibc, _INSIDE)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if glibc and not _depth:
                _set(glibc, _OUTSIDE)
                glibc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def _set(glibc: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        glibc.mallopt(parameter, value)
