"""The experiments: one frozen row each, a baseline and only what differs from it.

`get("2-2", epochs=50)` gives row 2-2 with 50 epochs. A row has the question it answers and the
published numbers to compare with. Five profiles give the recipe: "paper" (Zhang et al., IEEE TMI
2019, classifiers only), "coursework" (its re-implementation by students), "best" (ours, for a
GPU), "light" (ours, half an hour to an hour a run on a CPU core) and "demo" (minutes on a CPU).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from dataclasses import replace as changed
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from experiments import classification, deviations, networks, segmentation
from experiments.classification import SAME_RUN
from experiments.published import Published
from experiments.row import ClassificationRow, SegmentationRow
from utils.data.names import CLASSES
from utils.system.experiment import Task
from utils.system.fold import Folds
from utils.system.size import LARGEST, Size

__all__ = [
    "AGAINST",
    "BASELINES",
    "OTHERS",
    "PROFILES",
    "ROWS",
    "SAME_RUN",
    "UNTRAINED",
    "ClassificationRow",
    "Published",
    "Row",
    "SegmentationRow",
    "baselines_of",
    "check",
    "check_notebook",
    "get",
    "of_task",
    "profiles",
    "restore",
    "task_of",
]

Row = ClassificationRow | SegmentationRow
BASELINES: dict[str, Row] = {**classification.BASELINES, **segmentation.BASELINES}
ROWS: dict[str, Row] = {**classification.ROWS, **segmentation.ROWS, **BASELINES}
OTHERS: dict[str, Row] = {**classification.OTHERS}
UNTRAINED = BASELINES | OTHERS  # whose runs have no network of a classifier
AGAINST = {**classification.AGAINST, **segmentation.AGAINST}
PROFILES = tuple(classification.RECIPES)
TRAINED_BY: dict[str, Mapping[str, Row]] = {
    "ARL-CNN.ipynb": classification.ROWS,
    "Segmentation.ipynb": segmentation.ROWS,
}
# What a baseline takes from a profile's recipe, and from the run beside which it is made: which
# images it learns from. All else in a recipe is about training.
_IMAGES = ("train_list", "select_on", "train_images", "stored_size", "image_size")
_STARTS = ("weights", "encoder_from", "crop_from")
BASELINES_TAKE = ("train_list", "select_on", "fold", "allow_missing")


def profiles(name: str) -> tuple[str, ...]:
    """The profiles that row `name` has a recipe for."""
    return tuple(_table(name).RECIPES)


def check_notebook(name: str, notebook: str) -> None:
    """ValueError for a row that this notebook does not train, naming the one that does."""
    own = TRAINED_BY[notebook]
    if isinstance(name, str) and name in BASELINES:
        raise ValueError(
            f"row {name!r} is a baseline, for which nothing is trained: python reproduce.py {name} "
            f"makes it, and so do the evaluations; the rows of {notebook} are {', '.join(own)}."
        )
    for other, rows in TRAINED_BY.items():
        if rows is not own and str(name).strip().lower() in rows:
            raise ValueError(
                f"row {name!r} is trained by {other}: open that one, or choose a row of "
                f"{notebook}: {', '.join(own)}."
            )
    _check("row", name, tuple(own))


def get(
    name: str,
    profile: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    splits: Collection[str] | None = None,
    side: int | None = None,
    **overrides: Any,
) -> Row:
    """The row called name, with the profile's recipe and then the overrides that are not None.

    classes, splits and side (px, the shorter one of the photographs) are those of the data. On
    other classes than ISIC 2017's a classifier has as many outputs, class weights that balance
    them, and nothing published to be compared with; where there is no validation split, a recipe's
    select_on is "holdout"; where photographs are smaller than profile "best" would store them, so
    are its images.

    weights and encoder_from "none" mean from scratch, crop_from "none" whole images; an
    encoder_from replaces the row's weights. A segmenter's sizes are (width, height), "336x224", or
    one side of a square. A larger image_size raises stored_size with it, and one that is not square
    rules out quarter turns. A network is one of a library, as "timm:convnext_tiny" or
    "smp:Unet/resnet18". Raises ValueError for an unknown row, profile, field or value, listing the
    known ones.
    """
    profile = "best" if profile is None else profile
    changes = _recipe(name, profile)
    for override in overrides:
        _check("field", override, [entry.name for entry in fields(ROWS[name])])
    given = {key: value for key, value in overrides.items() if value is not None}
    if "network" in given:
        if name in BASELINES:
            raise ValueError(f"row {name!r} is a baseline, which takes no other network.")
        usual = changes.get("network", ROWS[name].network)
        given |= networks.in_place_of(ROWS[name], usual, given["network"])
    changes |= given
    if classes and tuple(classes) != CLASSES:
        changes |= _on_own(ROWS[name], tuple(classes)) | given
    if splits is not None and "validation" not in splits and "select_on" not in given:
        changes["select_on"] = "holdout"
    if profile == "best" and side is not None and side < _longer(changes.get("stored_size", 0)):
        changes |= _table(name).SMALL | given
    if changes.get("fold") is not None:
        changes |= {"select_on": "fold", "keep": "last"} | given
    changes |= _starts(changes, given)
    if "image_size" in given:
        changes |= _sizes(ROWS[name], changes, given)
    changes = {"deviations": deviations.of(profile, name)} | changes
    return changed(ROWS[name], profile=profile, **changes)


def _recipe(name: str, profile: str) -> dict[str, Any]:
    """What a profile changes in row `name`."""
    _check("row", name, ROWS)
    table = _table(name)
    _check("profile", profile, PROFILES)
    _check(f"recipe of row {name}", profile, table.RECIPES)
    recipe = table.RECIPES[profile]
    if name in BASELINES:
        recipe = {key: value for key, value in recipe.items() if key in _IMAGES}
    return recipe | table.EXCEPTIONS.get((profile, name), {})


def _starts(changes: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a row starts from, None where "none" is asked for; ValueError for unknown fold runs."""
    starts = {key: changes[key] for key in _STARTS if key in changes}
    if starts.get("encoder_from", "none") != "none" and "weights" not in given:
        starts["weights"] = None
    for key, start in starts.items():
        if start == "none":
            starts[key] = None
        elif type(start) is int or isinstance(start, Path):
            starts[key] = str(start)  # papermill turns a name of digits into a number
    if isinstance(starts.get("crop_from"), str):
        _check("segmentation row", Folds.parse(starts["crop_from"]).row, segmentation.ROWS)
    return starts


