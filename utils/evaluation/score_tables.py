"""Score files to look at: a summary, tables, ours beside published numbers, points of a figure."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from utils.data.splits import CLASSES
from utils.evaluation import published
from utils.evaluation.intervals import interval_text
from utils.evaluation.masks import METRICS, TABLE_NAMES
from utils.evaluation.score_files import Score, area_name, headline
from utils.system.experiment import Experiment, Published

LABEL_METRICS = {"auc": "AUC", "accuracy": "ACC", "sensitivity": "SE", "specificity": "SP"}
LABEL_TITLES = {"official": "official (score > 0.5)", "coursework": "coursework (argmax)"}
MASK_TITLES = {
    "official": "official (mean of images)",
    "coursework": "coursework (pooled, with background)",
    "lesion": "lesion (pooled)",
}
_SHORT = {"M": CLASSES[0], "SK": CLASSES[1]}

Scores = Mapping[str, Any]  # what `score_files.read` gives
Runs = Mapping[str, Scores]  # by the run's name


def summary(scores: Scores) -> str:
    """The headline scores of a score file with intervals, a line each, under the data's name."""
    views, clean_up = scores.get("views", 1), scores.get("clean_up", False)
    way = f", {views} views" * (views > 1) + ", cleaned up" * clean_up
    what = f"{scores['data']}, {scores['split']} split{way}"
    lines = [f"{what}, {scores['n']} images, 95 % intervals:"]
    for name, score in headline(scores).items():
        missing = " (a class is missing)" * (score["value"] is None)
        lines.append(f"  {name}: {_cell(score)}{missing}")
    split = scores["split"].split("-")[0]  # "validation-1-views" is the validation split, too
    if scores.get("selected_on") == split:
        lines.append("  the epoch was chosen on these very images: the scores flatter")
    return "\n".join(lines)


def label_table(scores: Scores, digits: int = 3) -> pd.DataFrame:
    """The scores of a classifier to look at: cells "value [low, high]".

    Rows are (convention, class), columns AUC, ACC, SE, SP. "mean" and "all classes" hold the one
    score that is not a class's; a score that a row does not have is "", one undefined "undefined".
    """
    rows = {}
    for convention, title in LABEL_TITLES.items():
        for name, entry in scores[convention].items():
            if name in CLASSES:
                rows[title, name.replace("_", " ")] = entry
            elif name == "mean_auc":
                rows[title, "mean"] = {"auc": entry}
            else:
                rows[title, "all classes"] = {"accuracy": entry}
    cells = [[_cell(row.get(metric), digits) for metric in LABEL_METRICS] for row in rows.values()]
    index = pd.MultiIndex.from_tuples(list(rows), names=["convention", "class"])
    return pd.DataFrame(cells, index=index, columns=list(LABEL_METRICS.values()))


def mask_table(scores: Scores, digits: int = 3) -> pd.DataFrame:
    """The scores of a segmenter to look at: columns are the conventions, rows ACC … TJI.

    Cells as in `label_table`.
    """
    columns = {
        title: [_cell(scores[name].get(metric), digits) for metric in METRICS]
        for name, title in MASK_TITLES.items()
    }
    return pd.DataFrame(columns, index=[TABLE_NAMES[metric] for metric in METRICS])


def _cell(score: Score | None, digits: int = 3) -> str:
    if score is None:
        return ""
    return interval_text(score["value"], score["low"], score["high"], digits)


def label_comparison(scores: Scores, experiment: Experiment) -> pd.DataFrame:
    """Ours above each published study, for melanoma (M) and seborrheic keratosis (SK).

    Ours in the coursework's convention (argmax, class against the rest), which the coursework's
    numbers follow. The studies are those of the experiment; on synthetic data ours stand alone.
    """
    name = f"ours, row {experiment.name} ({scores['data']}, {scores['split']} split)"
    ours = scores["coursework"]
    table = {
        (name, published.trained_on(scores, experiment.train_list)): {
            f"{short} {title}": ours[label][metric]["value"]
            for short, label in _SHORT.items()
            if label in ours
            for metric, title in LABEL_METRICS.items()
        }
    }
    for study in published.shown(scores, experiment):
        table[study.source, study.training_list] = {
            f"{short} {title}": study.scores.get(f"{label}_{metric}", np.nan)
            for short, label in _SHORT.items()
            for metric, title in LABEL_METRICS.items()
        }
    frame = pd.DataFrame.from_dict(table, orient="index").round(3)
    frame.index.names = ["study", "trained on"]
    return frame


