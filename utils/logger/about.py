"""What finished runs are, from their settings and histories."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from utils.logger.run import RunFolder
from utils.system.errors import RunError, listed


def data_of(runs: Mapping[str, RunFolder]) -> str:
    """The data set that runs were trained on, as tables and figures name it. RunError for several.

    Where runs were found for a data folder, it is that of the folder; a released run is found
    whatever the data.
    """
    sets = {name: run.config["data"]["set"] for name, run in runs.items()}
    if len(set(sets.values())) > 1:
        each = listed(f"{name} on {trained_on}" for name, trained_on in sets.items())
        raise RunError(f"runs of different data cannot be compared: {each}; name some of them.")
    return next(iter(sets.values()))


def overview(runs: Mapping[str, RunFolder]) -> pd.DataFrame:
    """What each run is, one a line, from its settings and its history."""
    lines = {}
    for name, run in runs.items():
        config = run.config
        if file := config.get("file"):
            lines[name] = {"network": f"predictions of {file['path']}"}
            continue
        row, score = config["row"], config["row"]["select_score"]
        chosen = "last epoch, " * (row.get("keep") == "last") + row["select_on"]
        side, team = row["image_size"], config.get("ensemble", {})
        members = len(team.get("members", ()))
        logits = "the logits of " * (average_in(config) == "logits")
        lines[name] = {
            "network": f"mean of {logits}{members} runs" if members else row["network"],
            "weights": row["weights"] or "random",
            "profile": row["profile"],
            "seed": row["seed"],
            "data": config["data"].get("folder", ""),
            "image size": f"{side}" if isinstance(side, int) else "x".join(map(str, side)),
            "views": row["views"],
            "epochs (kept)": "–",
            "chosen on": "–",
            "revision": (config.get("git") or "")[:7],
        }
        if not members:
            history, kept = history_of(run)
            lines[name]["epochs (kept)"] = f"{len(history)} ({kept})"
            lines[name]["chosen on"] = f"{chosen}: {score} {history[score][kept - 1]:.3f}"
    return pd.DataFrame.from_dict(lines, orient="index").fillna("")


def history_of(run: RunFolder) -> tuple[pd.DataFrame, int]:
    """The epochs of a run, and which of them was kept."""
    file, score = run / "history.csv", run.config["row"]["select_score"]
    try:
        history = pd.read_csv(file).astype({score: float})
        values = [{score: value} for value in history[score]]
        return history, kept_epoch(values, score, run.config["row"].get("keep", "best"))
    except (OSError, ValueError, LookupError) as error:  # missing, a folder; no table; no score
        raise RunError(
            f"{file} says nothing about {score} ({error}); train the run again (resume='restart')."
        ) from error


def kept_epoch(history: list[dict[str, float]], score: str, keep: str = "best") -> int:
    """Number (from 1) of the kept epoch: of the highest score, the first of equals; or the last."""
    if keep == "last":
        return len(history)
    return int(np.argmax([epoch[score] for epoch in history])) + 1


def option_of(config: Mapping[str, Any]) -> str:
    """What makes an ensemble again: "--ensemble team:logits=3-1,0-2"; "" for another run."""
    if "ensemble" not in config:
        return ""
    made, average = config["ensemble"], average_in(config)
    how = f":{average}" * (average != "probabilities")
    return f"--ensemble {made['name']}{how}={','.join(made['rows'])}"


def average_in(config: Mapping[str, Any]) -> str:
    """What an ensemble averages: "probabilities" or "logits"; "" for another run's config."""
    return config["ensemble"].get("average", "probabilities") if "ensemble" in config else ""
