"""Execute a notebook by papermill, and leave it with its page in a folder."""

import sys
import tempfile
from functools import cache
from pathlib import Path

import nbformat
import papermill

from study.engine import ENGINE
from study.page import page_of
from utils.system.files import write_atomic
from utils.system.project import PROJECT


@cache
def parameters_of(notebook: Path) -> tuple[str, ...]:
    """The names of the notebook's parameters."""
    return tuple(papermill.inspect_notebook(str(notebook)))


def check_parameters(notebook: Path, parameters: dict[str, object]) -> None:
    """ValueError for a parameter the notebook does not have: papermill would only warn."""
    known = parameters_of(notebook)
    if unknown := sorted(set(parameters) - set(known)):
        raise ValueError(
            f"{notebook.name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}."
        )


def run_notebook(notebook: Path, folder: Path, parameters: dict[str, object]) -> None:
    """Execute a notebook with these parameters; leaves `run.ipynb` and `run.html` in folder.

    What the notebook prints appears at once. Raises ValueError for a parameter that it does not
    have, and PapermillExecutionError when a cell fails.
    """
    check_parameters(notebook, parameters)
    with tempfile.TemporaryDirectory() as scratch:
        executed = Path(scratch) / "run.ipynb"
        _execute(notebook, executed, parameters)
        page = page_of(nbformat.read(executed, as_version=4))
        write_atomic(folder / "run.ipynb", executed.read_bytes())
        write_atomic(folder / "run.html", page)


def _execute(notebook: Path, executed: Path, parameters: dict[str, object]) -> None:
    """Run the notebook by papermill from the project's root, printing what it prints."""
    papermill.execute_notebook(
        str(notebook),
        str(executed),
        parameters,
        cwd=str(PROJECT),
        engine_name=ENGINE,
        kernel_name="python3",
        progress_bar=False,
        log_output=True,
        stdout_file=sys.stdout,
        stderr_file=sys.stderr,
    )
