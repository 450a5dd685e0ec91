"""Every parameter of every notebook and every option of every command, with every wrong value.

A value either is used, or ends in one sentence of ours before any work: never in a library's error.
The cells of a notebook up to the start of its run, and the commands up to theirs, run right here.
"""

import argparse
import math
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from study_folders import classifier, segmenter

import experiments
import nets
import predict
import prepare_data
import reproduce
import seg_main
from nets.weights import WeightsError
from study import notebooks, plan
from study.notebooks import TRAINING
from utils import data, fetching, logger
from utils.data import crops, store
from utils.fetching.inventory import Problem
from utils.system import console, errors
from utils.system.project import PROJECT

# The last cell that a wrong value may reach.
LAST = {
    "ARL-CNN.ipynb": "logger.start_run",
    "Segmentation.ipynb": "logger.start_run",
    "Evaluation-Cls.ipynb": "outputs.begin",
    "Evaluation-Seg.ipynb": "outputs.begin",
}
VALUES: dict[str, Any] = {
    "None": None,
    "empty": "",
    "blank": " ",
    "unicode": "ä漢",
    "NUL": "a\0b",
    "negative": -1,
    "zero": 0,
    "seven": 7,
    "huge": 10**30,
    "1e400": 10**400,
    "nan": math.nan,
    "inf": math.inf,
    "text nan": "nan",
    "True": True,
    "list": [],
    "list of 1": [1],
    "list of text": ["a", None],
    "list of lists": [[1], [2], [3]],
    "dict": {},
    "set": {1},
    "1.5": 1.5,
    "text 7": "7",
    "2017": 2017,
    "bytes": b"x",
    "complex": 1j,
    "file": "a file",
    "in a file": "a file/x",
    "loop": "loop",
    "long": "x" * 300,
    "deep": "/".join(["y" * 200] * 30),
    "no user": "~nosuchuser/x",
    "surrogate": "\udcff",
    "formula": "=cmd|' /C calc'!A0",
    "option": "--help",
    "comma": ",",
    "dot": ".",
    "root": "/",
}


def code_cells(notebook: str) -> list[str]:
    """The sources of a notebook's cells up to the last that a wrong value may reach."""
    cells = nbformat.read(PROJECT / notebook, as_version=4).cells
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    last = next(number for number, text in enumerate(sources) if LAST[notebook] in text)
    return sources[: last + 1]


CELLS = {notebook: code_cells(notebook) for notebook in LAST}


def parameters(notebook: str) -> list[str]:
    """The names in a notebook's first cell."""
    return [line.split(" = ")[0] for line in CELLS[notebook][0].splitlines()]


def options_of(line: argparse.ArgumentParser) -> list[str]:
    """The options of a command that take a value."""
    return [action.option_strings[-1] for action in line._actions if takes_one(action)]


def takes_one(action: argparse.Action) -> bool:
    return bool(action.option_strings) and action.nargs in (None, "+")


