"""The score file of a run, `scores-<split>.json`: written here, and read here by everyone else.

It holds the scores as `conventions` lays them out, and what they are about: the data, the split,
the images that chose the epoch, and of a segmenter how its masks were made.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from utils.data.splits import CLASSES
from utils.evaluation.conventions import classification_scores, segmentation_scores
from utils.evaluation.counts import counts_of
from utils.evaluation.labels import classes_in
from utils.evaluation.settings import MaskSettings
from utils.logger.run import RunFolder
from utils.system.errors import RunError
from utils.system.experiment import Task

OVERLAPS = {"jaccard": "Jaccard", "dice": "Dice", "threshold_jaccard": "threshold Jaccard"}
_NUMBER = int | float

Score = dict[str, float | None]  # value, low, high


def label_scores(
    run: RunFolder, split: str, predictions: pd.DataFrame, note: str
) -> dict[str, Any]:
    """Scores of a classifier in both conventions with 95 % intervals, written to its score file.

    predictions as `results.predictions` gives them; note names the data ("synthetic demo data",
    "ISIC 2017").
    """
    probabilities = predictions[classes_in(predictions)].to_numpy()
    scores = classification_scores(predictions["label"].to_numpy(), probabilities)
    return _write(run, split, {"data": note, "split": split}, scores)


def mask_scores(
    run: RunFolder, split: str, per_image: pd.DataFrame, note: str, settings: MaskSettings
) -> dict[str, Any]:
    """Scores of a segmenter in all conventions with 95 % intervals, written to its score file.

    per_image as `results.per_image` gives it, made with these settings; note as in `label_scores`.
    split may say more: "validation-8-views" is the validation split.
    """
    made = {"test_image": run.config.get("row", {}).get("test_image", "whole")}
    made |= {name: getattr(settings, name) for name in ("views", "threshold", "clean_up")}
    scores = segmentation_scores(counts_of(per_image))
    return _write(run, split, {"data": note, "split": split.split("-")[0]}, made | scores)


def _write(
    run: RunFolder, split: str, about: dict[str, Any], scores: dict[str, Any]
) -> dict[str, Any]:
    selected_on = run.config.get("row", {}).get("select_on", "")
    content = about | {"selected_on": selected_on} | scores
    run.save_json(f"scores-{split}.json", content)
    return content


def read(file: Path) -> dict[str, Any]:
    """What a score file of either task holds. RunError where its summary would have gaps."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not _is_whole(content):
        raise RunError(
            f"{file.name} is damaged: expected the scores of a finished run. Remove it and run the "
            "experiment again, which is quick."
        )
    return content


def task_of(scores: Mapping[str, Any]) -> Task:
    """Which task the content of a score file is about."""
    return "masks" if "jaccard" in scores["official"] else "labels"


def headline(scores: Mapping[str, Any]) -> dict[str, Score]:
    """The official scores that a run is summed up by, under their names: AUCs, or mean overlaps."""
    official = scores["official"]
    if task_of(scores) == "masks":
        return {f"mean {title}": official[name] for name, title in OVERLAPS.items()}
    shown = {area_name(name): official[name]["auc"] for name in CLASSES[:2] if name in official}
    return shown | ({"mean AUC": official["mean_auc"]} if "mean_auc" in official else {})


def area_name(class_name: str) -> str:
    """What the AUC of a class is called in tables and figures.

    >>> area_name("seborrheic_keratosis")
    'AUC seborrheic keratosis'
    """
    return f"AUC {class_name.replace('_', ' ')}"


def _is_whole(content: Any) -> bool:
    """Whether the content of a score file has all that a summary names, as it should be."""
    if not _has(content, data=str, split=str, n=int, official=dict):
        return False
    undefined = [dict.fromkeys(("value", "low", "high"))]
    if task_of(content) == "masks":
        undefined = []  # these are always defined
        if not _has(content, views=int, clean_up=bool, selected_on=str):
            return False
    try:
        shown = headline(content).values()
    except (KeyError, TypeError):
        return False
    whole = {"value": _NUMBER, "low": _NUMBER, "high": _NUMBER}
    return all(score in undefined or _has(score, **whole) for score in shown)


def _has(entries: Any, **kinds: Any) -> bool:
    """Whether these are entries by name, among them all of kinds."""
    return isinstance(entries, dict) and all(
        isinstance(entries.get(name), kind) for name, kind in kinds.items()
    )
