"""Predictions and scores of a finished network: computed once, written, read ever after."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.data.splits import CLASSES
from utils.evaluation import published
from utils.evaluation.label_scores import classification_scores
from utils.evaluation.paired import Difference, area_difference, paired_difference
from utils.evaluation.significance import Comparison
from utils.logger.run import RunFolder
from utils.system.errors import RunError, listed

_NUMBER = int | float
_METRICS = {"AUC": "auc", "ACC": "accuracy", "SE": "sensitivity", "SP": "specificity"}


def predictions(
    run: RunFolder, split: str, rows: pd.DataFrame, predict: Callable[[], np.ndarray]
) -> pd.DataFrame:
    """The table id, label and one probability column a class; predict() runs only if need be.

    rows are those of the split, in the order in which predict() gives probabilities (n, C). What
    `predictions-<split>.csv` holds already is read. Raises RunError when that file is damaged, or
    was made for other ids or labels.
    """
    file = run / f"predictions-{split}.csv"
    if file.exists():
        return _read(file, rows)
    probabilities = predict().astype(np.float64)  # as they will be read: a second run sees the same
    table = pd.DataFrame({"id": rows["id"].to_numpy(), "label": rows["label"].to_numpy()})
    for number, name in enumerate(CLASSES[: probabilities.shape[1]]):
        table[name] = probabilities[:, number]
    run.save_table(file.name, table)
    return table


def _read(file: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """The predictions in a file, in the order of rows."""
    cure = "Remove that file to predict again, or train the run again (resume='restart')."
    try:
        known = pd.read_csv(file, converters={"id": str})  # "NA" is an id, too
    except ValueError as error:  # empty, or no table
        raise RunError(f"{file} is damaged ({error}). {cure}") from error
    columns = [["id", "label", *CLASSES[:width]] for width in (1, len(CLASSES))]
    empty = int(known.isna().sum().sum())
    if known.columns.tolist() not in columns or empty:
        raise RunError(
            f"{file} is damaged: expected the columns id, label and the classes, none of them "
            f"empty; found {listed(known.columns)}, {empty} empty. {cure}"
        )
    if strange := sorted(set(known["id"]) ^ set(rows["id"])):
        raise RunError(
            f"{file} was made for other images; only on one side: {listed(strange)}. {cure}"
        )
    if twice := sorted(set(known["id"][known["id"].duplicated()])):
        raise RunError(f"{file} holds ids twice: {listed(twice)}. {cure}")
    known = known.set_index("id").loc[rows["id"]].reset_index()
    changed = known["label"].to_numpy() != rows["label"].to_numpy()
    if changed.any():
        raise RunError(
            f"{file} holds other labels than the data for {listed(known['id'][changed])}; "
            f"one of them is wrong. {cure}"
        )
    return known


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


def read_scores(file: Path) -> dict[str, Any]:
    """What a `scores-<split>.json` of either task holds. RunError where its summary has gaps."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not _is_whole(found):
        raise RunError(f"{file.name} is damaged; remove it and run the row again, which is quick")
    return found


def _is_whole(found: Any) -> bool:
    """Whether the content of a score file has all that a summary names, as it should be."""
    if not _has(found, data=str, split=str, n=int, official=dict):
        return False
    official = found["official"]
    if "jaccard" in official:  # of a segmenter, always defined
        names = ("jaccard", "dice", "threshold_jaccard")
        shown = [official.get(name) for name in names]
        ways = _has(found, views=int, clean_up=bool, selected_on=str)
        return ways and all(
            _has(score, value=_NUMBER, low=_NUMBER, high=_NUMBER) for score in shown
        )
    if not all(_has(official[name], auc=dict) for name in CLASSES[:2] if name in official):
        return False
    undefined = dict.fromkeys(("value", "low", "high"))
    areas = _areas(official).values()
    return all(a == undefined or _has(a, value=_NUMBER, low=_NUMBER, high=_NUMBER) for a in areas)


def _has(entries: Any, **kinds: Any) -> bool:
    """Whether these are entries by name, among them all of kinds."""
    return isinstance(entries, dict) and all(
        isinstance(entries.get(name), kind) for name, kind in kinds.items()
    )


def summary(found: dict[str, Any]) -> str:
    """The AUCs of a score file with their intervals, a line each, under the data's name."""
    lines = [f"{found['data']}, {found['split']} split, {found['n']} images, 95 % intervals:"]
    for name, score in _areas(found["official"]).items():
        value = "undefined (a class is missing)"
        if score["value"] is not None:
            value = f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
        lines.append(f"  {name}: {value}")
    split = found["split"].split("-")[0]  # "validation-1-views" is the validation split, too
    if found.get("selected_on") == split:
        lines.append("  the epoch was chosen on these very images: the scores flatter")
    return "\n".join(lines)


def comparison(found: dict[str, Any], row: Any) -> pd.DataFrame:
    """Ours above each published study, for melanoma (M) and seborrheic keratosis (SK).

    Ours in the coursework's convention (argmax, class against the rest), which the coursework's
    numbers follow. row is the experiment's; its `published` entries name source and training list.
    On synthetic data ours stand alone.
    """
    name = f"ours, row {row.name} ({found['data']}, {found['split']} split)"
    table = {(name, published.trained_on(found, row.train_list)): _flat(found["coursework"])}
    studies = () if published.reason(found) == published.SYNTHETIC else row.published
    for study in studies:
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


