"""Run rows of the experiment table by papermill, each in its run folder, and print their scores.

    python reproduce.py 1-3 3-1 --profile best --data-dir Data/ISIC2017 --seeds 0 1

A row that is finished is left alone, one that was interrupted goes on, one that fails is named at
the end while the others run. Then Evaluation-Cls.ipynb compares the classifiers, and
Evaluation-Seg.ipynb the segmenters (rows `seg-…`). Each executed notebook
(`run.ipynb`) and the same as a page (`run.html`) lie in its folder, beside scores and figures.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
from pathlib import Path

import nbformat
import papermill
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError

import experiments
from utils import data, logger, results, results_seg, runs
from utils.files import write_atomic

TRAINING = {
    experiments.ClassificationRow: data.PROJECT / "ARL-CNN.ipynb",
    experiments.SegmentationRow: data.PROJECT / "Segmentation.ipynb",
}
EVALUATION = {
    experiments.ClassificationRow: data.PROJECT / "Evaluation-Cls.ipynb",
    experiments.SegmentationRow: data.PROJECT / "Evaluation-Seg.ipynb",
}


def check_parameters(notebook: Path, parameters: dict[str, object]) -> None:
    """ValueError for a parameter the notebook does not have: papermill would only warn."""
    known = papermill.inspect_notebook(str(notebook))
    if unknown := sorted(set(parameters) - set(known)):
        raise ValueError(
            f"{notebook.name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}."
        )


def run_row(name: str, profile: str, data_dir: Path, seed: int, resume: str) -> Path:
    """Execute one row, or leave it if it is finished; returns its run folder.

    What the notebook prints appears at once. Raises RunError when the folder holds a run with other
    settings, and PapermillExecutionError when a cell fails.
    """
    row = experiments.get(name, profile, seed=seed)
    path = data.PROJECT / "model" / f"{data.set_name(data_dir)}-{profile}" / row.folder()
    run = logger.RunFolder(path)
    if resume == "auto" and (run / "last.pt").exists():
        if different := logger.differences(run, row):
            raise logger.RunError(
                f"{path} holds a run with other settings: {'; '.join(different)}. Use --resume "
                "restart (the old folder is moved aside)."
            )
        if run.finished and any(path.glob("scores-*.json")):
            print(f"{path} is finished")
            return path
    parameters = {
        "experiment": name,
        "profile": profile,
        "data_dir": str(data_dir),
        "run_dir": str(path),
        "seed": seed,
        "resume": resume,
    }
    run_notebook(TRAINING[type(row)], path, parameters)
    return path


def evaluate(notebook: Path, folders: list[Path], data_dir: Path) -> Path:
    """Execute the evaluation of finished runs; returns the folder with its page and figures."""
    split = data.evaluation_split(data.read(data_dir))
    name = f"{notebook.stem.lower()}-{split}"
    output = runs.outputs(map(logger.RunFolder, folders), name).path
    parameters = {"runs": list(map(str, folders)), "data_dir": str(data_dir), "split": split}
    run_notebook(notebook, output, parameters)
    return output


def run_notebook(notebook: Path, folder: Path, parameters: dict[str, object]) -> None:
    """Execute a notebook with these parameters; leaves `run.ipynb` and `run.html` in folder."""
    check_parameters(notebook, parameters)
    with tempfile.TemporaryDirectory() as scratch:
        executed = Path(scratch) / "run.ipynb"
        execute(notebook, executed, parameters)
        page, _ = HTMLExporter().from_notebook_node(nbformat.read(executed, as_version=4))
        write_atomic(folder / "run.ipynb", executed.read_bytes())
        write_atomic(folder / "run.html", page)


def execute(notebook: Path, executed: Path, parameters: dict[str, object]) -> None:
    """Run the notebook by papermill from the project's root, printing what it prints."""
    papermill.execute_notebook(
        str(notebook),
        str(executed),
        parameters,
        cwd=str(data.PROJECT),
        kernel_name="python3",
        progress_bar=False,
        log_output=True,
        stdout_file=sys.stdout,
        stderr_file=sys.stderr,
    )


def summary(folder: Path) -> str:
    """What the score files of a run folder say, in a few lines."""
    lines = [str(folder)]
    for file in sorted(folder.glob("scores-*.json")):
        found = json.loads(file.read_text(encoding="utf-8"))
        segmenter = "jaccard" in found["official"]
        lines.append(results_seg.summary(found) if segmenter else results.summary(found))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "rows",
        nargs="+",
        choices=list(experiments.ROWS),
        metavar="ROW",
        help=f"rows of experiments/: {', '.join(experiments.ROWS)}",
    )
    parser.add_argument("--profile", default="best", choices=experiments.PROFILES)
    parser.add_argument("--data-dir", help="folder of ISIC 2017, or 'demo' for the synthetic set")
    parser.add_argument("--resume", default="auto", choices=logger.RESUME)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    chosen = parser.parse_args(arguments)
    try:
        data_dir = data.locate(chosen.data_dir)
    except (data.DataError, FileExistsError) as error:
        parser.error(str(error))
    # The kernel is quiet about frozen modules; a debugger has no business in a batch run.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    failed = []
    done: dict[type[experiments.Row], list[Path]] = {kind: [] for kind in TRAINING}
    for row, seed in itertools.product(chosen.rows, chosen.seeds):
        name = experiments.SAME_RUN.get(row, row)
        try:
            path = run_row(name, chosen.profile, data_dir, seed, chosen.resume)
            done[type(experiments.ROWS[name])].append(path)
        except PapermillExecutionError as error:
            failed.append(f"row {row}, seed {seed}: {error.ename}: {error.evalue}")
        except ValueError as error:  # a RunError, or a profile that the row has no recipe for
            failed.append(f"row {row}, seed {seed}: {error}")
    for kind, paths in done.items():
        folders = list(dict.fromkeys(paths))
        for path in folders:
            print(f"\n{summary(path)}\npage: {path / 'run.html'}")
        notebook = EVALUATION[kind]
        try:
            if folders:
                print(f"\nevaluation: {evaluate(notebook, folders, data_dir) / 'run.html'}")
        except PapermillExecutionError as error:
            failed.append(f"{notebook.name}: {error.ename}: {error.evalue}")
    if failed:
        sys.exit("\nfailed:\n" + "\n".join(failed))


if __name__ == "__main__":
    main()
