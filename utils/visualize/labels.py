"""Figures of the evaluation of classifiers: data in, a matplotlib Figure out.

Nothing here shows, saves or reads a file. Truth stands in the rows, prediction in the columns.
Style and colours are those of `visualize.figures`; no line is told from another by colour
alone.
"""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from utils.data.splits import CLASSES
from utils.evaluation.curves import Curve, operating_points
from utils.visualize.figures import (
    CLASS_COLOURS,
    CLASS_LABELS,
    HEAT,
    STYLE,
    alpha_columns,
    finish,
    name_blocks,
    new_figure,
    overlaid,
    plot_alphas,
    whole_epochs,
)

LINES = {  # colour and line style of each curve
    **dict(zip(CLASSES, zip(CLASS_COLOURS, ("-", "--", "-."), strict=True), strict=True)),
    "micro": ("0.1", "-"),
    "macro": ("0.5", "--"),
}
THRESHOLDS = np.linspace(0, 1, 501)


@rc_context(STYLE)
def confusion_matrices(
    matrix: ArrayLike, title: str, note: str, names: Sequence[str] | None = None
) -> Figure:
    """Counts, and shares of each true class (the diagonal is the sensitivity), side by side.

    matrix (C, C) as `evaluation.confusion_matrix`: row truth, column prediction. names (C,) are by
    default the three classes, or for C = 2 melanoma and the rest.
    """
    matrix = np.asarray(matrix)
    if names is None:
        names = CLASS_LABELS if len(matrix) == 3 else (CLASS_LABELS[0], "the rest")
    figure, axes = new_figure(1, 2, (8.4, 3.9))
    shares = _row_shares(matrix)
    _cells(axes[0, 0], matrix, shares, names, "{:.0f}")
    _cells(axes[0, 1], shares, shares, names, "{:.2f}")
    axes[0, 0].set_title("images")
    axes[0, 1].set_title("share of each true class (diagonal: sensitivity)")
    return finish(figure, title, note)


@rc_context(STYLE)
def roc_curves(curves: Sequence[Curve], title: str, note: str) -> Figure:
    """Receiver operating characteristics with their bands, as `curves.roc_curves` gives them."""
    figure, axes = _curve_panels(curves, "AUC", "default")
    for axis in axes:
        axis.plot([0, 1], [0, 1], ":", color="0.4", label="chance")
        axis.set(xlabel="false-positive rate (1 - specificity)", ylabel="sensitivity")
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13))
    return finish(figure, title, f"{note}; bands and [ ]: 95 % bootstrap intervals, pointwise")


@rc_context(STYLE)
def precision_recall_curves(curves: Sequence[Curve], title: str, note: str) -> Figure:
    """Precision against recall with bands, as `curves.precision_recall_curves` gives them."""
    figure, axes = _curve_panels(curves, "AP", "steps-pre")
    for axis in axes:
        axis.plot([], [], ":", color="0.4", label="chance: the share of each class")
        axis.set(xlabel="recall (sensitivity)", ylabel="precision")
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13))
    for curve in curves:
        if len(curve.x):
            axis = axes[0 if curve.name in CLASSES else -1]
            axis.axhline(curve.prevalence, ls=":", lw=1, color=LINES[curve.name][0])
    return finish(figure, title, f"{note}; bands and [ ]: 95 % bootstrap intervals, pointwise")


@rc_context(STYLE)
def score_intervals(table: pd.DataFrame, title: str, note: str) -> Figure:
    """Forest plot: a panel a metric, a line a run (point and interval), published values hollow.

    table as `score_tables.label_points` gives it, one row a point: columns run, metric, value, low,
    high (nan for published values), published (bool). Runs and metrics in the order they come.
    """
    runs, metrics = table["run"].unique(), table["metric"].unique()
    size = (3.0 + 2.9 * len(metrics), 1.3 + 0.34 * len(runs))
    figure, axes = new_figure(1, len(metrics), size)
    published = table.groupby("run", sort=False)["published"].all()
    for axis, metric in zip(axes[0], metrics, strict=True):
        _forest(axis, table[table["metric"] == metric], {run: k for k, run in enumerate(runs)})
        axis.set(title=metric, ylim=(len(runs) - 0.4, -0.6), yticks=range(len(runs)))
        axis.tick_params(axis="y", labelleft=axis is axes[0, 0], length=0)
        if 0 < published.sum() < len(runs):
            axis.axhline((~published).sum() - 0.5, color="0.6", lw=0.8)
    axes[0, 0].set_yticklabels([run.replace(" (", "\n(") for run in runs], fontsize=7.5)
    if published.any():
        note += "; hollow: published, on the 600 official test images; training lists differ"
    return finish(figure, title, f"{note}; bars: 95 % bootstrap intervals")


