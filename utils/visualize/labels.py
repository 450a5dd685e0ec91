"""Figures of classifiers: data in, a matplotlib Figure out. Nothing here shows, saves or reads.

Truth stands in the rows, prediction in the columns. Style and colours are those of
`visualize.figures`.
"""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from utils.evaluation.curves import Curve
from utils.evaluation.intervals import interval_text
from utils.evaluation.labels import both_answers, classes_in, confusion_matrix
from utils.visualize.figures import (
    CLASS_LABELS,
    STYLE,
    class_look,
    finish,
    legend_below,
    new_figure,
    unit_square,
)

POOLED: dict[str, dict[str, Any]] = {  # looks of the curves of all classes together
    "micro": {"color": "0.1", "ls": "-"},
    "macro": {"color": "0.5", "ls": "--"},
}
BANDS = 6  # curves, the pooled ones included: the bands of more classes hide one another
POINTWISE = "95 % bootstrap intervals, pointwise"


def answers(predictions: pd.DataFrame) -> np.ndarray:
    """The class each image was given (n,): the most probable one; 1 is "the rest" of one logit.

    predictions: as `results.predictions` gives them, a probability column a class.
    """
    probabilities = predictions[classes_in(predictions)].to_numpy(dtype=float)
    return both_answers(probabilities).argmax(axis=1)


def answer_names(predictions: pd.DataFrame) -> list[str]:
    """What can be answered, as figures call it: the classes, or of one logit "the rest", too."""
    names = [name.replace("_", " ") for name in classes_in(predictions)]
    return names if len(names) > 1 else [*names, "the rest"]


def confusion(predictions: pd.DataFrame) -> np.ndarray:
    """How often each class was given which answer: (C, C), or (2, 2), melanoma and the rest."""
    classes = max(2, len(classes_in(predictions)))
    truth = predictions["label"].clip(upper=classes - 1)
    return confusion_matrix(truth, answers(predictions), classes)


@rc_context(STYLE)
def confusion_matrices(
    matrix: ArrayLike, title: str, note: str, names: Sequence[str] | None = None
) -> Figure:
    """Counts, and shares of each true class: on the diagonal the sensitivity.

    matrix (C, C) as `confusion` gives it: row truth, column prediction; names (C,) as
    `answer_names`, by default those of ISIC 2017.
    """
    more = 0.75 * max(0, len(np.asarray(matrix)) - 4)
    figure, axes = new_figure(1, 1, (5.2 + more, 4.6 + more))
    plot_confusion(axes[0, 0], matrix, names)
    axes[0, 0].set_title("images, and share of each true class (diagonal: sensitivity)")
    return finish(figure, title, note)


def plot_confusion(axis: Axes, matrix: ArrayLike, names: Sequence[str] | None = None) -> None:
    """A confusion matrix, as above: each cell is darker the larger its share of the row.

    names (C,) are by default the three classes, or for C = 2 melanoma and the rest.
    """
    import seaborn as sns  # slow: it imports scipy.stats

    matrix = np.asarray(matrix)
    if names is None:
        names = CLASS_LABELS if len(matrix) == 3 else (CLASS_LABELS[0], "the rest")
    labels = [fill(name, 12, break_long_words=False) for name in names]
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    texts = [
        f"{count}\n{share:.2f}" if total else f"{count}\n–"
        for count, share, total in np.nditer([matrix, shares, totals])
    ]
    sns.heatmap(
        shares,
        annot=np.reshape(texts, matrix.shape),
        fmt="",
        annot_kws={"color": "k", "size": "large"},
        cmap="Blues",
        vmin=0,
        vmax=1.5,  # black can be read on all shades up to 1
        cbar=False,
        linewidths=2,
        square=True,
        xticklabels=labels,
        yticklabels=labels,
        ax=axis,
    )
    axis.set(xlabel="prediction", ylabel="truth")
    axis.tick_params("both", labelrotation=0)


@rc_context(STYLE)
def roc_curves(curves: Sequence[Curve], title: str, note: str) -> Figure:
    """Receiver operating characteristics with their bands, as `curves.roc_curves` gives them."""
    figure, axes = _curve_panels(curves, "AUC", "default")
    for axis in axes:
        axis.plot([0, 1], [0, 1], ":", color="0.4", label="chance")
        unit_square(axis, "false-positive rate (1 - specificity)", "sensitivity")
        legend_below(axis)
    return finish(figure, title, f"{note}; {_bands(curves)} and [ ]: {POINTWISE}")


@rc_context(STYLE)
def precision_recall_curves(curves: Sequence[Curve], title: str, note: str) -> Figure:
    """Precision against recall with bands, as `curves.precision_recall_curves` gives them."""
    figure, axes = _curve_panels(curves, "AP", "steps-pre")
    for axis in axes:
        axis.plot([], [], ":", color="0.4", label="chance: the share of each class")
        unit_square(axis, "recall (sensitivity)", "precision")
        legend_below(axis)
    for curve in curves:
        if len(curve.x):
            axis = axes[-1 if curve.name in POOLED else 0]
            axis.axhline(curve.prevalence, ls=":", lw=1, color=_look(curves, curve)["color"])
    return finish(figure, title, f"{note}; {_bands(curves)} and [ ]: {POINTWISE}")


def _curve_panels(curves: Sequence[Curve], area: str, steps: str) -> tuple[Figure, list[Axes]]:
    """The classes' curves in one panel, micro and macro (where they are) in another."""
    both = any(curve.name in POOLED for curve in curves)
    height = 5.6 + 0.16 * max(0, len(curves) - 5)  # a line of the legend each
    figure, ((*axes,),) = new_figure(1, 1 + both, (0.3 + 4 * (1 + both), height))
    for curve in curves:
        axis = axes[-1 if curve.name in POOLED else 0]
        axis.set_anchor("N" if len(curves) > BANDS else "C")
        name, look = curve.name.replace("_", " "), _look(curves, curve)
        if np.isnan(curve.area):
            axis.plot([], [], " ", label=f"{name}: undefined, a class is missing")
            continue
        low, high = map(float, curve.interval)
        label = f"{name}: {area} {interval_text(curve.area, low, high)}"
        axis.plot(curve.x, curve.y, drawstyle=steps, label=label, **look)
        if curve.name in POOLED or len(curves) <= BANDS:
            ends = curve.grid, curve.low, curve.high
            axis.fill_between(*ends, color=look["color"], alpha=0.15, lw=0)
    axes[0].set_title("each class against the rest")
    if both:
        axes[1].set_title("all classes: micro (pooled) and macro (mean)")
    return figure, axes


def _look(curves: Sequence[Curve], curve: Curve) -> dict[str, Any]:
    """Colour and style of one of these curves, those of classes coming first."""
    return POOLED.get(curve.name) or class_look([one.name for one in curves].index(curve.name))


def _bands(curves: Sequence[Curve]) -> str:
    """Which curves have bands, in words."""
    return "bands" if len(curves) <= BANDS else "bands (right)"