def mask_comparison(scores: Scores, experiment: Experiment) -> pd.DataFrame:
    """Ours above each published study, each in its own convention only.

    Rows are named by convention and source, columns ACC SE SP JSI DSC TJI as texts, and "trained
    on". The studies are those of the experiment; on synthetic data ours stand alone.
    """
    ours = f"this run ({scores['data']}, {scores['split']})"
    trained = published.trained_on(scores, experiment.train_list)
    shown = published.shown(scores, experiment)
    lines = {}
    for convention in ("coursework", "official"):
        if not any(study.convention == convention for study in experiment.published):
            continue
        title = MASK_TITLES[convention]
        values = {name: score["value"] for name, score in scores[convention].items()}
        lines[title, ours] = _texts(values) | {"trained on": trained}
        for study in (study for study in shown if study.convention == convention):
            lines[title, study.source] = _texts(study.scores) | {"trained on": study.training_list}
    index = pd.MultiIndex.from_tuples(list(lines), names=["convention", "source"])
    return pd.DataFrame(list(lines.values()), index=index)


def _texts(values: Mapping[str, float]) -> dict[str, str]:
    return {
        short: f"{values[name]:.4f}" if name in values else ""  # as many digits as were printed
        for name, short in TABLE_NAMES.items()
    }


def label_points(runs: Runs, experiments: Mapping[str, Experiment]) -> pd.DataFrame:
    """AUCs of several runs, then the published ones of their experiments; a row a point.

    runs: contents of score files, experiments: theirs, both by the run's name; each study comes
    once (its mean AUC is that of the two it prints), where it is comparable (`published.reason`).
    Columns run, metric ("AUC melanoma", …, "mean AUC"), value, low, high (nan where undefined or
    published), published.
    """

    def theirs(study: Published) -> tuple[str, dict[str, float]]:
        values = {
            area_name(name): study.scores[f"{name}_auc"]
            for name in CLASSES[:2]
            if f"{name}_auc" in study.scores
        }
        if len(values) == 2:
            values["mean AUC"] = sum(values.values()) / 2
        return f"{study.source} ({study.training_list})", values

    return _points(runs, experiments, headline, theirs)


def mask_points(runs: Runs, experiments: Mapping[str, Experiment]) -> pd.DataFrame:
    """The same for segmenters: Jaccard, Dice and sensitivity, in the official convention alone."""
    shown = {"jaccard": "Jaccard", "dice": "Dice", "sensitivity": "sensitivity"}

    def ours(scores: Scores) -> dict[str, Score]:
        return {title: scores["official"][name] for name, title in shown.items()}

    def theirs(study: Published) -> tuple[str, dict[str, float]]:
        official = study.scores if study.convention == "official" else {}
        values = {title: official[name] for name, title in shown.items() if name in official}
        return study.source, values

    return _points(runs, experiments, ours, theirs)


def _points(
    runs: Runs,
    experiments: Mapping[str, Experiment],
    ours: Callable[[Scores], dict[str, Score]],
    theirs: Callable[[Published], tuple[str, dict[str, float]]],
) -> pd.DataFrame:
    points: list[dict[str, Any]] = [
        {"run": run, "metric": metric, **score, "published": False}
        for run, scores in runs.items()
        for metric, score in ours(scores).items()
    ]
    for study in published.comparable(runs, experiments):
        source, values = theirs(study)
        points += [
            {"run": source, "metric": metric, "value": value, "published": True}
            for metric, value in values.items()
        ]
    table = pd.DataFrame(points, columns=["run", "metric", "value", "low", "high", "published"])
    return table.astype({"value": float, "low": float, "high": float})
