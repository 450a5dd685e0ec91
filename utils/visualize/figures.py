"""What all figures share, and those of both tasks: data in, a matplotlib Figure out.

Nothing here shows, saves or reads a file. Colours are Okabe and Ito's, which stay apart for
colour-blind eyes (https://jfly.uni-koeln.de/color/), and one of Paul Tol's; lines differ in style
or mark, too: seven colours and three styles, so that twenty classes look different. Every figure
carries a note that names its data.
"""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from utils.data.names import CLASSES
from utils.evaluation.intervals import interval_text
from utils.system.fonts import families

# Of ISIC 2017's classes melanoma, seborrheic keratosis, benign; then of further ones.
CLASS_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255")
CLASS_STYLES: tuple[Any, ...] = ("-", "--", "-.")
CLASS_LABELS = tuple(name.replace("_", " ") for name in CLASSES)
SCORE_LOOKS: dict[str, tuple[str, Any]] = {  # of learning curves; the rest is a dark solid line
    "auc_melanoma": (CLASS_COLOURS[0], "--"),
    "auc_seborrheic_keratosis": (CLASS_COLOURS[1], "-."),
    "dice": ("#0072B2", (0, (6, 1))),
    "threshold_jaccard": ("#E69F00", ":"),
    "accuracy": ("#009E73", "-."),
    "sensitivity": ("#D55E00", "--"),
    "specificity": ("#CC79A7", (0, (3, 1, 1, 1, 1, 1))),
}
# seaborn's whitegrid in the sizes of its "paper" times 0.85, as numbers: seaborn imports
# scipy.stats, which takes half as long as torch.
SEABORN: dict[str, Any] = {
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "patch.edgecolor"), "w"),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), "0.15"),
    **{"font.size": 8.16, "axes.labelsize": 8.16, "legend.title_fontsize": 8.16},
    **{"xtick.labelsize": 7.48, "ytick.labelsize": 7.48, "legend.fontsize": 7.48},
    **{"axes.linewidth": 1.0, "grid.linewidth": 0.8, "patch.linewidth": 0.8},
    **{"lines.markersize": 4.8, "lines.solid_capstyle": "round", "patch.force_edgecolor": True},
    **{"axes.grid": True, "axes.axisbelow": True, "grid.linestyle": "-"},
    **{"xtick.direction": "out", "xtick.major.size": 4.8, "xtick.major.width": 1.0},
    **{"ytick.direction": "out", "ytick.major.size": 4.8, "ytick.major.width": 1.0},
    **dict.fromkeys(("xtick.minor.size", "ytick.minor.size"), 3.2),
    **dict.fromkeys(("xtick.minor.width", "ytick.minor.width"), 0.8),
    **dict.fromkeys(("xtick.bottom", "xtick.top", "ytick.left", "ytick.right"), False),
    **dict.fromkeys(("axes.spines.left", "axes.spines.bottom"), True),
}
STYLE = {
    **SEABORN,
    "axes.edgecolor": "0.4",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "font.family": families(),
    "grid.color": "0.9",
    "legend.framealpha": 0.7,
    "legend.edgecolor": "none",
    "lines.linewidth": 1.5,
    "text.parse_math": False,  # an id may hold a dollar sign
}


def class_label(label: int, classes: Sequence[str] = CLASSES) -> str:
    """What a figure calls the class of an image, which may have none."""
    return classes[label].replace("_", " ") if label >= 0 else "no label"


def class_look(number: int) -> dict[str, Any]:
    """Colour and style of a class's line; no two of 20 classes have both the same."""
    return {
        "color": CLASS_COLOURS[number % len(CLASS_COLOURS)],
        "ls": CLASS_STYLES[number % len(CLASS_STYLES)],
    }


