"""Figures: data in, a matplotlib Figure out. Nothing here shows, saves or reads a file.

Colours are Okabe and Ito's, which stay apart for colour-blind eyes
(https://jfly.uni-koeln.de/color/). Every figure carries a note that names its data.
"""

from collections.abc import Sequence
from textwrap import wrap

import cv2
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from utils.data.splits import CLASSES
from utils.system.fonts import families

CLASS_COLOURS = ("#D55E00", "#0072B2", "#009E73")  # melanoma, seborrheic keratosis, benign
CLASS_LABELS = tuple(name.replace("_", " ") for name in CLASSES)
OUTLINE = (255, 214, 0)  # yellow: seen on every skin
# How learning curves draw each score; the rest is dark grey.
SCORE_LOOKS = {
    **{f"auc_{name}": (colour, "-") for name, colour in zip(CLASSES, CLASS_COLOURS, strict=True)},
    "dice": ("#0072B2", "-"),
    "threshold_jaccard": ("#E69F00", ":"),
    "accuracy": ("#009E73", "-."),
    "sensitivity": ("#D55E00", "--"),
    "specificity": ("#CC79A7", "--"),
}
HEAT = "inferno"  # lightness rises evenly, so it can be read in grey, too
HEAT_SHARE = 0.5  # of the heat colour, the rest is the image
STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "font.family": families(),
    "font.size": 8,
    "grid.alpha": 0.3,
    "legend.fontsize": 7.5,
    "legend.framealpha": 0.7,
    "legend.edgecolor": "none",
    "text.parse_math": False,  # an id may hold a dollar sign
}


