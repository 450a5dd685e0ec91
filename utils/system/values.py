"""Parameters that are no field of an experiment: folders, files, switches.

Papermill turns a name of digits into a number (`-p data_dir 2017`), which is accepted as a name; a
shell turns an unset variable into "", which is not.
"""

import math
import reprlib
from pathlib import Path
from stat import S_ISDIR
from typing import Any

RESUME = ("auto", "restart")
_SHORT = reprlib.Repr()  # as Python writes it, without the middle of a long text
_SHORT.maxstring = 100


class ValueRefusedError(ValueError):
    """A parameter or an option with an impossible value; the message says what it may be."""


def folder(name: str, value: Any, usual: Path | None = None) -> Path:
    """As `path`, for a folder that is not the root; None means the usual one, if there is one."""
    if value is None and usual is not None:
        return usual
    folder_path = path(name, value, "folder").resolve()
    if folder_path == folder_path.parent:
        raise ValueRefusedError(f"{name} is {str(value)!r}; expected a folder that has a name.")
    return folder_path


def path(name: str, value: Any, kind: str = "file or folder") -> Path:
    """The path that parameter `name` gives, whether it exists or not; "~" is the user's home.

    Raises ValueRefusedError for the other kind, and for what cannot be a path.
    """
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str | Path) or not str(value).strip():
        raise ValueRefusedError(f"{name} is {value!r}; expected the path of a {kind}.")
    try:
        expanded = Path(value).expanduser()
        existing = "folder" if S_ISDIR(expanded.stat().st_mode) else "file"
    except (FileNotFoundError, PermissionError):
        return expanded  # it may be made later; permissions are not checked here
    except (OSError, RuntimeError, ValueError) as error:  # too long, a loop; no such user; "\0"
        reason = getattr(error, "strerror", None) or error
        fault = f"cannot be a path ({reason}); name another {kind}"
        raise ValueRefusedError(f"{name} is {_SHORT.repr(str(value))}, which {fault}.") from error
    if existing not in kind:
        fault = f"is a {existing}; name another path, that of a {kind}"
        raise ValueRefusedError(f"{name} is {_SHORT.repr(str(value))}, which {fault}.")
    return expanded


def check(resume: Any = "auto", save_masks: Any = False, message: Any = None) -> None:
    """ValueRefusedError where a notebook's parameter of this name has an impossible value."""
    text = message is None or isinstance(message, str | int)  # a number may be a name
    text = text or (isinstance(message, float) and math.isfinite(message))
    for name, value, accepted, expected in (
        ("resume", resume, resume in RESUME, f"one of {', '.join(RESUME)}"),
        ("save_masks", save_masks, isinstance(save_masks, bool), "True or False"),
        ("message", message, text, "a text, or None"),
    ):
        if not accepted:
            raise ValueRefusedError(f"{name} is {value!r}; expected {expected}.")
