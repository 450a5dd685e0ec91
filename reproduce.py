"""Run rows of the experiment table by papermill, each in its run folder, and print their scores.

    python reproduce.py 1-3 3-1 --profile best --data-dir Data/ISIC2017 --seeds 0 1

A row that is finished is not trained again; one that was interrupted goes on. The executed notebook
(`run.ipynb`) and the same as a page (`run.html`) lie in the run folder beside the scores.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import nbformat
import papermill
from nbconvert import HTMLExporter

import experiments
from utils import data, results
from utils.files import write_atomic

NOTEBOOK = data.PROJECT / "ARL-CNN.ipynb"


def check_parameters(notebook: Path, parameters: dict[str, object]) -> None:
    """ValueError for a parameter the notebook does not have: papermill would only warn."""
    known = papermill.inspect_notebook(str(notebook))
    if unknown := sorted(set(parameters) - set(known)):
        raise ValueError(
            f"{notebook.name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}."
        )


def run_row(name: str, profile: str, data_dir: Path, seed: int) -> Path:
    """Execute one row; returns its run folder. What the notebook prints appears at once."""
    row = experiments.get(name, profile, seed=seed)
    folder = data.PROJECT / "model" / f"{data.set_name(data_dir)}-{profile}" / row.folder()
    folder.mkdir(parents=True, exist_ok=True)
    parameters = {
        "experiment": name,
        "profile": profile,
        "data_dir": str(data_dir),
        "seed": seed,
        "run_dir": str(folder),
    }
    check_parameters(NOTEBOOK, parameters)
    executed = folder / "run.ipynb"
    papermill.execute_notebook(
        str(NOTEBOOK),
        str(executed),
        parameters,
        cwd=str(data.PROJECT),
        kernel_name="python3",
        progress_bar=False,
        log_output=True,
        stdout_file=sys.stdout,
        stderr_file=sys.stderr,
    )
    page, _ = HTMLExporter().from_notebook_node(nbformat.read(executed, as_version=4))
    write_atomic(folder / "run.html", page)
    return folder


def summary(folder: Path) -> str:
    """What the score files of a run folder say, in a few lines."""
    files = sorted(folder.glob("scores-*.json"))
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return "\n".join([str(folder), *map(results.summary, found)])


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "rows",
        nargs="+",
        choices=list(experiments.ROWS),
        metavar="ROW",
        help=f"rows of experiments.py: {', '.join(experiments.ROWS)}",
    )
    parser.add_argument("--profile", default="best", choices=experiments.PROFILES)
    parser.add_argument("--data-dir", help="folder of ISIC 2017, or 'demo' for the synthetic set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    chosen = parser.parse_args(arguments)
    try:
        data_dir = data.locate(chosen.data_dir)
    except data.DataError as error:
        parser.error(str(error))
    # The kernel is quiet about frozen modules; a debugger has no business in a batch run.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    folders = [
        run_row(experiments.SAME_RUN.get(row, row), chosen.profile, data_dir, seed)
        for row in chosen.rows
        for seed in chosen.seeds
    ]
    print("\nDone.\n")
    for folder in dict.fromkeys(folders):
        print(summary(folder))
        print(f"page: {folder / 'run.html'}\n")


if __name__ == "__main__":
    main()
