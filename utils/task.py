"""What differs between the two tasks, classifying and segmenting, as functions in one table.

    task.of(experiment).training_set(experiment, prepared, images)

It is above the rooms, which get its functions as arguments, and loads no torch by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from utils import data
from utils.evaluation.conventions import Key
from utils.evaluation.score_tables import Scores, label_points, mask_points
from utils.system.experiment import Classification, Experiment, Segmentation, Task

if TYPE_CHECKING:  # it loads torch
    import pandas as pd

    from utils.data.loaders import TrainingSet
    from utils.data.store import Store

E = TypeVar("E", bound=Experiment)


class Functions(NamedTuple, Generic[E]):
    """What one task does in its own way; `images` is a table as `data.read` gives it."""

    plural: str  # what its networks are called
    rank: Key  # the score that ranks them
    rank_name: str
    training_set: Callable[[E, Store, pd.DataFrame], TrainingSet]  # augmented
    points: Callable[[Mapping[str, Scores], Mapping[str, E]], pd.DataFrame]  # of a forest plot


def _training_patches(
    experiment: Classification, prepared: Store, images: pd.DataFrame
) -> TrainingSet:
    transform = data.patches.transform_of(experiment)
    return data.TrainingPatches(prepared, images, transform, experiment.seed)


def _training_masks(experiment: Segmentation, prepared: Store, images: pd.DataFrame) -> TrainingSet:
    transform = data.masks.transform_of(experiment)
    return data.TrainingMasks(prepared, images, transform, experiment.seed)


TASKS: dict[Task, Functions[Any]] = {
    "labels": Functions(
        "Classifiers", ("official", "mean_auc"), "mean AUC", _training_patches, label_points
    ),
    "masks": Functions(
        "Segmenters", ("official", "jaccard"), "mean Jaccard", _training_masks, mask_points
    ),
}


def of(experiment: Experiment) -> Functions[Any]:
    """The functions of an experiment's task."""
    return TASKS[experiment.task]
