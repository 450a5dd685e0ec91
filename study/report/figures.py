"""Small figures of the report, one a run, and how pictures get into the page.

Drawn small, because the page sets them side by side: a figure of twenty runs would be unreadable on
a phone. Style and colours are those of `visualize.figures`; no line is told from another by colour
alone. Nothing here shows or saves.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from study.report.page import Picture
from utils import visualize
from utils.data.decode import READ_ERRORS
from utils.data.splits import CLASSES
from utils.evaluation.curves import cumulated
from utils.evaluation.labels import confusion_matrix
from utils.evaluation.masks import THRESHOLD
from utils.evaluation.trust import AFTER, BEFORE
from utils.system.fonts import drawing
from utils.visualize.figures import (
    CLASS_COLOURS,
    CLASS_LABELS,
    SCORE_LOOKS,
    STYLE,
    alpha_columns,
    name_blocks,
    plot_alphas,
    whole_epochs,
)

DPI = 150
SIDE = 2.6  # inches of a small figure
LETTERS = 13  # of a note in an inch
GALLERY = 1_200_000  # bytes of all galleries together
WAYS = ((900, 70), (900, 55), (800, 50), (700, 45), (560, 40), (420, 35))  # px wide, WebP quality
LINES = (("-", CLASS_COLOURS[0]), ("--", CLASS_COLOURS[1]))  # of melanoma, of the other class


def drawn(figure: Figure, alt: str, caption: str = "", wide: bool = False) -> Picture:
    """A figure as a picture of the page: WebP without loss, which line art packs well."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    with drawing():
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    uri = _uri(image, lossless=True, quality=60)
    width, height = (round(inches * 100) for inches in figure.get_size_inches())
    return Picture(uri, alt, width, height, caption, wide)


class NoPictureError(ValueError):
    """A file that should be a picture cannot be read as one."""


def gallery(file: Path, alt: str, caption: str, at_most: int) -> Picture:
    """A picture of a run folder, made smaller until it is `at_most` bytes or as small as can be.

    Raises NoPictureError for a file that is none.
    """
    try:
        with Image.open(file, formats=("PNG",)) as opened:
            image = opened.convert("RGB")
    except READ_ERRORS as error:
        raise NoPictureError(f"{file} is no picture ({error}); remove it") from error
    for width, quality in WAYS:
        small = image
        if image.width > width:
            small = image.resize((width, round(image.height * width / image.width)), Image.LANCZOS)
        uri = _uri(small, quality=quality)
        if len(uri) * 3 / 4 <= at_most:
            break
    return Picture(uri, alt, *small.size, caption, wide=True)


def _uri(image: Image.Image, **how: Any) -> str:
    file = io.BytesIO()
    image.save(file, format="WEBP", method=4, **how)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


@rc_context(STYLE)
def learning(history: pd.DataFrame, select_score: str) -> Figure:
    """Scores over the epochs, the kept one ringed, above the loss; history as `fit` gives it."""
    figure = Figure(figsize=(SIDE, 3.0), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    fixed = {"epoch", "learning_rate", "loss", *alpha_columns(history)}
    mark = "o" if len(history) < 3 else None  # a line of one epoch would be invisible
    look = {"marker": mark, "ms": 3, "lw": 1.2}
    for name in (name for name in history if name not in fixed):
        colour, style = SCORE_LOOKS.get(name, ("0.2", "-"))
        label = name.replace("auc_", "AUC ").replace("_", " ")
        top.plot(history["epoch"], history[name], style, color=colour, label=label, **look)
    if select_score in history and history[select_score].notna().any():
        best = history[select_score].idxmax()
        ring = {"color": "0.2", "mfc": "none", "ms": 8}
        top.plot(history["epoch"][best], history[select_score][best], "o", **ring)
    bottom.plot(history["epoch"], history["loss"], color="0.2", **look)
    top.legend(fontsize=5.5, loc="best")
    bottom.set(xlabel="epoch", ylabel="loss")
    whole_epochs(bottom)
    return figure


@rc_context(STYLE)
def confusion(table: pd.DataFrame) -> Figure:
    """Images of each class (rows) and what they were called; table as `results.predictions`."""
    names = [name for name in CLASSES if name in table]
    truth, probabilities = table["label"].to_numpy(), table[names].to_numpy()
    labels = ["M", "SK", "B"]
    if len(names) == 1:
        truth, labels = np.minimum(truth, 1), ["M", "rest"]
        probabilities = np.hstack([probabilities, 1 - probabilities])
    matrix = confusion_matrix(truth, probabilities.argmax(axis=1), len(labels))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(SIDE, 2.3), layout="constrained")
    axis = figure.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(matrix):
        colour = "w" if shares[row, column] > 0.6 else "k"
        text = f"{count}\n{shares[row, column]:.2f}"
        axis.text(column, row, text, ha="center", va="center", color=colour)
    axis.set(xlabel="prediction", ylabel="truth")
    axis.set_xticks(range(len(labels)), labels)
    axis.set_yticks(range(len(labels)), labels)
    axis.grid(False)
    axis.tick_params(length=0)
    return figure


