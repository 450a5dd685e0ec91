"""Ensembles: the mean of several runs' answers, in a run folder of its own.

The folder has settings, predictions and scores as every other, and no weights. Averaged are
probabilities (as the first three of ISIC 2017's part 3 did, https://arxiv.org/abs/1710.05006), or
their logarithms: a root of the product of the members' answers, made to sum to 1 again (Hinton,
Products of experts, ICANN 1999). That suits members that know different things, as a network and
the patient's age: of independent evidence, probabilities multiply.
"""

from collections.abc import Sequence
from functools import partial
from os.path import relpath
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.evaluation import calibration, labels, results, score_files
from utils.logger.about import average_in
from utils.logger.folders import require_ours
from utils.logger.run import RunFolder, versions
from utils.logger.runs import title
from utils.system.errors import RunError, listed
from utils.system.files import read_table
from utils.system.project import git_revision

AVERAGES = ("probabilities", "logits")


def members(run: RunFolder) -> list[RunFolder]:
    """The runs that an ensemble is made of; none where the run is no ensemble."""
    names = run.config.get("ensemble", {}).get("members", [])
    return [RunFolder((run.path / name).resolve()) for name in names]


def make(
    path: Path, name: str, runs: Sequence[RunFolder], average: str = "probabilities"
) -> RunFolder:
    """The ensemble called name of these finished runs of classifiers, made or made anew.

    average is one of `AVERAGES`. The first run stands for all where a recipe is asked for. The
    ensemble has predictions and scores of every split that all of them have predictions of.
    RunError where they are fewer than two, have no split in common or other classes, or path holds
    other files.
    """
    require_ours(path)
    run, parts = RunFolder(path), _parts(runs)
    if len(runs) < 2 or not parts:
        raise RunError(
            f"the ensemble {name} of {listed(one.path.name for one in runs) or 'no run'} cannot be "
            "made: expected at least two finished runs with predictions of the same split. Run its "
            "members first."
        )
    first = runs[0].config
    if run.config and run.config.get("ensemble", {}).get("name") != name:
        raise RunError(f"{path} holds another run; give the ensemble {name} another name.")
    facts: dict[str, Any] = {key: first[key] for key in ("row", "data", "machine") if key in first}
    facts |= {"versions": versions(), "git": git_revision(), "precision": "fp32", "device": "cpu"}
    parameters = sum(one.config.get("network", {}).get("parameters", 0) for one in runs)
    gflops = sum(one.config.get("network", {}).get("gflops", 0) for one in runs)
    made_of = [relpath(one.path.resolve(), path.resolve()) for one in runs]
    facts |= {"network": {"parameters": parameters, "gflops": gflops}}
    rows = list(dict.fromkeys(map(title, runs)))
    made = {"name": name, "rows": rows, "members": made_of, "average": average}
    facts |= {"ensemble": made, "finished": True}
    for file in path.glob("predictions-*.csv"):
        file.unlink()  # of earlier members
    run.save_json("config.json", facts)
    for part in parts:
        table = read_table(runs[0] / f"predictions-{part}.csv")
        table = results.predictions(
            run, part, table[["id", "label"]], partial(predict, run, part, table["id"])
        )
        score_files.label_scores(run, part, table, first["data"]["set"])
        names, classes = labels.classes_in(table), results.classes_of(run)
        history = labels.epoch_scores(table["label"], table[names].to_numpy(), None, classes)
    run.save_table("history.csv", pd.DataFrame([{"epoch": 1, "loss": 0.0} | history]))
    seconds = sum(pd.read_csv(one / "timing.csv")["seconds"].sum() for one in runs)
    cost = {"epoch": 1, "seconds": seconds, "images": 0, "peak_memory_mb": 0.0}
    run.save_table("timing.csv", pd.DataFrame([cost]))
    return run


def predict(run: RunFolder, part: str, ids: pd.Series) -> np.ndarray:
    """The ensemble's probabilities (n, C) for the images of a split, or "test-1-views".

    RunError where one of them has none, or of other images or classes.
    """
    tables = []
    for one in members(run):
        file = one / f"predictions-{part}.csv"
        if not file.exists():
            raise RunError(
                f"{run.path.name} is an ensemble, and its member {one.path} has no {file.name}; "
                "evaluate the members on these images first (name them before it in runs)."
            )
        tables.append(read_table(file).set_index("id"))
    columns = tables[0].columns
    for table, one in zip(tables, members(run), strict=True):
        if table.columns.tolist() != columns.tolist() or set(table.index) != set(ids):
            raise RunError(
                f"{one / f'predictions-{part}.csv'} is about other images or classes than "
                f"{run.path.name} needs: an ensemble needs the same of all."
            )
    answers = [table.loc[ids, columns.drop("label")].to_numpy() for table in tables]
    return averaged(answers, average_in(run.config))


def averaged(answers: Sequence[np.ndarray], average: str) -> np.ndarray:
    """Of probabilities (members, n, C) the mean, or the softmax of the mean logarithms: (n, C)."""
    if average == "probabilities":
        return np.mean(answers, axis=0)
    logits = np.mean([calibration.logits_of(answer) for answer in answers], axis=0)
    return calibration.softmax(logits)[:, : answers[0].shape[1]]


def _parts(runs: Sequence[RunFolder]) -> list[str]:
    """The splits that all runs have predictions of."""
    found = [
        {file.stem.removeprefix("predictions-") for file in run.path.glob("predictions-*.csv")}
        for run in runs
    ]
    return sorted(set.intersection(*found)) if found else []
