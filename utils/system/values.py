"""What a parameter may be that is no field of a row: folders, files, switches.

Papermill makes a number of a name of digits (`-p data_dir 2017`), which is meant; a shell makes ""
of a variable that is not set, which is not.
"""

import math
import reprlib
from pathlib import Path
from stat import S_ISDIR
from typing import Any

RESUME = ("auto", "restart")


class ValueRefusedError(ValueError):
    """A parameter or an option that is of no use; the message says what it may be."""


def folder(name: str, value: Any, usual: Path | None = None) -> Path:
    """The folder that parameter `name` means, there or not; where there is a usual one, for None.

    "~" is the user's home. Raises ValueRefusedError for a file, the root, and for what can be no
    path.
    """
    if value is None and usual is not None:
        return usual
    named = path(name, value, "folder").resolve()
    if named == named.parent:
        raise ValueRefusedError(f"{name} is {str(value)!r}; expected a folder that has a name.")
    return named


def file(name: str, value: Any) -> Path:
    """The file that parameter `name` means, there or not; as `folder`."""
    return path(name, value, "file")


def path(name: str, value: Any, kind: str = "file or folder") -> Path:
    """The path that parameter `name` means, there or not; as `folder`."""
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str | Path) or not str(value).strip():
        raise ValueRefusedError(f"{name} is {value!r}; expected the path of a {kind}.")
    try:
        named = Path(value).expanduser()
        found = "folder" if S_ISDIR(named.stat().st_mode) else "file"
    except (FileNotFoundError, PermissionError):
        found = kind  # it may come to be; who may look into it is not asked here
    except (OSError, RuntimeError, ValueError) as error:  # too long, a loop; no such user; "\0"
        reason = getattr(error, "strerror", None) or error
        raise ValueRefusedError(
            f"{name} is {_short(value)}, which can be no path ({reason}); name another {kind}."
        ) from error
    if found not in kind:
        raise ValueRefusedError(
            f"{name} is {_short(value)}, which is a {found}; name another path, that of a {kind}."
        )
    return named


def _short(value: str | Path) -> str:
    """As Python writes it, without the middle of what is longer than a line."""
    shortened = reprlib.Repr()
    shortened.maxstring = 100
    return shortened.repr(str(value))


def check(resume: Any = "auto", save_masks: Any = False, message: Any = None) -> None:
    """Raises ValueRefusedError for what a notebook's parameter of this name cannot be."""
    if not isinstance(resume, str) or resume not in RESUME:
        raise ValueRefusedError(f"resume is {resume!r}; expected one of {', '.join(RESUME)}.")
    if not isinstance(save_masks, bool):
        raise ValueRefusedError(f"save_masks is {save_masks!r}; expected True or False.")
    number = isinstance(message, int) or (isinstance(message, float) and math.isfinite(message))
    if not (message is None or isinstance(message, str) or number):
        raise ValueRefusedError(f"message is {message!r}; expected a text, or None.")