@rc_context(STYLE)
def roc(table: pd.DataFrame) -> Figure:
    """ROC of melanoma and of seborrheic keratosis; table as `results.predictions`."""
    figure, axis = _square("1 - specificity", "sensitivity")
    for name, label, (style, colour) in zip(CLASSES, CLASS_LABELS[:2], LINES, strict=False):
        if name not in table:
            continue
        truth = (table["label"] == CLASSES.index(name)).to_numpy()
        if truth.any() and not truth.all():
            tp, fp = cumulated(truth, table[name].to_numpy())
            x, y = (np.append(0, counts / counts[-1]) for counts in (fp, tp))
            axis.plot(x, y, style, color=colour, lw=1.3, label=label)
    axis.plot([0, 1], [0, 1], ":", color="0.4", lw=1)
    axis.legend(loc="lower right", fontsize=6.5)
    return figure


@rc_context(STYLE)
def jaccards(table: pd.DataFrame) -> Figure:
    """How many images have which Jaccard; table as per-image-<split>.csv holds it."""
    figure = Figure(figsize=(SIDE, 2.3), layout="constrained")
    axis = figure.subplots()
    edges = np.linspace(0, 1, 21)
    axis.hist(table["jaccard"], bins=edges, color=CLASS_COLOURS[1], edgecolor="w", lw=0.5)
    axis.axvline(THRESHOLD, color="0.2", ls=":", lw=1.2)
    axis.set(xlim=(0, 1), xlabel="Jaccard of an image", ylabel="images")
    return figure


@rc_context(STYLE)
def alphas(history: pd.DataFrame) -> Figure:
    """α of each block over the epochs; history as `fit` gives it, with α columns."""
    figure = Figure(figsize=(SIDE + 0.6, 2.4), layout="constrained")
    axis = figure.subplots()
    plot_alphas(axis, history)
    whole_epochs(axis)
    axis.set_ylabel("α")
    name_blocks(axis)
    return figure


@rc_context(STYLE)
def reliability(table: pd.DataFrame, name: str) -> Figure:
    """Observed share against mean probability of a class, as they are and scaled.

    table as `clinical.Assessment.reliability`.
    """
    figure, axis = _square("predicted probability", "observed share")
    axis.plot([0, 1], [0, 1], ":", color="0.4", lw=1)
    for version, style, mark in ((BEFORE, "--", "o"), (AFTER, "-", "s")):
        bins = table[(table["class"] == name) & (table["probabilities"] == version)]
        bins = bins[bins["n"] > 0]
        colour = CLASS_COLOURS[version == AFTER]
        look = {"color": colour, "marker": mark, "ms": 3, "lw": 1.1, "label": version}
        axis.plot(bins["mean_probability"], bins["observed"], style, **look)
    axis.legend(loc="upper left", fontsize=6.5)
    return figure


@rc_context(STYLE)
def decision(table: pd.DataFrame, name: str) -> Figure:
    """Net benefit of a class over the threshold probability; table as `Assessment.decision`."""
    figure = Figure(figsize=(SIDE, SIDE), layout="constrained")
    axis = figure.subplots()
    curve = table[(table["class"] == name) & (table["probabilities"] == AFTER)]
    x = curve["threshold"]
    axis.fill_between(x, curve["low"], curve["high"], color=CLASS_COLOURS[1], alpha=0.15, lw=0)
    axis.plot(x, curve["model"], color=CLASS_COLOURS[1], lw=1.3, label="model")
    axis.plot(x, curve["treat_all"], "-.", color="0.3", lw=1, label="treat all")
    axis.plot(x, curve["treat_none"], ":", color="0.3", lw=1, label="treat no one")
    top = max(curve["high"].max(), curve["treat_all"].max(), 0.01)
    axis.set(ylim=(-0.3 * top, 1.1 * top), xlabel="threshold probability", ylabel="net benefit")
    axis.legend(fontsize=6.5, loc="upper right")
    return figure


def forest(points: pd.DataFrame, metrics: Mapping[str, str], title: str, note: str) -> Figure:
    """Forest plot of these metrics (as the table names them, to a short title); a line a run.

    points as `score_tables.label_points` or `mask_points` give them.
    """
    shown = points[points["metric"].isin(list(metrics))]
    figure = visualize.score_intervals(shown.replace({"metric": dict(metrics)}), title, note)
    # A single panel is narrower than its note.
    note = fill(figure.get_supxlabel(), int(LETTERS * figure.get_figwidth()))
    figure.supxlabel(note, fontsize=8, color="0.35")
    return figure


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    """A figure with square axes over the unit square."""
    figure = Figure(figsize=(SIDE, SIDE), layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xlabel=x, ylabel=y)
    return figure, axis


def figures_of(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of these figures that a run has."""
    files = (folder / "figures" / f"{name}.png" for name in names)
    return next((file for file in files if file.is_file()), None)
