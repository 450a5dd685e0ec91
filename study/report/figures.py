"""How figures and pictures get into the page: as data: URIs, small enough to be sent by mail.

The figures are those of `visualize`; the page sets those of single runs side by side.
"""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from study.report.page import Picture
from utils import evaluation, visualize
from utils.data.decode import READ_ERRORS
from utils.data.splits import CLASSES
from utils.evaluation.labels import classes_in
from utils.system.fonts import drawing

DPI = 130
GALLERY = 1_200_000  # bytes of all galleries together
WAYS = ((900, 70), (900, 55), (800, 50), (700, 45), (560, 40), (420, 35))  # px wide, WebP quality
SQUARE = (2.3, 2.3)  # inches
BROAD = (5.2, 2.6)  # inches of a figure with two panels, which stays readable on a phone


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
            height = round(image.height * width / image.width)
            small = image.resize((width, height), Image.Resampling.LANCZOS)
        uri = _uri(small, quality=quality)
        if len(uri) * 3 / 4 <= at_most:
            break
    return Picture(uri, alt, *small.size, caption, wide=True)


def _uri(image: Image.Image, **how: Any) -> str:
    file = io.BytesIO()
    image.save(file, format="WEBP", method=4, **how)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


@rc_context(visualize.SMALL)
def learning(history: pd.DataFrame, select_score: str) -> Figure:
    """Loss and scores over the epochs; α has a figure of its own."""
    figure, axes = visualize.new_figure(1, 2, BROAD)
    visualize.plot_loss(axes[0, 0], history)
    visualize.plot_scores(axes[0, 1], history, select_score)
    for axis, title in zip(axes[0], ("training loss", "scores"), strict=True):
        axis.set(title=title, xlabel="epoch")
    axes[0, 1].legend(loc="best")
    return figure


@rc_context(visualize.SMALL)
def confusion(table: pd.DataFrame, _: str) -> Figure:
    """How many of each class were called what, and their shares; table of predictions."""
    matrix = visualize.confusion(table)
    names = ("M", "SK", "B") if len(matrix) > 2 else ("M", "rest")
    figure, axes = visualize.new_figure(1, 1, SQUARE)
    visualize.plot_confusion(axes[0, 0], matrix, names)
    return figure


def roc(table: pd.DataFrame, note: str) -> Figure:
    """ROC of each class with its band; table of predictions."""
    curves = evaluation.roc_curves(table["label"], table[classes_in(table)].to_numpy())
    return visualize.roc_curves([one for one in curves if one.name in CLASSES], "", note)
