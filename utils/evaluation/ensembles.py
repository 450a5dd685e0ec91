"""Ensembles: the mean of several runs' answers, in a run folder of its own.

The folder has settings, predictions and scores as every other, and no weights. Averaged are
probabilities (as the first three of ISIC 2017's part 3 did, https://arxiv.org/abs/1710.05006), or
their logarithms: a root of the product of the members' answers, made to sum to 1 again (Hinton,
Products of experts, ICANN 1999). That suits members that know different things, as a network and
the patient's age: of independent evidence, probabilities multiply.
"""

from collections.abc import Mapping, Sequence
from os.path import relpath
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.evaluation import calibration, labels, results, score_files
from utils.logger.about import average_in, data_of, option_of
from utils.logger.folders import forget_results, require_ours
from utils.logger.run import RunFolder, versions
from utils.logger.runs import title
from utils.system.errors import RunError, listed
from utils.system.project import git_revision

AVERAGES = ("probabilities", "logits")


def members(run: RunFolder) -> list[RunFolder]:
    """The runs that an ensemble is made of; none where the run is no ensemble."""
    names = run.config.get("ensemble", {}).get("members", [])
    return [RunFolder((run.path / name).resolve()) for name in names]


def among(runs: Mapping[str, RunFolder]) -> list[str]:
    """The names of the ensembles of these runs. RunError as `outdated` says."""
    teams = [name for name, run in runs.items() if members(run)]
    for name in teams:
        if why := outdated(runs[name]):
            raise RunError(why)
    return teams


def outdated(run: RunFolder) -> str:
    """Where an ensemble averages what its members no longer answer, and its cure; "" otherwise.

    A member whose predictions are not there is not asked.
    """
    for part in _parts([run] if members(run) else []):
        if not all((one / f"predictions-{part}.csv").exists() for one in members(run)):
            continue
        stored = results.stored_predictions(run, part)
        mean = predict(run, part, stored["id"])
        if not np.allclose(stored[labels.classes_in(stored)], mean, rtol=1e-6, atol=1e-9):
            return (
                f"{run.path} averages other predictions ({part}) than its members have now: one of "
                f"them was trained again. Make it again with reproduce.py {option_of(run.config)}."
            )
    return ""


def make(
    path: Path, name: str, runs: Sequence[RunFolder], average: str = "probabilities"
) -> RunFolder:
    """The ensemble called name of these finished runs of classifiers, made or made anew.

    average is one of `AVERAGES`. The first run stands for all where a recipe is asked for. The
    ensemble has predictions and scores of every split that all of them have predictions of.
    RunError where they are fewer than two, have no split in common, or other classes, images or
    labels, or path holds other files; an earlier ensemble then stays as it was.
    """
    require_ours(path)
    run = RunFolder(path)
    if run.config and run.config.get("ensemble", {}).get("name") != name:
        raise RunError(f"{path} holds another run; give the ensemble {name} another name.")
    tables = _averages(path.name, runs, average)
    if len(runs) < 2 or not tables:
        raise RunError(
            f"the ensemble {name} of {listed(one.path.name for one in runs) or 'no run'} cannot be "
            "made: expected at least two finished runs with predictions of the same split. Run its "
            "members first."
        )
    first = runs[0].config
    facts: dict[str, Any] = {key: first[key] for key in ("row", "data", "machine") if key in first}
    facts |= {"versions": versions(), "git": git_revision(), "precision": "fp32", "device": "cpu"}
    parameters = sum(one.config.get("network", {}).get("parameters", 0) for one in runs)
    gflops = sum(one.config.get("network", {}).get("gflops", 0) for one in runs)
    made_of = [relpath(one.path.resolve(), path.resolve()) for one in runs]
    facts |= {"network": {"parameters": parameters, "gflops": gflops}}
    rows = list(dict.fromkeys(map(title, runs)))
    facts |= {"ensemble": {"name": name, "rows": rows, "members": made_of, "average": average}}
    run.save_json("config.json", facts | {"finished": False})  # nobody reads it until it is whole
    forget_results(path)
    for part, table in tables.items():
        run.save_table(f"predictions-{part}.csv", table)
        score_files.label_scores(run, part, table, first["data"]["set"])
    run.save_table("history.csv", _history(run, tables))
    seconds = sum(pd.read_csv(one / "timing.csv")["seconds"].sum() for one in runs)
    cost = {"epoch": 1, "seconds": seconds, "images": 0, "peak_memory_mb": 0.0}
    run.save_table("timing.csv", pd.DataFrame([cost]))
    run.save_json("config.json", facts | {"finished": True})
    return run