def class_label(label: int) -> str:
    """What a figure calls the class of an image, which may have none."""
    return CLASS_LABELS[label] if label >= 0 else "no label"


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    """A figure of that size in inches, and its axes (rows, columns). Draw it within STYLE."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def finish(figure: Figure, title: str, note: str) -> Figure:
    """The figure with its title above and the note that names its data below."""
    top = bottom = {}
    if figure.get_layout_engine() is None:  # else that finds the places
        height = figure.get_figheight()
        top, bottom = {"y": 1 - 0.1 / height}, {"y": 0.06 / height}
    figure.suptitle(title, fontsize=11, **top)
    lines = _wrapped(note, figure.get_figwidth())
    figure.supxlabel("\n".join(lines), fontsize=8, color="0.35", **bottom)
    return figure


def _wrapped(note: str, width: float) -> list[str]:
    """The lines of a note below a figure so many inches wide."""
    return wrap(note, round(15 * width)) or [""]


def outlined(
    image: np.ndarray,
    mask: np.ndarray | None,
    width: int = 1,
    colour: tuple[int, int, int] = OUTLINE,
) -> np.ndarray:
    """A copy of an (H, W, 3) uint8 image with the borders of its (H, W) 0/255 mask drawn on.

    Borders of holes, too. width in pixels, colour in RGB, 0..255.
    """
    image = np.ascontiguousarray(image).copy()
    if mask is not None and mask.any():
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, colour, width)
    return image


def overlaid(
    image: np.ndarray, values: np.ndarray, limits: tuple[float, float] | None = (0.0, 1.0)
) -> np.ndarray:
    """An (H, W, 3) uint8 image in grey under the colours of a map: (H, W, 3) in [0, 1].

    values (h, w) of any size are enlarged smoothly. limits get the lowest and the highest colour;
    None takes the map's own least and largest value. ValueError for nan or infinite values.
    """
    values = np.asarray(values, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError("a heat map holds nan or infinite values; expected finite ones")
    low, high = limits or (float(values.min()), float(values.max()))
    values = (values - low) / ((high - low) or 1)
    height, width = image.shape[:2]
    values = cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] / 255
    return (1 - HEAT_SHARE) * grey + HEAT_SHARE * colormaps[HEAT](values)[..., :3]


def _tiles(
    columns: int, width: float, rows: Sequence[tuple[float, float]], note: str
) -> tuple[Figure, np.ndarray]:
    """A figure of fixed tiles, so many inches wide, and its axes (len(rows), columns).

    rows: from the top, the free space above each row of axes and their height, in inches. To let
    constrained layout find places for many pictures takes longer than to draw them.
    """
    margin, gap, head = 0.08, 0.12, 0.32
    wide = width * columns + 2 * margin
    foot = 0.22 + 0.13 * len(_wrapped(note, wide))
    size = (wide, head + sum(map(sum, rows)) + foot)
    figure, axes, top = Figure(figsize=size), [], size[1] - head
    for space, height in rows:
        top -= space + height
        places = [margin + gap / 2 + width * column for column in range(columns)]
        inches = [np.array((left, top, width - gap, height)) for left in places]
        axes.append([figure.add_axes(box / (*size, *size)) for box in inches])
    for axis in figure.axes:
        axis.set_axis_off()
    return figure, np.array(axes)


def _text_height(captions: Sequence[str]) -> float:
    """The inches that the longest of these captions needs above its picture."""
    return 0.18 + 0.156 * max((caption.count("\n") + 1 for caption in captions), default=1)


@rc_context(STYLE)
def image_grid(
    images: Sequence[np.ndarray], captions: Sequence[str], title: str, note: str, columns: int = 6
) -> Figure:
    """Images (H, W, 3) uint8 in a grid, each under its caption."""
    side = 1.5
    tall = max((image.shape[0] / image.shape[1] for image in images), default=1)
    lines = [captions[first : first + columns] for first in range(0, len(images), columns)] or [[]]
    rows = [(_text_height(line), side * tall) for line in lines]
    figure, axes = _tiles(columns, side + 0.12, rows, note)
    for axis, image, caption in zip(axes.flat, images, captions, strict=False):
        axis.imshow(image)
        axis.set_title(caption, fontsize=8, linespacing=1.4)
    return finish(figure, title, note)


@rc_context(STYLE)
def learning_curves(history: pd.DataFrame, select_score: str, title: str, note: str) -> Figure:
    """Loss, scores (the best epoch marked), and α per block where there is one, over the epochs.

    history as `fit` gives it: epoch, learning_rate, loss, scores, "α <block>" columns.
    """
    alphas = alpha_columns(history)
    fixed = {"epoch", "learning_rate", "loss", *alphas}
    scores = [name for name in history if name not in fixed]
    panels = 3 if alphas else 2
    figure, axes = new_figure(1, panels, (3.4 * panels, 3.1))
    epoch = history["epoch"]
    mark = _mark(history)
    axes[0, 0].plot(epoch, history["loss"], color="0.2", marker=mark)
    axes[0, 0].set(title="training loss", xlabel="epoch")
    for name in scores:
        colour, style = SCORE_LOOKS.get(name, ("0.2", "-"))
        label = name.replace("auc_", "AUC ").replace("_", " ")
        axes[0, 1].plot(epoch, history[name], style, color=colour, label=label, marker=mark)
    if select_score in history:
        best = history[select_score].fillna(-np.inf).idxmax()  # as `fit` chooses it
        ring = {"color": "0.2", "mfc": "none", "ms": 10}
        axes[0, 1].plot(epoch[best], history[select_score][best], "o", **ring)
    axes[0, 1].set(title="scores (ring: the epoch kept)", xlabel="epoch")
    axes[0, 1].legend(loc="best")
    if alphas:
        plot_alphas(axes[0, 2], history)
        axes[0, 2].set_title("attention weight α of each block")
        if len(alphas) <= 9:  # a longer legend would cover the lines
            axes[0, 2].legend()
    for axis in axes.flat:
        whole_epochs(axis)
    return finish(figure, title, note)


def alpha_columns(history: pd.DataFrame) -> list[str]:
    """The columns that hold attention weights, one a block, from the first block to the last."""
    return [name for name in history if name.startswith("α ")]


def plot_alphas(axis: Axes, history: pd.DataFrame) -> None:
    """α of each block over the epochs; colour runs from the first block to the last."""
    alphas = alpha_columns(history)
    for name, colour in zip(alphas, sns.color_palette("viridis", len(alphas)), strict=True):
        label = name.removeprefix("α ").removesuffix(".alpha")
        axis.plot(history["epoch"], history[name], color=colour, label=label, marker=_mark(history))
    axis.axhline(0, color="0.6", lw=0.8)
    axis.set_xlabel("epoch")
    axis.margins(y=0.15)


def name_blocks(axis: Axes) -> None:
    """Each block's name beside the end of its line; of more than six the first and the last."""
    lines = [line for line in axis.lines if not line.get_label().startswith("_")]
    if len(lines) > 6:
        colours = ListedColormap([line.get_color() for line in lines])
        names = ScalarMappable(Normalize(-0.5, len(lines) - 0.5), colours)
        bar = axis.figure.colorbar(names, cax=axis.inset_axes((1.03, 0, 0.04, 1)))
        ends = (0, len(lines) - 1)
        bar.set_ticks(ends, labels=[lines[end].get_label() for end in ends])
        return
    ends = [line.get_ydata()[-1] for line in lines]
    low, high = axis.get_ylim()
    apart = 0.08 * (high - low)
    heights = np.sort(ends)
    for number in range(1, len(heights)):  # pushed up where they would overlap …
        heights[number] = max(heights[number], heights[number - 1] + apart)
    heights -= (heights - np.sort(ends)).mean()  # … and all of them down again by half of it
    for height, line in zip(heights, [lines[k] for k in np.argsort(ends)], strict=True):
        axis.annotate(
            line.get_label(),
            (1.02, height),
            xycoords=("axes fraction", "data"),
            color=line.get_color(),
            va="center",
            annotation_clip=False,
        )


