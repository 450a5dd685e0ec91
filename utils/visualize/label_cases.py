"""Single cases: the picture the network got, what it answered, and what it looked at."""

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn

from utils.data import patches
from utils.data.splits import CLASSES
from utils.data.store import Store
from utils.evaluation.labels import confusion_matrix
from utils.model import explain, inspection
from utils.visualize import figures, labels, overlay

# A finer map than the last one, half its stride. Only ResNets have it: Grad-CAM weighs whole
# channels, which needs a map that ends in a ReLU; EfficientNet's stages end in a linear layer, and
# what it draws there is noise.
FINE = "layer3"
COLUMNS = 5  # pictures side by side where every block is shown


def plain_images(prepared: Store, cases: pd.DataFrame, image_size: int) -> torch.Tensor:
    """The plain views of the cases as a network takes them: (B, 3, S, S) uint8."""
    positions = prepared.positions(cases)
    views = [patches.view(prepared.image(k), 0, image_size) for k in positions]
    return torch.from_numpy(np.stack(views)).movedim(-1, 1)


def answers(cases: pd.DataFrame) -> np.ndarray:
    """The class each case was given (B,): the most probable one; 1 is "the rest" of one logit."""
    probabilities = cases[[name for name in CLASSES if name in cases]].to_numpy(dtype=float)
    if probabilities.shape[1] == 1:
        return (probabilities[:, 0] < 0.5).astype(int)
    return probabilities.argmax(axis=1)


def confusion(predictions: pd.DataFrame) -> np.ndarray:
    """How often each class was given which answer: (3, 3), or (2, 2), melanoma and the rest."""
    classes = max(2, sum(name in predictions for name in CLASSES))
    truth = predictions["label"].clip(upper=classes - 1)
    return confusion_matrix(truth, answers(predictions), classes)


def captions(cases: pd.DataFrame) -> list[str]:
    """Id, truth, and what was answered with which probability; three lines a case."""
    names = [name for name in CLASSES if name in cases]
    lines = []
    for row, answer in zip(cases.to_dict("records"), answers(cases), strict=True):
        if len(names) == 1:
            said = "the rest" if answer else figures.CLASS_LABELS[0]
            probability = 1 - row[names[0]] if answer else row[names[0]]
        else:
            said, probability = figures.CLASS_LABELS[answer], row[names[answer]]
        truth = figures.CLASS_LABELS[row["label"]]
        lines.append(f"{row['id']}\ntruth: {truth}\nanswer: {said}, {probability:.2f}")
    return lines


def maps(network: nn.Module, images: torch.Tensor, classes: np.ndarray) -> dict[str, np.ndarray]:
    """What spoke for the classes (B,), and where ARL blocks attend: header -> (B, h, w) in [0, 1].

    Each map is stretched on its own: colours compare places within a picture, not pictures. The
    header's second line says how fine the map is before it is drawn smoothly.
    """
    fine = FINE if hasattr(network, FINE) else None
    columns = {
        "class activation": explain.class_activation_maps(network, images, classes),
        f"Grad-CAM, {fine or 'last map'}": explain.grad_cam(network, images, classes, fine),
    }
    attention = explain.attention_maps(network, images)
    shown = explain.shown_blocks(list(attention), most=2)
    columns |= {f"attention, {name}": attention[name] for name in shown}
    return {f"{name}\n{_grid(v)}": explain.normalised(v) for name, v in columns.items()}


def _grid(values: np.ndarray) -> str:
    """How many cells maps (..., h, w) have: "7×7 cells"."""
    height, width = values.shape[-2:]
    return f"{width}×{height} cells"


def figure(
    network: nn.Module, prepared: Store, cases: pd.DataFrame, image_size: int, title: str, note: str
) -> Figure:
    """The cases (rows of `results.predictions`), each beside the maps of its answer."""
    images = plain_images(prepared, cases, image_size)
    found = maps(network, images.to(next(network.parameters()).device), answers(cases))
    positions = prepared.positions(cases)
    outlined = [overlay.outlined(prepared.image(k), prepared.mask(k)) for k in positions]
    return labels.heat_maps(outlined, found, captions(cases), title, note)


def attention_figure(
    network: nn.Module, prepared: Store, cases: pd.DataFrame, image_size: int, title: str, note: str
) -> Figure:
    """The cases, each followed by the attention map of every ARL block, with the block's α."""
    images = plain_images(prepared, cases, image_size)
    found = explain.attention_maps(network, images.to(next(network.parameters()).device))
    alphas = inspection.attention_weights(network)
    pictures, texts = [], []
    for number, position in enumerate(prepared.positions(cases)):
        image = prepared.image(position)
        pictures.append(overlay.outlined(image, prepared.mask(position)))
        texts.append(captions(cases)[number].replace("answer: ", "answer:\n"))  # narrow
        for name, values in found.items():
            pictures.append(overlay.overlaid(image, explain.normalised(values[number])))
            texts.append(f"{name}\nα {alphas[f'{name}.alpha']:.3f}\n{_grid(values)}")
        blanks = -len(pictures) % COLUMNS  # each case begins a new line
        pictures += [np.full_like(image, 255)] * blanks
        texts += [""] * blanks
    return figures.image_grid(pictures, texts, title, note, COLUMNS)