def _sizes(row: Row, changes: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a given image_size changes besides: the stored size, and the views of what is square."""
    most: Any = LARGEST
    seen = changed(row, image_size=given["image_size"], stored_size=most).image_size
    sizes: dict[str, Any] = {}
    if "stored_size" not in given:
        stored = changes.get("stored_size", row.stored_size)
        larger = Size(*map(max, stored, seen)) if isinstance(seen, Size) else max(stored, seen)
        sizes["stored_size"] = larger
    square = not isinstance(seen, Size) or seen.width == seen.height
    if changes.get("views") == 8 and "views" not in given and not square:
        sizes["views"] = 4  # quarter turns are for squares
    return sizes


def _longer(size: int | Sequence[int]) -> int:
    """The longer side of a size, px."""
    return size if isinstance(size, int) else max(size)


def _on_own(row: Row, classes: tuple[str, ...]) -> dict[str, Any]:
    """What a row becomes on classes that are not ISIC 2017's."""
    if row.task == "masks":
        return {}
    own: dict[str, Any] = {"classes": classes, "published": (), "deviations": ()}
    if row.num_classes == 1:
        return own | {"select_score": row.select_score.replace(CLASSES[0], classes[0])}
    weights: Any = None if row.class_weights is None else "balanced"
    if row.class_weights == (1.0, 1.0, 1.0):  # what the row is about
        weights = (1.0,) * len(classes)
    return own | {"num_classes": len(classes), "class_weights": weights}


def of_task(task: Task) -> dict[str, Row]:
    """The experiments of a task by name, its baselines last."""
    return {name: row for name, row in ROWS.items() if row.task == task}


def baselines_of(experiment: Row) -> list[Row]:
    """The baselines of its task that learn from the same images as an experiment."""
    same = {name: getattr(experiment, name) for name in (*BASELINES_TAKE, "seed")}
    if experiment.train_list == "patches":  # crops of the official images
        same["train_list"] = "official"
    names = [name for name, row in BASELINES.items() if row.task == experiment.task]
    classes = getattr(experiment, "classes", None)
    return [get(name, experiment.profile, classes=classes, **same) for name in names]


def check(rows: Iterable[Row], **overrides: Any) -> None:
    """ValueError for an override, not None, that one of the rows cannot have."""
    given = {key: value for key, value in overrides.items() if value is not None}
    for row in rows:
        changed(row, **given)


def restore(settings: dict[str, Any]) -> Row:
    """The row that a run's `config.json` holds under "row".

    A field that is missing in an older file has its default. Raises ValueError for an unknown
    field, and for an invalid value.
    """
    if task_of(settings) == "masks":
        return SegmentationRow.restore(settings)
    return ClassificationRow.restore(settings)


def task_of(settings: Mapping[str, Any]) -> Task:
    """The task of a row in a `config.json`; files of early versions lack it."""
    for task in get_args(Task):
        if settings.get("task") == task:
            return task
    if known := ROWS.get(settings.get("name", "")):
        return known.task
    return "masks" if "test_image" in settings else "labels"


def _table(name: str) -> ModuleType:
    """The module that holds the row."""
    return segmentation if ROWS[name].task == "masks" else classification


def _check(what: str, name: Any, known: Any) -> None:
    if not isinstance(name, str) or name not in known:
        kind, of, rest = what.partition(" of ")
        raise ValueError(
            f"no {what} called {name!r}; the {kind}s{of}{rest} are {', '.join(known)}."
        )
