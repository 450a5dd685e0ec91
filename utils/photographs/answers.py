"""What finished runs say of one photograph: numbers for the table, and pictures.

Probabilities and masks come from the functions of the evaluations, and are the same numbers.
Several classifiers give the mean of their probabilities, and of their calibrated ones.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import nn

from utils.data.decode import resized
from utils.data.loaders import evaluation_loader
from utils.data.masks import TestImages
from utils.data.patches import view, views_of
from utils.data.store import Store
from utils.evaluation import calibration, fitting
from utils.evaluation.full_size import at_original_size, lesion
from utils.evaluation.labels import both_answers, classes_in
from utils.evaluation.settings import mask_settings
from utils.logger.run import RunFolder
from utils.model import explain, forward
from utils.photographs import unlike
from utils.photographs.found import Photo
from utils.system.errors import RunError, listed
from utils.system.experiment import Classification, Experiment, Segmentation
from utils.visualize import overlay

CAUTION = "Research and teaching only: this is no medical device, and no diagnosis."
SMALL = 320  # px, the longer side of a picture on the page
Loaded = tuple[RunFolder, Any, nn.Module]  # a run, its experiment, its network with its weights


class Classifier(NamedTuple):
    """A classifier, and what its run knows of its probabilities and its training images."""

    run: RunFolder
    experiment: Classification
    network: nn.Module
    temperature: float | None
    statistics: unlike.Statistics | None


class Segmenter(NamedTuple):
    """A segmenter, and what its run knows of its training images."""

    run: RunFolder
    experiment: Segmentation
    network: nn.Module
    statistics: unlike.Statistics | None


class Models(NamedTuple):
    """Classifiers of the same classes by name, and at most one segmenter."""

    classifiers: dict[str, Classifier]
    segmenters: dict[str, Segmenter]

    @property
    def runs(self) -> dict[str, Classifier | Segmenter]:
        """All of them by name."""
        return {**self.classifiers, **self.segmenters}

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes with a probability: all, melanoma alone, or none without a classifier."""
        for one in self.classifiers.values():
            return one.experiment.classes[: one.experiment.num_classes]
        return ()

    @property
    def columns(self) -> list[str]:
        """Those of the table; px are the photo's own."""
        kinds = ["p"] + ["calibrated_p"] * bool(self.classifiers)
        chances = [f"{kind}_{name}" for kind in kinds for name in self.classes]
        each = [f"p_{self.classes[0]} {name}" for name in self.classifiers]
        lesions = ["area_px", "diameter_px"] * bool(self.segmenters)
        about = ["photo", "pictures", "width", "height"]
        rest = [*(each if len(each) > 1 else []), *lesions, "distance", "unlike", "error", "note"]
        return [*about, *chances, *rest]

    @property
    def measure(self) -> tuple[str, unlike.Statistics] | None:
        """The first run, classifiers first, that knows its training images, and what it knows."""
        known = ((name, one.statistics) for name, one in self.runs.items())
        return next(((name, statistics) for name, statistics in known if statistics), None)


def models_of(loaded: Mapping[str, Loaded]) -> Models:
    """The runs sorted by task; RunError for classifiers of different classes, or two segmenters."""
    classifiers, segmenters = {}, {}
    for name, (run, experiment, network) in loaded.items():
        if getattr(experiment, "crop_from", None):
            raise RunError(
                f"{name} sees the box of a lesion that {experiment.crop_from} found in the data; "
                "expected a run that sees whole images, such as one of row 3-1."
            )
        if experiment.task == "masks":
            segmenters[name] = Segmenter(run, experiment, network, unlike.read(run))
        else:
            known = temperature_of(run, experiment), unlike.read(run)
            classifiers[name] = Classifier(run, experiment, network, *known)
    sets = {(e.classes, e.num_classes) for _, e, *_ in classifiers.values()}
    if len(sets) > 1 or len(segmenters) > 1:
        raise RunError(
            f"{listed(loaded)} cannot answer together; expected classifiers of the same classes "
            "and at most one segmenter: name fewer with --runs."
        )
    return Models(classifiers, segmenters)


def temperature_of(run: RunFolder, experiment: Experiment) -> float | None:
    """The temperature that Evaluation-Cls fits.

    None where there are no images to fit it on, or these do not determine it.
    """
    table = fitting.predictions(run, experiment).table
    if table is None:
        return None
    melanoma = table["label"] == 0
    if melanoma.all() or not melanoma.any():
        return None
    found = calibration.fit_temperature(table["label"], table[classes_in(table)].to_numpy())
    within = 1.01 * calibration.COLDEST < found < calibration.HOTTEST / 1.01
    return found if within else None


