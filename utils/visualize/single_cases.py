"""Single cases: the image, the network's answer, and maps of what it is based on."""

from collections.abc import Sequence
from contextlib import suppress
from textwrap import fill

import cv2
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn

from utils.data import patches
from utils.data.decode import resized
from utils.data.loaders import evaluation_loader
from utils.data.masks import TestImages
from utils.data.store import Store
from utils.evaluation.full_size import at_original_size, lesion
from utils.evaluation.labels import both_answers, classes_in, set_classes
from utils.model import explain, inspection
from utils.model.forward import probabilities
from utils.system.experiment import Segmentation
from utils.system.size import Size
from utils.visualize import galleries, overlay
from utils.visualize.figures import class_label
from utils.visualize.labels import answer_names, answers
from utils.visualize.overlay import Case, shown_size

# A map of half the stride of the last one, for ResNets only: Grad-CAM weighs channels, which needs
# a map after a ReLU; EfficientNet's stages end in a linear layer, where it shows noise.
FINE = "layer3"
COLUMNS = 5  # pictures side by side where every block is shown


def plain_images(prepared: Store, cases: pd.DataFrame, image_size: int) -> torch.Tensor:
    """The plain views of the cases as a network takes them: (B, 3, S, S) uint8."""
    positions = prepared.positions(cases)
    views = [patches.view(prepared.image(k), 0, image_size) for k in positions]
    return torch.from_numpy(np.stack(views)).movedim(-1, 1)


def captions(cases: pd.DataFrame, classes: Sequence[str] | None = None) -> list[str]:
    """Id, truth, and what was answered with which probability; four lines a case.

    classes: as `set_classes`.
    """
    probabilities = both_answers(cases[classes_in(cases)].to_numpy(dtype=float))
    names, known = answer_names(cases), set_classes(cases, classes)
    truth = [class_label(label, known) for label in cases["label"]]
    return [
        f"{name}\n{_fitted('truth', label)}\n{_fitted('answer', names[answer])}\n"
        f"probability {of[answer]:.2f}"
        for name, label, answer, of in zip(
            cases["id"], truth, answers(cases), probabilities, strict=True
        )
    ]


def _fitted(what: str, name: str) -> str:
    """A line of a caption, or more for a long name."""
    return fill(f"{what}: {name}", 30)


def maps(network: nn.Module, images: torch.Tensor, classes: np.ndarray) -> dict[str, np.ndarray]:
    """What spoke for the classes (B,), and where ARL blocks attend: header -> (B, h, w) in [0, 1].

    Each map is stretched on its own: colours compare places within a picture, not pictures. The
    header's second line says how fine the map is before it is drawn smoothly. NoMapError for a
    network that has no map.
    """
    fine = FINE if hasattr(network, FINE) else None
    columns = {}
    with suppress(explain.NoMapError):
        columns["class activation"] = explain.class_activation_maps(network, images, classes)
    columns[f"Grad-CAM, {fine or 'last map'}"] = explain.grad_cam(network, images, classes, fine)
    attention = explain.attention_maps(network, images)
    shown = explain.shown_blocks(list(attention), most=2)
    columns |= {f"attention, {name}": attention[name] for name in shown}
    return {f"{name}\n{_grid(v)}": explain.normalised(v) for name, v in columns.items()}


def _grid(values: np.ndarray) -> str:
    """How many cells maps (..., h, w) have: "7×7 cells"."""
    height, width = values.shape[-2:]
    return f"{width}×{height} cells"


def map_figure(
    network: nn.Module,
    prepared: Store,
    cases: pd.DataFrame,
    image_size: int,
    title: str,
    note: str,
    classes: Sequence[str] | None = None,
) -> Figure:
    """The cases (rows of `results.predictions`), each beside the maps of its answer.

    classes: as `set_classes`.
    """
    images = plain_images(prepared, cases, image_size)
    heat = maps(network, images.to(next(network.parameters()).device), answers(cases))
    positions = prepared.positions(cases)
    pictures = [overlay.outlined(prepared.image(k), prepared.mask(k)) for k in positions]
    return galleries.heat_maps(pictures, heat, captions(cases, classes), title, note)


def attention_figure(
    network: nn.Module,
    prepared: Store,
    cases: pd.DataFrame,
    image_size: int,
    title: str,
    note: str,
    classes: Sequence[str] | None = None,
) -> Figure:
    """The cases, each followed by the attention map of every ARL block, with the block's α.

    classes: as `set_classes`.
    """
    images = plain_images(prepared, cases, image_size)
    maps_of = explain.attention_maps(network, images.to(next(network.parameters()).device))
    alphas = inspection.attention_weights(network)
    pictures, texts, said = [], [], captions(cases, classes)
    for number, position in enumerate(prepared.positions(cases)):
        image = prepared.image(position)
        pictures.append(overlay.outlined(image, prepared.mask(position)))
        texts.append(said[number].replace("answer: ", "answer:\n"))  # narrow
        for name, values in maps_of.items():
            pictures.append(overlay.overlaid(image, explain.normalised(values[number])))
            texts.append(f"{name}\nα {alphas[f'{name}.alpha']:.3f}\n{_grid(values)}")
        blanks = -len(pictures) % COLUMNS  # each case begins a new line
        pictures += [np.full_like(image, 255)] * blanks
        texts += [""] * blanks
    return galleries.image_grid(pictures, texts, title, note, COLUMNS)


def mask_cases(
    network: nn.Module,
    prepared: Store,
    images: pd.DataFrame,
    per_image: pd.DataFrame,
    experiment: Segmentation,
    how: Segmentation,
) -> list[Case]:
    """A case for each row of per_image (a part of `results.per_image`), as large as it is shown.

    The store may hold squares; a case has the proportions of the photo. images: the table of the
    data, in which the ids of per_image are found.
    """
    if per_image.empty:
        return []
    tested = TestImages(
        prepared,
        images.set_index("id", drop=False).loc[per_image["id"]],
        Size(*experiment.image_size),
        experiment.test_image,
    )
    cases = []
    loader = evaluation_loader(tested, how.batch_size, 0)
    for index, probability in probabilities(network, loader, how.precision, how.views):
        place, line = tested.positions[index], per_image.iloc[index]
        width, height = shown_size(line["width"], line["height"])
        probability = at_original_size(probability, (height, width), tested.regions[index])
        prediction = lesion(probability, how.threshold, how.clean_up)
        image, mask = resized(prepared.image(place), (width, height)), prepared.mask(place)
        mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
        caption = f"{line['id']}\nJaccard {line['jaccard']:.3f}"
        cases.append(Case(image, mask > 0, prediction, caption))
    return cases


def mask_case(
    network: nn.Module,
    prepared: Store,
    images: pd.DataFrame,
    line: pd.Series,
    experiment: Segmentation,
    how: Segmentation,
) -> Case:
    """The case of one row of the per-image results; the rest as in `mask_cases`."""
    return mask_cases(network, prepared, images, line.to_frame().T, experiment, how)[0]
