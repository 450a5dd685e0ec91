"""Which task is this? What classifiers and segmenters differ in, as functions, in one table.

    task.of(experiment).training_set(experiment, prepared, images)

It stands above the rooms, which get its functions as arguments: notebooks, `study`, `bench` and
tests import it. Nothing heavy is loaded before one of the functions is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from utils import data, evaluation, model
from utils.system.experiment import Classification, Experiment, Segmentation, Task

if TYPE_CHECKING:  # they load torch, or pandas
    import numpy as np
    import pandas as pd
    from torch import nn
    from torch.utils.data import DataLoader

    from utils.data.loaders import LesionDataset, TrainingSet
    from utils.data.store import Store
    from utils.evaluation.counts import Counts

E = TypeVar("E", bound=Experiment)
Scores = Mapping[str, Any]  # the content of a score file


class Functions(NamedTuple, Generic[E]):
    """What one of the tasks does in its own way; `images` is a table as `data.read` gives it."""

    training_set: Callable[[E, Store, pd.DataFrame], TrainingSet]  # augmented
    test_set: Callable[[E, Store, pd.DataFrame], LesionDataset]  # with all of its views
    predict: Callable[[nn.Module, DataLoader, str], np.ndarray | Counts]  # as `model.fit` takes it
    epoch_scores: Callable[[pd.DataFrame, Any], dict[str, Any]]  # of images, and what was predicted
    scores: Callable[[pd.DataFrame], dict[str, Any]]  # of predictions, or of per-image results
    table: Callable[[Scores], pd.DataFrame]
    summary: Callable[[Scores], str]
    comparison: Callable[[Scores, E], pd.DataFrame]  # beside published numbers
    points: Callable[[Mapping[str, Scores], Mapping[str, E]], pd.DataFrame]  # of a forest plot
    differences: Callable[[Mapping[str, pd.DataFrame]], pd.DataFrame]  # of predictions, or results


def _training_patches(
    experiment: Classification, prepared: Store, images: pd.DataFrame
) -> TrainingSet:
    transform = data.patches.training_transform(
        experiment.image_size, experiment.patch_scales, experiment.colour
    )
    return data.TrainingPatches(prepared, images, transform, experiment.seed)


def _training_masks(experiment: Segmentation, prepared: Store, images: pd.DataFrame) -> TrainingSet:
    transform = data.masks.training_transform(experiment.image_size, experiment.colour)
    return data.TrainingMasks(prepared, images, transform, experiment.seed)


LABELS: Functions[Classification] = Functions(
    training_set=_training_patches,
    test_set=lambda experiment, prepared, images: data.TestViews(
        prepared, images, experiment.image_size, experiment.views
    ),
    predict=lambda network, loader, precision: model.predict(network, loader, precision),
    epoch_scores=lambda images, predicted: evaluation.epoch_scores(images["label"], predicted),
    scores=lambda table: evaluation.conventions.classification_scores(
        table["label"], table[evaluation.classes_in(table)]
    ),
    table=lambda scores: evaluation.score_tables.label_table(scores),
    summary=lambda scores: evaluation.summary(scores),
    comparison=lambda scores, experiment: evaluation.score_tables.label_comparison(
        scores, experiment
    ),
    points=lambda runs, experiments: evaluation.score_tables.label_points(runs, experiments),
    differences=lambda tables: evaluation.paired.label_differences(tables),
)
MASKS: Functions[Segmentation] = Functions(
    training_set=_training_masks,
    test_set=lambda experiment, prepared, images: data.TestImages(
        prepared, images, experiment.image_size, experiment.test_image
    ),
    predict=lambda network, loader, precision: evaluation.pixel_counts(network, loader, precision),
    epoch_scores=lambda _, predicted: evaluation.masks.official(predicted),
    scores=lambda table: evaluation.conventions.segmentation_scores(evaluation.counts_of(table)),
    table=lambda scores: evaluation.score_tables.mask_table(scores),
    summary=lambda scores: evaluation.summary(scores),
    comparison=lambda scores, experiment: evaluation.score_tables.mask_comparison(
        scores, experiment
    ),
    points=lambda runs, experiments: evaluation.score_tables.mask_points(runs, experiments),
    differences=lambda tables: evaluation.paired.mask_differences(tables),
)
TASKS: dict[Task, Functions[Any]] = {"labels": LABELS, "masks": MASKS}


def of(experiment: Experiment) -> Functions[Any]:
    """The functions of an experiment's task."""
    return TASKS[experiment.task]
