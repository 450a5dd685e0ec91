"""Errors that speak to the user, and how they list names."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


class DataError(ValueError):
    """Something is wrong with the data on disk; the message says what, where and how to fix it."""


@dataclass(frozen=True)
class Fault:
    """Something wrong with a data folder: what, with which ids or files, and how to fix it."""

    what: str  # the names follow it
    cure: str
    names: list[str] = field(default_factory=list)
    of_files: bool = False  # whether the names are file names

    def __str__(self) -> str:
        return self.about(self.names)

    def about(self, names: Iterable[str]) -> str:
        """The sentence about some of its names."""
        return f"{f'{self.what} {listed(names)}'.rstrip()}; {self.cure}."


def raise_first(faults: Iterable[Fault]) -> None:
    """Raise DataError with the first fault, if there is one."""
    for fault in faults:
        raise DataError(str(fault))


def listed(names: Iterable[object]) -> str:
    """Up to five names and, when there are more, the count.

    >>> print(listed(range(12)))
    0, 1, 2, 3, 4 … (12 in all)
    """
    texts = [printable(str(name)) for name in names]
    shown = ", ".join(texts[:5])
    return shown if len(texts) <= 5 else f"{shown} … ({len(texts)} in all)"


def printable(text: str) -> str:
    r"""The text on one line: what is not printable, or not UTF-8, as \n, \x00 or \udcff."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def unreadable(path: Path, error: OSError) -> Fault:
    """Why the system refuses to open a file or folder."""
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        target = f"{path} is a link to {path.readlink()}, which does not exist"
        return Fault(target, "add what it points to, or remove the link")
    if isinstance(error, PermissionError):
        return Fault(f"{path} may not be read by this user", f"allow it: chmod -R u+rX '{path}'")
    if isinstance(error, NotADirectoryError):
        return Fault(f"{path} is a file, expected a folder", "put the folder in its place")
    reason = error.strerror or type(error).__name__
    return Fault(f"{path} cannot be read ({reason})", "repair it, or replace it by a good copy")


class RunError(ValueError):
    """A run folder does not fit the request; the message names the difference and the cures."""
