"""Figures of segmentation: data in, a matplotlib Figure out. Nothing here shows, saves or reads.

Truth comes before prediction. Style and colours are those of `visualize.figures`; where a
line or an area could be told from another by colour alone, its lightness or its mark differs, too.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from utils.evaluation.masks import THRESHOLD
from utils.visualize.figures import CLASS_COLOURS, STYLE, finish, new_figure
from utils.visualize.overlay import LEGENDS, Case, at_shown_size, errors, outlines

BINS = np.arange(21) / 20
MARKS = "os^DvP"
RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9")
RATES = {"sensitivity": "--", "specificity": "-."}


Draw = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # image, truth, prediction


@rc_context(STYLE)
def gallery(
    cases: Sequence[Case], title: str, note: str, columns: int = 4, draw: Draw = outlines
) -> Figure:
    """Cases in a grid, each under its caption, drawn by `outlines` or `errors`, with a legend."""
    rows = [cases[first : first + columns] for first in range(0, len(cases), columns)] or [[]]
    figure, _ = _picture_grid(rows, columns, draw)
    return finish(figure, title, note)


@rc_context(STYLE)
def ranked_gallery(
    groups: Mapping[str, Sequence[Case]], title: str, note: str, draw: Draw = outlines
) -> Figure:
    """A row of cases a group ("best", "median", "worst", say), whose name stands at its left."""
    columns = max(1, *map(len, groups.values()))
    left = 0.2 + 0.1 * max(map(len, groups))  # inches
    figure, axes = _picture_grid(list(groups.values()), columns, draw, left)
    for axis, name in zip(axes[:, 0], groups, strict=True):
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10, labelpad=8)
    return finish(figure, title, note)


@rc_context(STYLE)
def case_figure(case: Case, title: str, note: str) -> Figure:
    """One case: the image, the outlines of truth and prediction, and the error map."""
    case = at_shown_size(case)
    height, width = case.image.shape[:2]
    figure, axes = _with_legend(
        1, 3, (10.2, 1.15 + 3.3 * height / width), _patches(outlines, errors)
    )
    for axis, name, picture in zip(
        axes[0],
        ("image", "outlines", "errors"),
        (case.image, outlines(*case[:3]), errors(*case[:3])),
        strict=True,
    ):
        axis.imshow(picture)
        axis.set_title(name)
        axis.set_axis_off()
    figure.set_layout_engine("compressed")  # no gaps between the pictures
    caption = case.caption.replace("\n", ", ")
    return finish(figure, f"{title}: {caption}", note)


def _picture_grid(
    rows: Sequence[Sequence[Case]], columns: int, draw: Draw, left: float = 0
) -> tuple[Figure, np.ndarray]:
    """Cases in rows (which may be shorter than columns), with the legend of what is drawn."""
    cases = [case for row in rows for case in row]
    tall = max((case.image.shape[0] / case.image.shape[1] for case in cases), default=1)
    lines = max((case.caption.count("\n") + 1 for case in cases), default=1)
    size = (
        max(6.0, left + 2.3 * columns + 0.6),
        0.95 + (2.3 * tall + 0.16 * lines + 0.1) * len(rows),
    )
    figure, axes = _with_legend(len(rows), columns, size, _patches(draw))
    figure.set_layout_engine("compressed")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for places, row in zip(axes, rows, strict=True):
        for axis, case in zip(places, row, strict=False):
            axis.imshow(draw(*at_shown_size(case)[:3]))
            axis.set_title(case.caption, fontsize=8, linespacing=1.4)
    return figure, axes


def _patches(*draws: Draw) -> list[Patch]:
    """What the colours of a picture mean."""
    return [
        Patch(facecolor=np.array(colour) / 255, edgecolor="0.4", lw=0.5, label=name)
        for draw in draws
        for name, colour in LEGENDS[draw].items()
    ]


def _with_legend(
    rows: int, columns: int, size: tuple[float, float], handles: Sequence[Artist], lines: int = 1
) -> tuple[Figure, np.ndarray]:
    """A figure of that size in inches, its axes (rows, columns), and a legend below all of them."""
    figure = Figure(figsize=size, layout="constrained")
    strip = 0.17 * lines + 0.08  # inches
    height = (size[1] - 0.7 - strip) / rows
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[height] * rows + [strip])
    below = figure.add_subplot(grid[-1, :])
    below.set_axis_off()
    below.legend(handles=handles, loc="center", ncols=-(-len(handles) // lines), borderpad=0)
    axes = [[figure.add_subplot(grid[row, k]) for k in range(columns)] for row in range(rows)]
    return figure, np.array(axes)


@rc_context(STYLE)
def jaccard_distributions(tables: Mapping[str, pd.DataFrame], title: str, note: str) -> Figure:
    """Every image's Jaccard, a line a run, over a box of the quartiles, with the mean as a diamond.

    tables: by the run's name, one row an image, with the column jaccard in [0, 1].
    """
    figure, axes = new_figure(1, 1, (8.4, 1.25 + 0.62 * len(tables)))
    axis = axes[0, 0]
    for place, table in enumerate(tables.values()):
        _distribution(axis, place, table["jaccard"].to_numpy())
    axis.axvline(THRESHOLD, color="0.3", lw=1, ls=":")
    axis.set(
        xlim=(-0.02, 1.02),
        ylim=(len(tables) - 0.45, -0.55),
        xlabel=f"Jaccard of each image (dotted: {THRESHOLD}, below it an image counts as failed)",
        yticks=range(len(tables)),
    )
    axis.set_yticklabels(list(tables))
    axis.tick_params(axis="y", length=0)
    axis.grid(False, axis="y")
    return finish(figure, title, f"{note}; box: quartiles and median; diamond: mean")


def _distribution(axis: Axes, place: int, values: np.ndarray) -> None:
    """One run's images as dots around their place, the failed ones in another colour and mark."""
    spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(values))
    failed = values < THRESHOLD
    size = 14 if len(values) <= 200 else 7
    for chosen, mark, colour in (
        (~failed, "o", CLASS_COLOURS[1]),
        (failed, "x", CLASS_COLOURS[0]),
    ):
        dots = {"s": size, "color": colour, "alpha": 0.5, "lw": 0.9 if mark == "x" else 0}
        axis.scatter(values[chosen], place + spread[chosen], marker=mark, **dots)
    axis.boxplot(
        values,
        positions=[place],
        orientation="horizontal",
        widths=0.7,
        showfliers=False,
        showcaps=False,
        whiskerprops={"lw": 0},  # the dots tell how far it goes
        showmeans=True,
        manage_ticks=False,
        medianprops={"color": "0.1", "lw": 1.6},
        meanprops={"marker": "D", "mfc": "w", "mec": "0.1", "ms": 6},
    )
    text = f"mean {values.mean():.3f}\n{failed.sum()} of {len(values)} under {THRESHOLD}"
    beside = axis.get_yaxis_transform()
    axis.text(1.01, place, text, transform=beside, va="center", linespacing=1.4)


