"""Predictions and scores of a finished network: computed once, written, read ever after."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from utils.data import CLASSES, name_offenders
from utils.logger import RunError, RunFolder
from utils.statistics import classification_scores

_METRICS = {"AUC": "auc", "ACC": "accuracy", "SE": "sensitivity", "SP": "specificity"}


def predictions(
    run: RunFolder, split: str, rows: pd.DataFrame, predict: Callable[[], np.ndarray]
) -> pd.DataFrame:
    """The table id, label and one probability column a class; predict() runs only if need be.

    rows are those of the split, in the order in which predict() gives probabilities (n, C). What
    `predictions-<split>.csv` holds already is read. Raises RunError when that file has other ids.
    """
    file = run / f"predictions-{split}.csv"
    if file.exists():
        known = pd.read_csv(file, dtype={"id": str})
        if strange := sorted(set(known["id"]) ^ set(rows["id"])):
            raise RunError(
                f"{file} was made for other images; only on one side: {name_offenders(strange)}. "
                "Use resume='restart', or remove that file to predict again."
            )
        return known
    probabilities = predict().astype(np.float64)  # as they will be read: a second run sees the same
    table = pd.DataFrame({"id": rows["id"].to_numpy(), "label": rows["label"].to_numpy()})
    for number, name in enumerate(CLASSES[: probabilities.shape[1]]):
        table[name] = probabilities[:, number]
    run.save_table(file.name, table)
    return table


def scores(run: RunFolder, split: str, table: pd.DataFrame, note: str) -> dict[str, Any]:
    """Scores with 95 % intervals in both conventions, written to `scores-<split>.json`.

    table as `predictions` gives it; note names the data ("synthetic demo data", "ISIC 2017").
    """
    probabilities = table[[name for name in CLASSES if name in table.columns]].to_numpy()
    found = {"data": note, "split": split}
    found["selected_on"] = run.config.get("row", {}).get("select_on", "")
    found |= classification_scores(table["label"].to_numpy(), probabilities)
    run.save_json(f"scores-{split}.json", found)
    return found


def summary(found: dict[str, Any]) -> str:
    """The AUCs of a score file with their intervals, a line each, under the data's name."""
    official = found["official"]
    aucs = {
        f"AUC {name.replace('_', ' ')}": official[name]["auc"]
        for name in CLASSES[:2]
        if name in official
    }
    aucs |= {"mean AUC": official["mean_auc"]} if "mean_auc" in official else {}
    lines = [f"{found['data']}, {found['split']} split, {found['n']} images, 95 % intervals:"]
    for name, score in aucs.items():
        value = "undefined (a class is missing)"
        if score["value"] is not None:
            value = f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
        lines.append(f"  {name}: {value}")
    if found.get("selected_on") == found["split"]:
        lines.append("  the epoch was chosen on these very images: the scores flatter")
    return "\n".join(lines)


def comparison(found: dict[str, Any], row: Any) -> pd.DataFrame:
    """Ours above each published study, for melanoma (M) and seborrheic keratosis (SK).

    Ours in the coursework's convention (argmax, class against the rest), which the coursework's
    numbers follow. row is the experiment's; its `published` entries name source and training list.
    """
    name = f"ours, row {row.name} ({found['data']}, {found['split']} split)"
    images = f"{row.train_list} list"
    table = {(name, images): _flat(found["coursework"])}
    for study in row.published:
        table[study.source, study.training_list] = {
            f"{short} {metric}": study.scores.get(f"{label}_{key}", np.nan)
            for short, label in (("M", CLASSES[0]), ("SK", CLASSES[1]))
            for metric, key in _METRICS.items()
        }
    frame = pd.DataFrame.from_dict(table, orient="index").round(3)
    frame.index.names = ["study", "trained on"]
    return frame


def _flat(convention: dict[str, Any]) -> dict[str, float]:
    return {
        f"{short} {metric}": convention[label][key]["value"]
        for short, label in (("M", CLASSES[0]), ("SK", CLASSES[1]))
        if label in convention
        for metric, key in _METRICS.items()
    }


def telling_cases(table: pd.DataFrame, each: int = 4) -> pd.DataFrame:
    """The surest right answers (the classes in turn), then the surest wrong ones; each at most."""
    names = [name for name in CLASSES if name in table.columns]
    probabilities, truth = table[names].to_numpy(), table["label"].to_numpy()
    if len(names) == 1:  # melanoma against the rest: the rest is the second class
        probabilities = np.hstack([probabilities, 1 - probabilities])
        truth = (truth != 0).astype(int)
    sure = table.assign(
        sureness=probabilities.max(axis=1), right=probabilities.argmax(axis=1) == truth
    ).sort_values("sureness", ascending=False, kind="stable")
    sure["turn"] = sure.groupby(["right", "label"]).cumcount()
    right = sure[sure["right"]].sort_values("turn", kind="stable").head(each)
    wrong = sure[~sure["right"]].head(each)
    chosen = pd.concat([right, wrong], ignore_index=True)
    return chosen[table.columns]
