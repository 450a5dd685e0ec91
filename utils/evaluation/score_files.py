"""The score file of a run, `scores-<split>.json`: written and read here only.

It has the scores as described in `conventions`, the data, the split, the images that chose the
epoch, and for a segmenter how its masks were made.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from utils.evaluation.conventions import classification_scores, segmentation_scores
from utils.evaluation.counts import counts_of
from utils.evaluation.labels import classes_in
from utils.evaluation.results import SEEN, classes_of
from utils.logger.run import RunFolder
from utils.system.errors import RunError
from utils.system.experiment import Segmentation, Task

OVERLAPS = {"jaccard": "Jaccard", "dice": "Dice", "threshold_jaccard": "threshold Jaccard"}

Score = dict[str, float | None]  # value, low, high


def label_scores(
    run: RunFolder, split: str, predictions: pd.DataFrame, note: str
) -> dict[str, Any]:
    """Scores of a classifier in its conventions with 95 % intervals, written to its score file.

    predictions as `results.predictions` gives them; note is the data's name ("synthetic demo data",
    "ISIC 2017").
    """
    probabilities = predictions[classes_in(predictions)].to_numpy()
    truth, classes = predictions["label"].to_numpy(), classes_of(run)
    scores = classification_scores(truth, probabilities, classes=classes)
    return _write(run, split, {"data": note, "split": split}, scores)


def mask_scores(
    run: RunFolder, split: str, per_image: pd.DataFrame, note: str, settings: Segmentation
) -> dict[str, Any]:
    """Scores of a segmenter in all conventions with 95 % intervals, written to its score file.

    per_image as `results.per_image` gives it, made with these settings; note as in `label_scores`.
    split may have a suffix: "validation-8-views" is the validation split.
    """
    made = {"test_image": run.config.get("row", {}).get("test_image", "whole")}
    made |= {name: getattr(settings, name) for name in ("views", "threshold", "clean_up")}
    seen = counts_of(per_image, SEEN) if f"{SEEN}tp" in per_image else None
    scores = segmentation_scores(counts_of(per_image), seen=seen)
    return _write(run, split, {"data": note, "split": split.split("-")[0]}, made | scores)


def _write(
    run: RunFolder, split: str, about: dict[str, Any], scores: dict[str, Any]
) -> dict[str, Any]:
    row = run.config.get("row", {})
    chosen = row.get("keep", "best") == "best"  # else the last epoch is kept, whatever it scored
    content = about | {"selected_on": row.get("select_on", "") if chosen else ""} | scores
    run.save_json(f"scores-{split}.json", content)
    return content


def read(file: Path) -> dict[str, Any]:
    """The content of a score file of either task. RunError where its summary would have gaps."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        complete = _is_complete(content)
    except (OSError, ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        raise RunError(
            f"{file.name} is damaged: expected the scores of a finished run. Remove it and run the "
            "experiment again, which is quick."
        )
    return content


def task_of(scores: Mapping[str, Any]) -> Task:
    """The task of a score file's content."""
    return "masks" if "jaccard" in main(scores) else "labels"


def main(scores: Mapping[str, Any]) -> Mapping[str, Any]:
    """The scores of the convention that ranks runs: the official one, or of other classes theirs.

    KeyError where the file has none.
    """
    return scores["official"] if "official" in scores else scores["one_vs_rest"]


def headline(scores: Mapping[str, Any]) -> dict[str, Score]:
    """The scores that summarise a run, by their names: AUCs (and of other classes than ISIC 2017's
    the balanced accuracy), or mean overlaps."""
    ranking = main(scores)
    if task_of(scores) == "masks":
        return {f"mean {title}": ranking[name] for name, title in OVERLAPS.items()}
    classes = [name for name in ranking if "value" not in ranking[name]]
    shown = {area_name(name): ranking[name]["auc"] for name in classes}
    means = {"mean AUC": "mean_auc", "balanced accuracy": "balanced_accuracy"}
    return shown | {title: ranking[name] for title, name in means.items() if name in ranking}


def area_name(class_name: str) -> str:
    """The name of a class's AUC in tables and figures.

    >>> area_name("seborrheic_keratosis")
    'AUC seborrheic keratosis'
    """
    return f"AUC {class_name.replace('_', ' ')}"


def _is_complete(content: dict[str, Any]) -> bool:
    """Whether everything in a summary has its type; KeyError or TypeError where it is missing."""
    types: dict[str, type] = {"data": str, "split": str, "n": int}
    if not isinstance(main(content), dict):
        return False
    undefined: list[list[None]] = [[None, None, None]]
    if task_of(content) == "masks":
        types |= {"views": int, "clean_up": bool, "selected_on": str}
        undefined = []  # these scores are always defined
    ends = [
        [score[end] for end in ("value", "low", "high")] for score in headline(content).values()
    ]
    return all(isinstance(content[name], kind) for name, kind in types.items()) and all(
        numbers in undefined or all(isinstance(number, int | float) for number in numbers)
        for numbers in ends
    )