def commands_of(line: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands of a command line, by name."""
    return next(a.choices for a in line._actions if isinstance(a, argparse._SubParsersAction))


PARAMETERS = [(notebook, name) for notebook in LAST for name in parameters(notebook)]


@pytest.fixture
def place(
    tmp_path: Path, demo_set: Path, demo_store: store.Store, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working directory with a file and a loop; nothing is decoded, a network is built once."""
    monkeypatch.chdir(tmp_path)
    Path("a file").write_text("no weights")
    Path("loop").symlink_to("loop")
    monkeypatch.setattr("utils.system.project.PROJECT", tmp_path / "project")
    monkeypatch.setenv("ISIC2017_DIR", str(demo_set))
    # The package keeps what was once asked of it, whatever its module holds later.
    for where in (data, store):
        monkeypatch.setattr(where, "prepare", lambda *_: demo_store)
    monkeypatch.setattr(logger.run, "git_revision", str)
    monkeypatch.setattr(logger.run, "versions", dict)
    monkeypatch.setattr(console, "show_table", lambda _: None)
    monkeypatch.setattr(nets, "build", BUILD)
    for where in (data, data.splits):
        monkeypatch.setattr(where, "read", READ)
    return tmp_path


def once(work: Callable) -> Callable:
    """The same, done once for the same arguments."""
    known: dict[str, Any] = {}

    def remembered(*arguments: object, **options: object) -> Any:
        key = repr((arguments, options))
        if key not in known:
            known[key] = work(*arguments, **options)
        return known[key]

    return remembered


def refused(call: Callable[[], object]) -> str:
    """What was said of a value that was refused; "" for one that was used."""
    try:
        call()
    except (ValueError, WeightsError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        if not Path(last.filename).is_relative_to(PROJECT) or not last.line.startswith("raise "):
            raise RuntimeError("not ours") from error
        return str(error)
    return ""


BUILD, READ = once(nets.build), once(data.read)


@pytest.mark.parametrize(("notebook", "parameter"), PARAMETERS)
def test_a_notebook_uses_a_value_or_says_what_is_wrong(
    notebook: str, parameter: str, place: Path, demo_set: Path
) -> None:
    good = {"data_dir": str(demo_set)}
    if notebook.startswith("Evaluation"):
        make, row = (classifier, "1-3") if "Cls" in notebook else (segmenter, "seg-1")
        run = make(place / "demo-demo" / f"{row}-s0", experiments.get(row, "demo"))
        good["runs"] = str(run.path)
    cells = [compile(source, notebook, "exec") for source in CELLS[notebook]]

    def call(value: object) -> None:
        names: dict[str, Any] = {}
        exec(cells[0], names)
        names |= good | {parameter: value}
        for cell in cells[1:]:
            exec(cell, names)

    assert not foreign(lambda value: refused(partial(call, value)))


@pytest.mark.parametrize("notebook", ["ARL-CNN.ipynb", "Segmentation.ipynb"])
def test_a_folder_of_others_is_refused_before_images_are_prepared(
    notebook: str, place: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data.splits, "read", lambda *_: pytest.fail("work has begun"))
    names: dict[str, Any] = {}
    exec(CELLS[notebook][0], names)
    names |= {"data_dir": str(demo_set), "run_dir": str(place)}
    cells = "\n".join(CELLS[notebook][1:])
    with pytest.raises(errors.RunError, match="is neither empty nor a run folder: it holds a file"):
        exec(cells, names)


def foreign(said: Callable[[Any], str]) -> dict[str, str]:
    """The values that end in an error that is not ours, or in words that are no sentence."""
    wrong = {}
    for what, value in VALUES.items():
        try:
            lines = said(value)
            if "\n" in lines.partition("\n    ")[0]:  # a command may follow on its own line
                wrong[what] = lines
        except Exception as error:  # the very thing that must not be
            wrong[what] = repr(error)
    return wrong


OPTIONS = [
    *[("reproduce", option) for option in options_of(reproduce.parser())],
    *[("reproduce", f"-p {name}") for name in parameters("Segmentation.ipynb")],
    *[("seg_main", option) for option in options_of(seg_main.parser())],
    *[("predict", option) for option in options_of(predict.parser())],
    *[
        (f"prepare_data {name}", option)
        for name, line in commands_of(prepare_data.parser()).items()
        for option in options_of(line)
    ],
]
MAIN: dict[str, Any] = {"reproduce": reproduce.main, "seg_main": seg_main.main}
MAIN |= {"prepare_data": prepare_data.main, "predict": predict.main}


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_a_command_uses_a_value_or_says_what_is_wrong(
    command: str,
    option: str,
    place: Path,
    demo_set: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(notebooks, "run_notebook", lambda *_: None)
    monkeypatch.setattr(plan, "TRAINING", {kind: PROJECT / f.name for kind, f in TRAINING.items()})
    no_problems = pd.DataFrame(columns=Problem._fields)
    report = fetching.verification.Report(pd.DataFrame(), no_problems, (), 0, 0.0)
    monkeypatch.setattr(fetching, "verify", lambda *_: report)
    monkeypatch.setattr(crops, "make", lambda *_: 0)
    monkeypatch.setattr(prepare_data, "STANDARD", place / "standard")
    name, *more = command.split()
    base = ["--data-dir", str(demo_set)]
    if command == "reproduce":
        more = ["--profile", "demo", "--dry-run", "seg-1"]
    elif command == "predict":
        run = classifier(place / "demo-demo/1-3-s0", experiments.get("1-3", "demo"))
        more = ["a file", "--runs", str(run.path)]
        if option == "--learn-features":
            more = []
        elif option == "--data-dir":
            more = ["--learn-features", str(run.path)]
    elif command == "prepare_data download" and option != "--base-url":
        monkeypatch.setattr(fetching, "fetch_set", lambda *_: None)
    elif command == "prepare_data extras":
        base += ["--list", "a file"]

    def call(value: Any) -> str:
        given = [*more, *base, *option.split(), str(value)]
        try:
            status = MAIN[name](given)
        except SystemExit as ended:
            status = ended.code
        said = capsys.readouterr()
        return said.err.strip().splitlines()[-1] if status == 2 else ""

    assert not foreign(call)
