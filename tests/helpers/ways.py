"""The ways a user runs a notebook, each as a process of its own, without a display."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbconvert import ScriptExporter

from utils.system.project import PROJECT

# Beside them may lie a user's own notebooks and scripts, and what these four were converted to.
NAMES = ("ARL-CNN", "Evaluation-Cls", "Evaluation-Seg", "Segmentation")
NOTEBOOKS = [PROJECT / f"{name}.ipynb" for name in NAMES]
COMMANDS = ("baselines", "predict", "prepare_data", "reproduce", "seg_main")
SCRIPTS = [PROJECT / f"{name}.py" for name in COMMANDS]

# How often a script is run by `make test-whole`; and a second time by `make test-all`.
TIMES = (1, pytest.param(2, marks=pytest.mark.slow))
# What every trained run leaves, before it is scored.
RUN_FILES = {
    "config.json",
    "last.pt",
    "best.safetensors",
    "history.csv",
    "timing.csv",
    "run.log",
    "figures",
}

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
FLAGS += ["--no-first-run", "--disable-component-update"]


def checkout(folder: Path) -> Path:
    """The project's code and notebooks as they are, without data and runs."""
    folder.mkdir(exist_ok=True)
    for file in (*SCRIPTS, *NOTEBOOKS):
        shutil.copy2(file, folder)
    for package in PROJECT.glob("*/__init__.py"):
        name = package.parent.name
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package.parent, folder / name, ignore=leave)
    return folder


def run(command: list[str], folder: Path, **variables: str) -> str:
    """Run a command in folder, without a display; returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    environment |= variables
    environment["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout + done.stderr


def script(notebook: str, folder: Path, first_lines: str = "", **parameters: object) -> Path:
    """The converted notebook in folder, with these parameters written into it.

    What `jupyter nbconvert --to script` does, without a process.
    """
    text, _ = ScriptExporter().from_filename(PROJECT / notebook)
    file = (folder / notebook).with_suffix(".py")
    for name, value in parameters.items():
        line = next(line for line in text.splitlines() if line.startswith(f"{name} = "))
        text = text.replace(f"\n{line}\n", f"\n{name} = {value!r}\n", 1)
    file.write_text(first_lines + text, encoding="utf-8")
    return file


def contents(folder: Path) -> dict[str, bytes]:
    """The results of a run that must not change: everything but logs."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder.parent)): path.read_bytes()
        for path in files
        if path.name != "run.log"
    }


def papermill(notebook: str, folder: Path, **parameters: object) -> nbformat.NotebookNode:
    """The notebook as papermill executed it from folder."""
    pairs = [part for name, value in parameters.items() for part in ("-p", name, str(value))]
    run([sys.executable, "-m", "papermill", str(PROJECT / notebook), "out.ipynb", *pairs],
        folder)  # fmt: skip
    return nbformat.read(folder / "out.ipynb", as_version=4)


def outputs(executed: nbformat.NotebookNode, kind: str) -> list:
    """All outputs of a kind: "stdout", "stderr", or a mime type such as "image/png"."""
    every = [output for cell in executed.cells for output in cell.get("outputs", [])]
    if kind.startswith("std"):
        return [o.text for o in every if o.output_type == "stream" and o.name == kind]
    return [o.data[kind] for o in every if kind in o.get("data", {})]