def whole_epochs(axis: Axes) -> None:
    """Ticks on whole epochs only."""
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _mark(history: pd.DataFrame) -> str | None:
    return "o" if len(history) < 3 else None  # a line of one epoch would be invisible


@rc_context(STYLE)
def prediction_gallery(
    images: Sequence[np.ndarray], predictions: pd.DataFrame, title: str, note: str, columns: int = 4
) -> Figure:
    """Images, each over bars of its predicted probabilities; the true class is named and marked.

    predictions: one row an image, with id, label and a probability column a class.
    """
    names = [name for name in CLASSES if name in predictions]
    side = 2.1
    tall = max((image.shape[0] / image.shape[1] for image in images), default=1)
    tile = [(_text_height(["id\nclass"]), side * tall), (0.04, 0.62)]
    figure, axes = _tiles(columns, side + 0.12, tile * max(1, -(-len(images) // columns)), note)
    for place, (image, row) in enumerate(zip(images, predictions.to_dict("records"), strict=True)):
        top, bottom = axes[2 * (place // columns) : 2 * (place // columns) + 2, place % columns]
        top.imshow(image)
        top.set_title(f"{row['id']}\n{CLASS_LABELS[row['label']]}", fontsize=8, linespacing=1.4)
        _probability_bars(bottom, [row[name] for name in names], row["label"])
    return finish(figure, title, note)


def _probability_bars(axis: Axes, probabilities: list[float], label: int) -> None:
    for number, probability in enumerate(probabilities):
        colour = CLASS_COLOURS[number]
        axis.barh(number, 1, color="0.93", height=0.8)
        axis.barh(number, probability, color=colour, height=0.8, alpha=0.55)
        weight = "bold" if number == label else "normal"
        axis.text(0.02, number, CLASS_LABELS[number], va="center", fontsize=7, weight=weight)
        axis.text(0.98, number, f"{probability:.2f}", va="center", ha="right", fontsize=7)
    axis.set(xlim=(0, 1), ylim=(len(probabilities) - 0.5, -0.5))