def side_by_side(found: Mapping[str, dict[str, Any]], rows: Mapping[str, Any]) -> pd.DataFrame:
    """AUCs of several runs, then the published ones of their experiments; a row a point.

    found: contents of scores-<split>.json, rows: experiments, both by the run's name; each study
    in their `published` comes once (its mean AUC is that of the two it prints), where it is
    comparable (`published.reason`). Columns run, metric ("AUC melanoma", …, "mean AUC"), value,
    low, high (nan where undefined or published), published.
    """
    points = [
        {"run": run, "metric": metric, **score, "published": False}
        for run, entry in found.items()
        for metric, score in _areas(entry["official"]).items()
    ]
    for study in published.comparable(found, rows):
        known = [name for name in CLASSES[:2] if f"{name}_auc" in study.scores]
        areas = {name: {"auc": {"value": study.scores[f"{name}_auc"]}} for name in known}
        if len(known) == 2:
            areas["mean_auc"] = {"value": sum(study.scores[f"{name}_auc"] for name in known) / 2}
        label = f"{study.source} ({study.training_list})"
        points += [
            {"run": label, "metric": metric, **score, "published": True}
            for metric, score in _areas(areas).items()
        ]
    table = pd.DataFrame(points, columns=["run", "metric", "value", "low", "high", "published"])
    return table.astype({"value": float, "low": float, "high": float})


def differences(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Each run minus the first one, AUC by AUC, on the same images: "+0.021 [-0.004, +0.047]".

    tables: predictions by the run's name, at least two. A row a further run; an AUC that one of the
    two lacks is "". How it is compared, and what is refused: `paired.paired_difference` for the
    mean, `paired.area_difference` for a class, as in the report.
    """
    (_, base), *others = tables.items()
    columns = {f"AUC {name.replace('_', ' ')}": name for name in CLASSES[:2]}
    rows = {}
    for run, table in others:
        both = base.columns.intersection(table.columns)
        rows[run] = {
            column: _signed(area_difference(table, base, name))
            for column, name in columns.items()
            if name in both
        }
        if len(rows[run]) == len(columns):
            rows[run]["mean AUC"] = _signed(paired_difference(table, base))
    index = pd.Index(rows, name="run")
    return pd.DataFrame(rows.values(), index=index, columns=[*columns, "mean AUC"]).fillna("")


def _signed(difference: Difference | Comparison) -> str:
    if np.isnan(difference.value):
        return "undefined"
    return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def _areas(official: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """The AUCs of a score file's official part, each by what it is called."""
    areas = {
        f"AUC {name.replace('_', ' ')}": official[name]["auc"]
        for name in CLASSES[:2]
        if name in official
    }
    return areas | ({"mean AUC": official["mean_auc"]} if "mean_auc" in official else {})


def telling_cases(table: pd.DataFrame, each: int = 4) -> pd.DataFrame:
    """The surest right answers (the classes in turn), then the surest wrong ones; each at most."""
    sure = _judged(table).sort_values("sureness", ascending=False, kind="stable")
    sure["turn"] = sure.groupby(["right", "label"]).cumcount()
    right = sure[sure["right"]].sort_values("turn", kind="stable").head(each)
    chosen = pd.concat([right, sure[~sure["right"]].head(each)], ignore_index=True)
    return chosen[table.columns]


def confident_mistakes(table: pd.DataFrame, each: int | None = None) -> pd.DataFrame:
    """The wrong answers, the most probable first; all of them, or `each` at most.

    table as `predictions` gives it. Wrong means that the most probable class is not the true one.
    Further columns: predicted ("benign", say, or "the rest" where only melanoma is known) and
    sureness, the probability of that answer.
    """
    judged = _judged(table)
    wrong = judged[~judged["right"]].sort_values("sureness", ascending=False, kind="stable")
    return wrong[:each].reset_index(drop=True)[[*table.columns, "predicted", "sureness"]]


def least_certain(table: pd.DataFrame, each: int | None = None) -> pd.DataFrame:
    """The cases, right or wrong, from the least certain on: where two answers lie closest.

    As `confident_mistakes`, with the column margin, the difference of the two probabilities.
    """
    close = _judged(table).sort_values("margin", kind="stable")
    return close[:each].reset_index(drop=True)[[*table.columns, "predicted", "margin"]]


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """The table with predicted, sureness, margin, and whether the answer is right."""
    names = [name for name in CLASSES if name in table.columns]
    probabilities, truth = table[names].to_numpy(), table["label"].to_numpy()
    if len(names) == 1:  # melanoma against the rest: the rest is the second class
        probabilities = np.hstack([probabilities, 1 - probabilities])
        truth = (truth != 0).astype(int)
        names.append("the rest")
    answer = probabilities.argmax(axis=1)
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    return table.assign(
        predicted=[names[number].replace("_", " ") for number in answer],
        sureness=first,
        margin=first - second,
        right=answer == truth,
    )