@rc_context(STYLE)
def threshold_curves(curves: pd.DataFrame, threshold: float, title: str, note: str) -> Figure:
    """Mean Jaccard, and mean sensitivity and specificity, over the threshold, a line a run.

    curves: columns run, threshold, jaccard, sensitivity, specificity in [0, 1], one row a run and
    threshold (means over images) or one row an image, too (whose means are drawn). threshold is the
    one in use. ValueError where a run was not scored at it.
    """
    groups = curves.groupby(["run", "threshold"], sort=False)
    curves = groups[["jaccard", *RATES]].mean().reset_index()
    runs = {run: lines.sort_values("threshold") for run, lines in curves.groupby("run", sort=False)}
    looks = [
        {"color": colour, "marker": mark, "ms": 4}
        for colour, mark in zip(RUN_COLOURS, MARKS, strict=True)
    ] * (1 + len(runs) // len(MARKS))
    handles = [
        Line2D([], [], label=_at_threshold(run, lines, threshold), **look)
        for (run, lines), look in zip(runs.items(), looks, strict=False)
    ]
    size = (8.4, 3.4 + 0.17 * len(runs))
    figure, ((jaccard, rates),) = _with_legend(1, 2, size, handles, len(runs))
    for number, (lines, look) in enumerate(zip(runs.values(), looks, strict=False)):
        every = (number % 3, 3)  # marks of lines that run together stand apart
        jaccard.plot(lines["threshold"], lines["jaccard"], markevery=every, **look)
        for rate, style in RATES.items():
            rates.plot(lines["threshold"], lines[rate], ls=style, markevery=every, **look)
    for axis in (jaccard, rates):
        axis.axvline(threshold, color="0.3", lw=1, ls=":")
        axis.set(xlim=(0, 1), xlabel="threshold on the probability of lesion")
    jaccard.set_title("mean Jaccard")
    rates.set_title("mean sensitivity and specificity")
    styles = [Line2D([], [], color="0.2", ls=style, label=rate) for rate, style in RATES.items()]
    rates.legend(handles=styles, loc="best")
    return finish(figure, title, f"{note}; dotted: threshold {threshold:.2f}")


def _at_threshold(run: str, lines: pd.DataFrame, threshold: float) -> str:
    """The run's mean Jaccard at the threshold, and the best one, in words."""
    here = lines["jaccard"][np.isclose(lines["threshold"], threshold)]
    if here.empty:
        raise ValueError(
            f"{run} was not scored at the threshold {threshold:g}; "
            f"expected one of {', '.join(f'{at:g}' for at in lines['threshold'])}"
        )
    best = lines.loc[lines["jaccard"].idxmax()]
    return (
        f"{run}: Jaccard {here.iloc[0]:.3f} at {threshold:.2f}; "
        f"its best {best['jaccard']:.3f} at {best['threshold']:.2f}"
    )


@rc_context(STYLE)
def threshold_figure(scores: pd.DataFrame, threshold: float, title: str, note: str) -> Figure:
    """Mean scores against the threshold, and the Jaccard of all images at the one given.

    scores: one row an image and threshold, with columns threshold, jaccard, sensitivity and
    specificity. The layout is fixed and quickly drawn: only marks and bars move.
    """
    figure = Figure(figsize=(8.4, 4.0))
    axis, bars = figure.add_axes((0.07, 0.25, 0.42, 0.6)), figure.add_axes((0.59, 0.25, 0.39, 0.6))
    groups = scores.groupby("threshold")
    means = groups[["jaccard", *RATES]].mean()
    for name, colour in zip(means, ("0.1", *CLASS_COLOURS[:2]), strict=True):
        here = means[name][threshold]
        axis.plot(
            means.index,
            means[name],
            color=colour,
            ls=RATES.get(name, "-"),
            label=f"{name.replace('j', 'J')} {here:.3f}",
        )
        axis.plot(threshold, here, "o", color=colour)
    axis.axvline(threshold, color="0.3", lw=1)
    axis.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="threshold on the probability of lesion")
    axis.set_title("mean over the images")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    bars.set_ylim(0, 1.05 * groups["jaccard"].agg(lambda v: np.histogram(v, BINS)[0].max()).max())
    plot_jaccards(bars, groups["jaccard"].get_group(threshold))
    bars.set_title(f"at {threshold:.2f}: {bars.get_title()}")
    return finish(figure, title, note)


def plot_jaccards(axis: Axes, values: pd.Series) -> None:
    """How many images have which Jaccard; the failed ones, below the limit, stand out."""
    failed = values < THRESHOLD
    sns.histplot(
        x=values,
        bins=BINS,
        hue=failed,
        hue_order=[False, True],
        palette=list(CLASS_COLOURS[1::-1]),
        multiple="stack",
        alpha=1,
        legend=False,
        ax=axis,
    )
    axis.axvline(THRESHOLD, color="0.3", lw=1, ls=":")
    axis.set(xlim=(0, 1), xlabel="Jaccard of an image", ylabel="images")
    axis.set_title(f"{failed.sum()} of {len(values)} under {THRESHOLD}")
    axis.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