def new_figure(
    rows: int, columns: int, size: tuple[float, float], **grid: Any
) -> tuple[Figure, np.ndarray]:
    """A figure of that size in inches, and its axes (rows, columns). Draw it within STYLE.

    grid: as `Figure.subplots` takes it: height_ratios, sharex, ….
    """
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **grid)


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place of the figure, all in inches: where constrained layout takes too long."""
    wide, tall = figure.get_size_inches()
    return figure.add_axes((left / wide, bottom / tall, width / wide, height / tall))


def finish(figure: Figure, title: str, note: str) -> Figure:
    """The figure with its title above and the note that names its data below."""
    top: dict[str, float] = {}
    bottom: dict[str, float] = {}
    if figure.get_layout_engine() is None:  # else that finds the places
        height = figure.get_figheight()
        top, bottom = {"y": 1 - 0.1 / height}, {"y": 0.06 / height}
    figure.suptitle(title, fontsize=11, **top)
    lines = note_lines(note, figure.get_figwidth())
    figure.supxlabel("\n".join(lines), fontsize=8, color="0.35", **bottom)
    return figure


def note_lines(note: str, width: float) -> list[str]:
    """The lines of a note below a figure so many inches wide."""
    return wrap(note, round(14 * width)) or [""]


def unit_square(axis: Axes, x: str, y: str) -> None:
    """Axes of these names from 0 to 1, as wide as they are high."""
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xlabel=x, ylabel=y)


def legend_below(
    axis: Axes,
    columns: int = 1,
    lines_of: Axes | None = None,
    handles: Sequence[Any] | None = None,
) -> None:
    """A legend under the name of the x axis, where it covers nothing; by default of its lines."""
    handles = handles or (lines_of or axis).get_legend_handles_labels()[0]
    place = axis.transAxes + ScaledTranslation(0, -0.42, axis.figure.dpi_scale_trans)  # inches
    below = {"bbox_to_anchor": (0.5, 0), "bbox_transform": place, "borderaxespad": 0}
    axis.legend(handles=handles, loc="upper center", ncols=columns, **below)


@rc_context(STYLE)
def learning_curves(
    history: pd.DataFrame, select_score: str, title: str, note: str, keep: str = "best"
) -> Figure:
    """Loss, scores (the kept epoch ringed), and α per block where there is one, over the epochs.

    history as `fit` gives it: epoch, learning_rate, loss, scores, "α <block>" columns. keep is the
    experiment's: with "last" the scores choose nothing, and the figure says so.
    """
    alphas = alpha_columns(history)
    panels = 3 if alphas else 2
    names = list(history.columns.drop(["epoch", "learning_rate", "loss", *alphas], errors="ignore"))
    beside = 1 if max(map(len, map(str, names)), default=0) > 28 else 2  # in the legend
    height = 3.1 + 0.17 * -(-len(names) // beside)
    figure, ((loss, scores, *attention),) = new_figure(1, panels, (3.4 * panels, height))
    _plot_epochs(loss, history, "loss", color="0.2")
    loss.set_title("training loss")
    areas = [name for name in map(str, names) if name.startswith("auc_") and name != "auc_mean"]
    looks = {name: tuple(class_look(number).values()) for number, name in enumerate(areas)}
    looks = SCORE_LOOKS | looks if len(areas) > 2 else looks | SCORE_LOOKS  # ISIC 2017 has two
    for name in map(str, names):
        colour, style = looks.get(name, ("0.2", "-"))
        label = name.replace("auc_", "AUC ").replace("_", " ")
        _plot_epochs(scores, history, name, color=colour, ls=style, label=label)
    if select_score in history and history[select_score].notna().any():
        kept = history.iloc[-1 if keep == "last" else history[select_score].argmax()]
        scores.plot(kept["epoch"], kept[select_score], "o", color="0.2", mfc="none", ms=9)
    watched = ", watched only" * (keep == "last")
    scores.set_title(f"scores{watched} (ring: the epoch kept)")
    legend_below(scores, beside)
    for axis in attention:
        _plot_alphas(axis, history)
        axis.set_title("attention weight α of each block")
    return finish(figure, title, note)


def _plot_epochs(axis: Axes, history: pd.DataFrame, column: str, **look: Any) -> None:
    """A column over the epochs, with ticks at integers only."""
    marker = "o" if len(history) < 3 else None  # a line of one epoch would be invisible
    axis.plot(history["epoch"], history[column], marker=marker, **look)
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def alpha_columns(history: pd.DataFrame) -> list[str]:
    """The columns that hold attention weights, one a block, from the first block to the last."""
    return [name for name in map(str, history) if name.startswith("α ")]


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
        _plot_alphas(axis, history)
        axis.set(title=run, ylabel="α")
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    if not shown:
        axes[0, 0].text(0.5, 0.5, "no attention weights α in these runs", ha="center")
    return finish(figure, title, note)


def _plot_alphas(axis: Axes, history: pd.DataFrame) -> None:
    """α of each block over the epochs; colour runs from the first block to the last.

    A bar beside them names the blocks, of more than nine the first and the last.
    """
    alphas = alpha_columns(history)
    names = [name.removeprefix("α ").removesuffix(".alpha") for name in alphas]
    inner = np.linspace(0, 1, len(alphas) + 2)[1:-1]
    colours = list(map(tuple, colormaps["viridis"](inner)))
    for column, name, colour in zip(alphas, names, colours, strict=True):
        _plot_epochs(axis, history, column, color=colour, label=name)
    axis.axhline(0, color="0.6", lw=0.8)
    axis.margins(y=0.15)
    places = Normalize(-0.5, len(alphas) - 0.5)
    blocks = ScalarMappable(places, ListedColormap(colours))
    bar = axis.figure.colorbar(blocks, cax=axis.inset_axes((1.03, 0, 0.04, 1)))
    step = 1 if len(alphas) <= 9 else len(alphas) - 1
    bar.set_ticks(range(0, len(alphas), step), labels=names[::step])


@rc_context(STYLE)
def score_intervals(table: pd.DataFrame, title: str, note: str) -> Figure:
    """Forest plot: a panel a metric, a line a run (point and interval), published values hollow.

    table as `score_tables.label_points` or `mask_points` give it, one row a point: columns
    run, metric, value, low, high (nan for published values), published (bool). Runs and metrics in
    the order they come.
    """
    runs, metrics = table["run"].unique(), table["metric"].unique()
    columns = min(4, len(metrics))
    rows = -(-len(metrics) // columns)
    height = 1.3 + 0.34 * len(runs) + (0.7 + 0.34 * len(runs)) * (rows - 1)
    figure, axes = new_figure(rows, columns, (3.0 + 2.9 * columns, height))
    published = table.groupby("run", sort=False)["published"].all()
    for axis, metric in zip(axes.flat, metrics, strict=False):
        for point in table[table["metric"] == metric].to_dict("records"):
            place, value = list(runs).index(point["run"]), point["value"]
            if point["published"]:
                look = {"marker": "D", "mfc": "w", "color": "0.3"}
                plot_interval(axis, place, value, np.nan, np.nan, f"{value:.3f}", **look)
            else:
                numbers = value, point["low"], point["high"]
                plot_interval(axis, place, *numbers, interval_text(*numbers))
        axis.set_title(metric)
        if 0 < published.sum() < len(runs):
            axis.axhline((~published).sum() - 0.5, color="0.6", lw=0.8)
    for line in axes:
        name_lines(line, [run.replace(" (", "\n(") for run in runs], fontsize=7.5)
    for axis in axes.flat[len(metrics) :]:
        axis.set_axis_off()
    if published.any():
        note += "; hollow: published, on the 600 official test images; training lists differ"
    other = " (balanced accuracy: from Wilson's)" * ("balanced accuracy" in metrics)
    return finish(figure, title, f"{note}; bars: 95 % bootstrap intervals{other}")


def plot_interval(
    axis: Axes, place: int, value: float, low: float, high: float, text: str, **look: Any
) -> None:
    """A line of a forest plot: the interval, the point (look: of its mark), and a text beside."""
    axis.plot([low, high], [place, place], color=CLASS_COLOURS[1], lw=1.6)
    axis.plot(value, place, **{"marker": "o", "color": CLASS_COLOURS[1], "zorder": 3, **look})
    axis.text(1.02, place, text, transform=axis.get_yaxis_transform(), va="center", fontsize=7)


def name_lines(axes: Sequence[Axes], names: Sequence[str], **text: Any) -> None:
    """The names of the lines of a forest plot, from the top, left of its first panel."""
    for axis in axes:
        axis.set(ylim=(len(names) - 0.4, -0.6), yticks=range(len(names)))
        axis.tick_params(axis="y", labelleft=axis is axes[0], length=0)
    axes[0].set_yticklabels(names, **text)
