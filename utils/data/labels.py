"""Classes of images: their names, how many images each has, and whether a network can learn them.

`images` is a table as `data.read` gives it; its `attrs["classes"]` are the names by label, those of
ISIC 2017 where it says nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from utils.data import own
from utils.data.names import CLASSES, PREFIXES, SPLITS
from utils.data.tables import NO_LABEL
from utils.system.errors import DataError, listed
from utils.system.experiment import Classification


def classes(data_dir: Path) -> tuple[str, ...]:
    """The names of the classes in the folder by label: 2 to 20; () for masks alone."""
    return own.classes(data_dir) if own.is_own(data_dir) else CLASSES


def classes_of(images: pd.DataFrame) -> tuple[str, ...]:
    """The names of the classes of a table of images."""
    return images.attrs.get("classes", CLASSES)


def class_counts(images: pd.DataFrame) -> pd.DataFrame:
    """Images per split and class, in class order, then those without label, if any, and all."""
    names = classes_of(images)
    labels = [*range(len(names)), *([NO_LABEL] if (images["label"] == NO_LABEL).any() else [])]
    counts = pd.crosstab(images["split"], images["label"]).reindex(columns=labels, fill_value=0)
    counts.columns = [*names, "no label"][: len(labels)]
    counts["all"] = counts.sum(axis=1)
    return counts.reindex([s for s in SPLITS if s in counts.index])


def class_weights(experiment: Classification, train: pd.DataFrame) -> tuple[float, ...] | None:
    """The experiment's class weights; "balanced" ones are n / (C n_c) on these images.

    They are those of class 0 and of the rest for a network with one output.
    """
    if experiment.class_weights != "balanced":
        return experiment.class_weights
    labels = train["label"].clip(upper=1) if experiment.num_classes == 1 else train["label"]
    counts = labels.value_counts().reindex(range(max(2, experiment.num_classes)), fill_value=0)
    return tuple((len(labels) / (len(counts) * counts)).tolist())


def require_labels(images: pd.DataFrame) -> None:
    """DataError where an image has no label, which a classifier needs."""
    without = images[images["label"] == NO_LABEL]
    for split, part in without.groupby("split", sort=False):
        official = f"put {PREFIXES[str(split)][0]}_Part3_GroundTruth.csv into the data folder"
        raise DataError(
            f"images of the {split} split without labels: {listed(part['id'])}; "
            f"{'add labels.csv' if 'group' in images else official}, or move the "
            "split elsewhere. Without labels only segmenters can be used (Segmentation.ipynb)."
        )


def require_classes(classes: int, train: pd.DataFrame, select: pd.DataFrame) -> None:
    """DataError where a classifier cannot learn its classes from train, or be selected on select.

    classes is the number of its outputs: 1 tells melanoma, or class 0, from the rest.
    """
    known = classes_of(train)
    trained, selected = (
        part["label"].value_counts().reindex(range(len(known)), fill_value=0)
        for part in (train, select)
    )
    if _suffices(trained, classes) and _suffices(selected, classes):
        return
    place, counts, names = "to train on", trained, "the segmenters"
    if _suffices(trained, 1) and _suffices(selected, 1):
        names = f"row 1-4 ({known[0]} against the rest) and {names}"
    cure = f"With these {names} can be trained"
    if _suffices(trained, classes):
        place, counts = "to choose the epoch on", selected
        if (select["split"] == "validation").all():
            cure = "Add more, or choose it on a part of the training images (select_on='holdout')"
    one = "melanomas" if known[0] == CLASSES[0] else f"images of {known[0]}"
    needed = f"{one} and others" if classes == 1 else "images of each class"
    raise DataError(f"this row needs {needed} {place}; found {numbers(counts, known)}. {cure}.")


def _suffices(counts: pd.Series, classes: int) -> bool:
    """Whether these images of each class are enough for that number of outputs."""
    return bool(counts[0] > 0 and counts[1:].sum() > 0) if classes == 1 else bool(counts.min() > 0)


def numbers(counts: pd.Series, classes: Sequence[str]) -> str:
    """The images of each class for a message; counts are by label."""
    names = [classes[label] if label >= 0 else "no label" for label in counts.index.tolist()]
    return ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))
