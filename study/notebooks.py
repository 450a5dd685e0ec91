"""The notebooks of each task, and how one is executed by papermill into a folder.

Baselines have no notebook: a script makes them.
"""

import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import papermill
import zmq
from nbclient.util import run_sync
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from study.page import page_of
from utils.system.experiment import Task
from utils.system.files import write_atomic
from utils.system.project import NOTEBOOKS, PROJECT

TRAINING: dict[Task, Path] = {
    "labels": NOTEBOOKS / "ARL-CNN.ipynb",
    "masks": NOTEBOOKS / "Segmentation.ipynb",
}
EVALUATION: dict[Task, Path] = {
    "labels": NOTEBOOKS / "Evaluation-Cls.ipynb",
    "masks": NOTEBOOKS / "Evaluation-Seg.ipynb",
}
BASELINES = Path("baselines.py")  # stands for a notebook in a job


class CellError(Exception):
    """A cell of a notebook, or a script, failed; the text is its error."""


@cache
def parameters_of(notebook: Path) -> tuple[str, ...]:
    """The names of the notebook's parameters."""
    return tuple(papermill.inspect_notebook(str(notebook)))


def check_parameters(notebook: Path, parameters: Mapping[str, object]) -> None:
    """ValueError for an unknown parameter, of which papermill would only warn."""
    names = parameters_of(notebook)
    if unknown := sorted(set(parameters) - set(names)):
        raise ValueError(
            f"{notebook.name} has no parameter {', '.join(unknown)}; it has {', '.join(names)}."
        )


def run_baselines(parameters: Mapping[str, object]) -> None:
    """Make a baseline, by the parameters that a training notebook would have. CellError."""
    given = {key: value for key, value in parameters.items() if value not in (None, False)}
    row = str(given.pop("experiment"))
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    options = [option.removesuffix("=True") for option in options]
    command = [sys.executable, "-m", BASELINES.stem, row, *options]
    done = subprocess.run(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode:
        raise CellError((done.stderr.strip().splitlines() or ["it ended without a word"])[-1])


def run_notebook(notebook: Path, folder: Path, parameters: dict[str, object]) -> None:
    """Execute a notebook with these parameters; leaves `run.ipynb` and `run.html` in folder.

    Its output is printed at once. ValueError for an unknown parameter; CellError where a cell
    fails.
    """
    check_parameters(notebook, parameters)
    # papermill writes a tuple as the text of one
    parameters = {key: [*v] if isinstance(v, tuple) else v for key, v in parameters.items()}
    with tempfile.TemporaryDirectory() as scratch:
        executed = Path(scratch) / "run.ipynb"
        _execute(notebook, executed, parameters)
        page = page_of(nbformat.read(executed, as_version=4))
        write_atomic(folder / "run.ipynb", executed.read_bytes())
        write_atomic(folder / "run.html", page)


def _execute(notebook: Path, executed: Path, parameters: dict[str, object]) -> None:
    """Run the notebook by papermill from the project's root, printing what it prints."""
    # The kernel warns of frozen modules, for a debugger that has no business in a batch run.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    try:
        papermill.execute_notebook(
            str(notebook),
            str(executed),
            parameters,
            cwd=str(PROJECT),
            engine_name="lesions",
            kernel_name="python3",
            progress_bar=False,
            log_output=True,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
        )
    except PapermillExecutionError as error:
        raise CellError(f"{error.ename}: {error.evalue}") from None


class _Client(PapermillNotebookClient):
    """Prints tables as text beside what the notebook prints, where papermill knows streams only."""

    @contextmanager
    def setup_kernel(self, **given: Any) -> Iterator[None]:
        with super().setup_kernel(**given):
            yield
            self._wait_until_idle()

    def _wait_until_idle(self) -> None:
        """Until the kernel has left its last request, of kernel_info.

        It is interrupted before it is told to end. Caught inside a request it would print an error.
        """
        said: dict[str, Any] = {"parent_header": {}, "content": {}}
        next_message = run_sync(self.kc.get_iopub_msg)
        with suppress(queue.Empty):
            while (
                said["parent_header"].get("msg_type") != "kernel_info_request"
                or said["content"].get("execution_state") != "idle"
            ):
                said = next_message(timeout=5)

    def log_output_message(self, output: NotebookNode) -> None:
        super().log_output_message(output)
        forms = output.get("data", {})
        if self.stdout_file and "text/html" in forms and "text/plain" in forms:
            self.stdout_file.write(f"{forms['text/plain']}\n")
            self.stdout_file.flush()


class _Engine(NBClientEngine):
    """papermill's own, with that client."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, start_timeout: int = 60, **given: Any
    ) -> None:
        # Else every log begins with the kernel's warning that its messages can be read by others.
        way = "auto" if zmq.has("curve") else "disabled"
        config = Config(KernelManager={"transport_encryption": way})
        printing = {name: given[name] for name in ("log_output", "stdout_file", "stderr_file")}
        own = {"kernel_name": kernel_name, "startup_timeout": start_timeout, "config": config}
        _Client(nb_man, **own, **printing).execute()


papermill_engines.register("lesions", _Engine)
