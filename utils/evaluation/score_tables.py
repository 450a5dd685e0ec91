"""Score files for display: a summary, tables, published numbers beside ours, points of a figure."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from utils.data.names import CLASSES
from utils.evaluation import published
from utils.evaluation.conventions import MEANS
from utils.evaluation.intervals import interval_text
from utils.evaluation.masks import TABLE_NAMES
from utils.evaluation.score_files import Score, area_name, headline
from utils.system.experiment import Experiment, Published

LABEL_METRICS = {"auc": "AUC", "accuracy": "ACC", "sensitivity": "SE", "specificity": "SP"}
LABEL_TITLES = {
    "official": "official (score > 0.5)",
    "coursework": "coursework (argmax)",
    "one_vs_rest": "each class against the rest (argmax)",
}
MASK_TITLES = {
    "official": "official (mean of images)",
    "coursework": "coursework (pooled, with background)",
    "lesion": "lesion (pooled)",
}
_SHORT = {"M": CLASSES[0], "SK": CLASSES[1]}

Scores = Mapping[str, Any]  # what `score_files.read` gives
Runs = Mapping[str, Scores]  # by the run's name


def summary(scores: Scores) -> str:
    """The headline scores of a score file with intervals, one per line, under the data's name."""
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
    """The scores of a classifier for display: cells "value [low, high]" or "undefined".

    Rows are (convention, class), columns AUC, ACC, SE, SP. Rows "mean" and "all classes" have a
    single score; the other cells are "". (The mean SE is the balanced accuracy.)
    """
    rows: dict[tuple[str, str], dict[str, Score]] = {}
    for convention, title in LABEL_TITLES.items():
        for name, entry in scores.get(convention, {}).items():
            if "value" not in entry:
                rows[title, name.replace("_", " ")] = entry
            elif name in MEANS:
                rows.setdefault((title, "mean"), {})[MEANS[name]] = entry
            else:
                rows[title, "all classes"] = {"accuracy": entry}
    cells = [_cells(row, LABEL_METRICS, digits) for row in rows.values()]
    index = pd.MultiIndex.from_tuples(list(rows), names=["convention", "class"])
    return pd.DataFrame(cells, index=index, columns=list(LABEL_METRICS.values()))


def mask_table(scores: Scores, digits: int = 3) -> pd.DataFrame:
    """The scores of a segmenter for display: a column per convention, rows ACC … TJI."""
    columns = {
        title: _cells(scores[name], TABLE_NAMES, digits) for name, title in MASK_TITLES.items()
    }
    return pd.DataFrame(columns, index=[*TABLE_NAMES.values()])


def _cells(scores: Mapping[str, Score], metrics: Iterable[str], digits: int) -> list[str]:
    return [_cell(scores[name], digits) if name in scores else "" for name in metrics]


def _cell(score: Score, digits: int = 3) -> str:
    return interval_text(score["value"], score["low"], score["high"], digits)


def label_comparison(scores: Scores, experiment: Experiment) -> pd.DataFrame:
    """Ours above each published study of the experiment, for melanoma (M) and keratosis (SK).

    Ours in the coursework's convention (argmax, class against the rest), as the coursework's
    numbers are. On synthetic data ours alone. Scores of other classes than ISIC 2017's lack that
    convention: KeyError.
    """
    name = f"ours, row {experiment.name} ({scores['data']}, {scores['split']} split)"
    ours: Mapping[str, Any] = {
        f"{label}_{metric}": score["value"]
        for label in CLASSES
        for metric, score in scores["coursework"].get(label, {}).items()
    }
    lines = {(name, published.trained_on(scores, experiment.train_list)): ours}
    for study in published.shown(scores, experiment):
        lines[study.source, study.training_list] = study.scores
    columns = {
        f"{label}_{metric}": f"{short} {title}"
        for short, label in _SHORT.items()
        for metric, title in LABEL_METRICS.items()
    }
    index = pd.MultiIndex.from_tuples(list(lines), names=["study", "trained on"])
    table = pd.DataFrame(list(lines.values()), index, [*columns], dtype=float)
    return table.rename(columns=columns).round(3)


def mask_comparison(scores: Scores, experiment: Experiment) -> pd.DataFrame:
    """Ours above each published study of the experiment, each in its own convention only.

    Rows are (convention, source), columns ACC SE SP JSI DSC TJI as texts, and "trained on". On
    synthetic data ours alone.
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
        short: f"{values[name]:.4f}" if name in values else ""  # the digits of the publications
        for name, short in TABLE_NAMES.items()
    }


def label_points(runs: Runs, experiments: Mapping[str, Experiment]) -> pd.DataFrame:
    """AUCs of several runs, then the published ones of their experiments; one row per point.

    runs: contents of score files, experiments: theirs, both by the run's name. Each comparable
    study comes once (see `published.comparable`), its mean AUC that of the two it prints. Columns
    run, metric ("AUC melanoma", …, "mean AUC"), value, low, high (nan where undefined or
    published), published.
    """

    def theirs(study: Published) -> tuple[str, dict[str, float]]:
        areas = {area_name(name): f"{name}_auc" for name in CLASSES[:2]}
        values = {title: study.scores[key] for title, key in areas.items() if key in study.scores}
        if len(values) == 2:
            values["mean AUC"] = sum(values.values()) / 2
        return f"{study.source} ({study.training_list})", values

    return _points(runs, experiments, headline, theirs)


def mask_points(runs: Runs, experiments: Mapping[str, Experiment]) -> pd.DataFrame:
    """The same for segmenters: Jaccard, Dice and sensitivity, in the official convention only."""
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
