"""The project itself: where it is, and which revision of its code made a result."""

import json
import subprocess
import sysconfig
from functools import partial
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
# A checkout holds everything. Installed by pip, data and runs go to the working folder, as nobody
# looks for them among the packages, and the notebooks are where pip puts data files.
_INSTALLED = Path(sysconfig.get_path("purelib")).resolve() == _ROOT
PROJECT = Path.cwd() if _INSTALLED else _ROOT
NOTEBOOKS = Path(sysconfig.get_path("data"), "share/skin-lesion-suite") if _INSTALLED else _ROOT


def git_revision() -> str:
    """Revision of the project's checkout, with "+changes" when code differs; "" outside git.

    Of a notebook only the cells count, not outputs and execution counts; nor does the cell of
    parameters, which a run's settings record.
    """
    if _INSTALLED:  # a git checkout around the working folder is another project
        return ""
    ask = partial(subprocess.run, cwd=PROJECT, capture_output=True, text=True, check=False)
    try:
        revision = ask(["git", "rev-parse", "--short=12", "HEAD"])
    except FileNotFoundError:  # no git on this machine
        return ""
    if revision.returncode:
        return ""
    changed = ask(["git", "diff", "--name-only", "--relative", "-z", "HEAD"]).stdout.split("\0")
    code = any(_is_changed(PROJECT, name, ask) for name in changed if name)
    return revision.stdout.strip() + ("+changes" if code else "")


def _is_changed(root: Path, name: str, ask: Any) -> bool:
    """Whether the code differs in a file that git lists as changed."""
    if not name.endswith(".ipynb"):
        return True
    try:
        committed = ask(["git", "show", f"HEAD:./{name}"], encoding="utf-8").stdout
        return _cells((root / name).read_text(encoding="utf-8")) != _cells(committed)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # gone, new or damaged
        return True


def _cells(notebook: str) -> list[tuple[str, str]]:
    """Kind and text of each cell except the parameters."""
    return [
        (cell["cell_type"], "".join(cell["source"]))
        for cell in json.loads(notebook)["cells"]
        if "parameters" not in cell["metadata"].get("tags", [])
    ]