class Answer(NamedTuple):
    """A line of the table without its names, and the pictures (H, W[, 3]) uint8 by name."""

    line: dict[str, Any]
    pictures: dict[str, np.ndarray]


def answer(photo: Photo, models: Models) -> Answer:
    """What the models say of a photo. PhotoError where it cannot be used."""
    height, width = photo.pixels.shape[:2]
    small = small_size(width, height)
    line: dict[str, Any] = {"width": width, "height": height}
    pictures = {"photo.jpg": resized(photo.pixels, small)}
    for segmenter in models.segmenters.values():
        mask = predicted_mask(photo, segmenter).astype(np.uint8) * 255
        line |= {"area_px": np.count_nonzero(mask), "diameter_px": diameter(mask)}
        pictures["mask.png"] = mask
        wide = max(1, round(max(height, width) / 256))
        pictures["outline.jpg"] = overlay.outlined(photo.pixels, mask, wide, overlay.PREDICTED)
        little = cv2.resize(mask, small, interpolation=cv2.INTER_NEAREST)
        seen = overlay.outlined(pictures["photo.jpg"], little, 2, overlay.PREDICTED)
        pictures["photo.jpg"] = seen
    if models.classifiers:
        more, heat = _labels(photo, models)
        line |= more
        if heat is not None:
            drawn = overlay.overlaid(resized(photo.pixels, small), heat)
            pictures["cam.jpg"] = (drawn * 255).round().astype(np.uint8)
    if measure := models.measure:
        name, statistics = measure
        one = models.runs[name]
        store = photo.store(one.experiment.stored_size)
        found = unlike.features(one.network, one.experiment, store, photo.images)
        distance = float(statistics.distances(found)[0])
        line |= {"distance": round(distance, 4), "unlike": "yes" if distance > 1 else "no"}
    return Answer(line, pictures)


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height on the page, in the same proportion."""
    scale = SMALL / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _labels(photo: Photo, models: Models) -> tuple[dict[str, Any], np.ndarray | None]:
    """The line's probabilities, and a map of what spoke for the answer, in [0, 1].

    The map is that of the first classifier, None where its network has none.
    """
    shown = next(iter(models.classifiers.values()))
    plain, found, scaled, line = torch.empty(0), [], [], {}
    for name, one in models.classifiers.items():
        store = photo.store(one.experiment.stored_size)
        chances = probabilities(photo, store, one).astype(np.float64)  # as the run's file has them
        found.append(chances)
        line[f"p_{models.classes[0]} {name}"] = chances[0, 0]
        if one.temperature is not None:
            scaled.append(calibration.scale(chances, one.temperature))
        if one is shown:
            seen = view(store.image(0), 0, one.experiment.image_size)
            plain = torch.from_numpy(seen[None]).movedim(-1, 1)
    mean = np.mean(found, axis=0)
    line |= {f"p_{name}": p for name, p in zip(models.classes, mean[0], strict=True)}
    if len(scaled) == len(found):
        calm = np.mean(scaled, axis=0)[0]
        line |= {f"calibrated_p_{name}": p for name, p in zip(models.classes, calm, strict=True)}
    said = int(both_answers(mean).argmax())
    try:
        heat = explain.evidence_maps(shown.network, plain, said)[0]
    except explain.NoMapError:
        return line, None
    return line, explain.normalised(heat)


def probabilities(photo: Photo, store: Store, one: Classifier) -> np.ndarray:
    """(1, C) float32: what the evaluation of that run predicts for a test image."""
    dataset = views_of(one.experiment, store, photo.images)
    loader = evaluation_loader(dataset, one.experiment.batch_size, 0)
    return forward.predict(one.network, loader, average=one.experiment.average)


def predicted_mask(photo: Photo, one: Segmenter) -> np.ndarray:
    """(H, W) bool at the photo's own size: what the evaluation of that run scores."""
    how = mask_settings(one.experiment, "fp32")
    store = photo.store(one.experiment.stored_size)
    images = TestImages(store, photo.images, one.experiment.image_size, one.experiment.test_image)
    loader = evaluation_loader(images, how.batch_size, 0)
    ((_, probability),) = forward.probabilities(one.network, loader, how.precision, how.views)
    enlarged = at_original_size(probability, photo.pixels.shape[:2], images.regions[0])
    return lesion(enlarged, how.threshold, how.clean_up)


def diameter(mask: np.ndarray) -> float:
    """The greatest distance between the centres of two pixels of a mask (H, W), in px; 0 for none.

    >>> diameter(np.eye(4, dtype=np.uint8)) == 18**0.5
    True
    """
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return 0.0
    corners = cv2.convexHull(np.concatenate(outlines))[:, 0].astype(float)
    return max(float(np.hypot(*(corners - one).T).max()) for one in corners)