def predict(run: RunFolder, part: str, ids: pd.Series) -> np.ndarray:
    """The ensemble's probabilities (n, C) for the images of a split, or "test-1-views".

    RunError where one of them has none, or of other images or classes.
    """
    for one in members(run):
        if not (one / f"predictions-{part}.csv").exists():
            raise RunError(
                f"{run.path.name} is an ensemble, and its member {one.path} has no "
                f"predictions-{part}.csv; evaluate the members on these images first (name them "
                "before it in runs)."
            )
    tables = _tables(members(run), part)
    for one, table in zip(members(run), tables, strict=True):
        _require_same(run.path.name, tables[0], one, part, table)
    if set(tables[0]["id"]) != set(ids):
        raise RunError(
            f"the members of {run.path.name} have predictions ({part}) of other images than these: "
            "evaluate them on these images first (name them before it in runs)."
        )
    names = labels.classes_in(tables[0])
    answers = [table.set_index("id").loc[ids, names].to_numpy() for table in tables]
    return averaged(answers, average_in(run.config))


def averaged(answers: Sequence[np.ndarray], average: str) -> np.ndarray:
    """Of probabilities (members, n, C) the mean, or the softmax of the mean logarithms: (n, C)."""
    if average == "probabilities":
        return np.mean(answers, axis=0)
    width = answers[0].shape[1]
    if width == 1:  # of p and 1 - p alike, neither is more certain than float32 can say of 1
        answers = [np.clip(answer, calibration.GAP, 1 - calibration.GAP) for answer in answers]
    logits = np.mean([calibration.logits_of(answer) for answer in answers], axis=0)
    return calibration.softmax(logits)[:, :width]


def _averages(name: str, runs: Sequence[RunFolder], average: str) -> dict[str, pd.DataFrame]:
    """The table of each split that all runs have predictions of; RunError where these differ.

    Hold-outs of several seeds are of other images, and left out.
    """
    if runs:
        data_of({str(one.path): one for one in runs})
    averages = {}
    for part in _parts(runs):
        tables = _tables(runs, part)
        first, names = tables[0], labels.classes_in(tables[0])
        if part.startswith("holdout") and len({frozenset(table["id"]) for table in tables}) > 1:
            continue
        for one, table in zip(runs, tables, strict=True):
            _require_same(name, first, one, part, table)
        answers = [table.set_index("id").loc[first["id"], names].to_numpy() for table in tables]
        mean = pd.DataFrame(averaged(answers, average), columns=names)
        averages[part] = first[["id", "label"]].join(mean)
    return averages


def _parts(runs: Sequence[RunFolder]) -> list[str]:
    """The splits that all runs have predictions of."""
    found = [
        {file.stem.removeprefix("predictions-") for file in run.path.glob("predictions-*.csv")}
        for run in runs
    ]
    return sorted(set.intersection(*found)) if found else []


def _tables(runs: Sequence[RunFolder], part: str) -> list[pd.DataFrame]:
    """What each run predicted for a split. RunError for one that is damaged."""
    tables = []
    for run in runs:
        table = results.stored_predictions(run, part)
        try:
            labels.checked(table["label"], table[labels.classes_in(table)])
        except ValueError as error:
            raise RunError(f"{run / f'predictions-{part}.csv'} is damaged: {error}") from error
        tables.append(table)
    return tables


def _require_same(
    name: str, first: pd.DataFrame, run: RunFolder, part: str, table: pd.DataFrame
) -> None:
    """RunError where a member's table has other classes, images or labels than the first one's."""
    given, expected = labels.classes_in(table), labels.classes_in(first)
    if given != expected:
        different = f"answers {listed(given)}, and the first member of {name} {listed(expected)}"
    elif set(table["id"]) != set(first["id"]):
        different = f"is about other images than the first member of {name}"
    elif (table.set_index("id")["label"] != first.set_index("id")["label"][table["id"]]).any():
        different = f"has other labels than the first member of {name}"
    else:
        return
    raise RunError(
        f"{run / f'predictions-{part}.csv'} {different}; an ensemble needs the same of all: leave "
        "that run out."
    )


def _history(run: RunFolder, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One epoch with the scores of the images that a member's epoch is chosen on, if any."""
    row = run.config["row"]
    scores: dict[str, float] = {row["select_score"]: float("nan")}
    if (table := tables.get(row["select_on"])) is not None:
        given = table[labels.classes_in(table)].to_numpy()
        scores = labels.epoch_scores(table["label"], given, None, results.classes_of(run))
    return pd.DataFrame([{"epoch": 1, "loss": 0.0} | scores])