@rc_context(STYLE)
def attention_weights(histories: Mapping[str, pd.DataFrame], title: str, note: str) -> Figure:
    """α of each block over the epochs, a panel a run; runs without α are left out.

    histories: by the run's name, as `fit` gives them, with epoch and "α <block>.alpha" columns.
    """
    shown = {run: history for run, history in histories.items() if alpha_columns(history)}
    columns = min(3, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure, axes = new_figure(rows, columns, (1.0 + 3.4 * columns, 0.7 + 2.8 * rows))
    for axis, (run, history) in zip(axes.flat, shown.items(), strict=False):
        plot_alphas(axis, history)
        whole_epochs(axis)
        axis.set(title=run, ylabel="α")
        name_blocks(axis)
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    if not shown:
        axes[0, 0].text(0.5, 0.5, "no attention weights α in these runs", ha="center")
    return finish(figure, title, note)


@rc_context(STYLE)
def threshold_figure(
    truth: ArrayLike, score: ArrayLike, threshold: float, name: str, title: str, note: str
) -> Figure:
    """Sensitivity and specificity against the threshold, and the confusion matrix at the one given.

    truth (n,) of 0/1, score (n,) in [0, 1]; positive means score > threshold. name is the class.
    The layout is fixed and quickly drawn: nothing but the marks moves with the threshold.
    """
    figure, name = Figure(figsize=(8.4, 4.2)), name.replace("_", " ")
    axis, cells = figure.add_axes((0.07, 0.25, 0.5, 0.6)), figure.add_axes((0.7, 0.25, 0.28, 0.56))
    lines, point = (operating_points(truth, score, at) for at in (THRESHOLDS, threshold))
    for rate, colour, style in (
        ("sensitivity", CLASS_COLOURS[0], "-"),
        ("specificity", CLASS_COLOURS[1], "--"),
    ):
        here = getattr(point, rate)
        label = f"{rate} {'undefined' if np.isnan(here) else f'{here:.3f}'}"
        axis.plot(THRESHOLDS, getattr(lines, rate), color=colour, ls=style, label=label)
        axis.plot(threshold, here, "o", color=colour)
    axis.axvline(threshold, color="0.3", lw=1)
    axis.set(
        xlim=(-0.01, 1.01), ylim=(-0.03, 1.03), xlabel=f"threshold on the probability of {name}"
    )
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    counts = point.counts
    matrix = np.array([[counts.tp, counts.fn], [counts.fp, counts.tn]])
    _cells(cells, matrix, _row_shares(matrix), (name, "the rest"), "{:.0f}")
    cells.set_title(f"positive: above {threshold:.2f}")
    return finish(figure, title, note)


@rc_context(STYLE)
def heat_maps(
    images: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    captions: Sequence[str],
    title: str,
    note: str,
    limits: tuple[float, float] | None = (0.0, 1.0),
) -> Figure:
    """A row a case: the image (H, W, 3) uint8, then each of its maps laid over it in grey.

    maps: by the column's header, one map (h, w) per image, any size, which is enlarged smoothly.
    limits are the values of the lowest and the highest colour; None takes each map's own least and
    largest value. captions stand left of each row.
    """
    columns = 1 + len(maps)
    side = min(2.2, 9.6 / columns)  # inches of an image
    size = (2.9 + side * columns, 0.9 + (side + 0.05) * len(images))
    figure, axes = new_figure(len(images), columns, size)
    figure.set_layout_engine("compressed")  # no gaps between the squares
    for row, image, caption in zip(axes, images, captions, strict=True):
        row[0].imshow(image)
        row[0].set_ylabel(caption, rotation=0, ha="right", va="center", linespacing=1.4)
    for column, of_images in zip(axes.T[1:], maps.values(), strict=True):
        for axis, image, values in zip(column, images, of_images, strict=True):
            axis.imshow(overlaid(image, values, limits))
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis, header in zip(axes[0], ("image", *maps), strict=True):
        axis.set_title(header)
    low, high = limits or (0, 1)
    bar = figure.colorbar(ScalarMappable(Normalize(low, high), HEAT), ax=axes, fraction=0.03)
    ends = ["low", "high"] if limits is None else [f"low ({low:g})", f"high ({high:g})"]
    bar.set_ticks([low, high], labels=ends)
    return finish(figure, title, note)


def _row_shares(matrix: np.ndarray) -> np.ndarray:
    """Each row over its sum; nan where that is zero."""
    sums = matrix.sum(axis=1, keepdims=True)
    return np.divide(matrix, sums, out=np.full(matrix.shape, np.nan), where=sums > 0)


def _cells(
    axis: Axes, matrix: np.ndarray, shares: np.ndarray, names: Sequence[str], form: str
) -> None:
    """The numbers of a matrix, darker the larger their share of the row."""
    labels = [fill(name, 12) for name in names]
    axis.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1)
    for (row, column), number in np.ndenumerate(matrix):
        text = "–" if np.isnan(number) else form.format(number)
        dark = shares[row, column] > 0.7
        axis.text(
            column, row, text, ha="center", va="center", fontsize=11, color="w" if dark else "k"
        )
    ticks = range(len(names))
    axis.set(xticks=ticks, yticks=ticks, xticklabels=labels, yticklabels=labels)
    axis.set(xlabel="prediction", ylabel="truth")
    axis.grid(False)
    between = np.arange(1, len(names)) - 0.5
    axis.hlines(between, -0.5, len(names) - 0.5, color="w", lw=2)
    axis.vlines(between, -0.5, len(names) - 0.5, color="w", lw=2)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def _curve_panels(curves: Sequence[Curve], area: str, style: str) -> tuple[Figure, list[Axes]]:
    """The classes' curves in one panel, micro and macro (where they are) in another."""
    both = any(curve.name not in CLASSES for curve in curves)
    width, height, side = 4.4 * (1 + both), 5.6, 3.6  # inches; the axes are squares
    figure = Figure(figsize=(width, height))
    places = [(0.6 + 4.4 * number) / width for number in range(1 + both)]
    axes = [figure.add_axes((x, 1.45 / height, side / width, side / height)) for x in places]
    for curve in curves:
        axis = axes[0 if curve.name in CLASSES else -1]
        colour, line = LINES[curve.name]
        name = curve.name.replace("_", " ")
        if np.isnan(curve.area):
            axis.plot([], [], " ", label=f"{name}: undefined, a class is missing")
            continue
        label = (
            f"{name}: {area} {curve.area:.3f} [{curve.interval.low:.3f}, {curve.interval.high:.3f}]"
        )
        axis.plot(curve.x, curve.y, color=colour, ls=line, drawstyle=style, label=label)
        axis.fill_between(curve.grid, curve.low, curve.high, color=colour, alpha=0.15, lw=0)
    for axis in axes:
        axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes[0].set_title("each class against the rest")
    if both:
        axes[1].set_title("all classes: micro (pooled) and macro (mean)")
    return figure, axes


def _forest(axis: Axes, points: pd.DataFrame, places: Mapping[str, int]) -> None:
    """One metric of each run, at the height of its place; the numbers stand beside."""
    for point in points.itertuples():
        place, text = places[point.run], "undefined"
        if point.published:
            axis.plot(point.value, place, "D", mfc="w", color="0.3")
            text = f"{point.value:.3f}"
        elif not np.isnan(point.value):
            axis.plot([point.low, point.high], [place, place], color=CLASS_COLOURS[1], lw=1.6)
            axis.plot(point.value, place, "o", color=CLASS_COLOURS[1])
            text = f"{point.value:.3f} [{point.low:.3f}, {point.high:.3f}]"
        beside = axis.get_yaxis_transform()
        axis.text(1.02, place, text, transform=beside, va="center", fontsize=7)
