"""What the threshold on a probability decides, of classifiers and of segmenters."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from utils.evaluation import counts
from utils.evaluation.labels import classes_in, scheme
from utils.evaluation.masks import per_image
from utils.visualize.figures import CLASS_COLOURS, STYLE, axes_at, finish, legend_below
from utils.visualize.labels import plot_confusion
from utils.visualize.masks import BINS, plot_jaccards

STEPS = np.arange(101) / 100  # thresholds at which the answers of a classifier are counted
SHOWN = ("jaccard", "sensitivity", "specificity")
MARKS = "os^DvP"
RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9")
RATES = {"sensitivity": (CLASS_COLOURS[0], "--"), "specificity": (CLASS_COLOURS[1], "-.")}


class Decision(NamedTuple):
    """One yes/no question that a run answers: what each threshold makes of it."""

    title: str  # of the rates
    rates: pd.DataFrame  # a column a rate, over the thresholds in its index
    plot_at: Callable[[Axes, float], None]  # the images or pixels at one of these thresholds


def decisions(table: pd.DataFrame) -> dict[str, Decision]:
    """The questions that a run answers, by class, or "lesion" for a segmenter.

    table: predictions as `results.predictions` gives them, or the counts of a segmenter, one
    row an image and threshold, as `full_size.Result.thresholds`.
    """
    if "label" not in table:
        return {"lesion": _of_masks(table)}
    names = classes_in(table)
    return {name: _of_labels(table, name) for name in scheme(names).ranked if name in names}


def _of_labels(table: pd.DataFrame, name: str) -> Decision:
    truth = table["label"] == classes_in(table).index(name)
    columns = ["sensitivity", "specificity", "accuracy"]
    over_steps = pd.DataFrame(
        counts.rates(counts.counts_above(truth, table[name], STEPS)), STEPS, columns
    )

    def plot_at(axis: Axes, threshold: float) -> None:
        tp, fp, fn, tn = counts.counts_above(truth, table[name], threshold)
        plot_confusion(axis, np.array([[tp, fn], [fp, tn]]), (name.replace("_", " "), "the rest"))
        axis.set_title(f"positive: above {threshold:.2f}")

    return Decision("over all thresholds", over_steps, plot_at)


def _of_masks(table: pd.DataFrame) -> Decision:
    groups = threshold_scores({"": table}).groupby("threshold")
    most = max(np.histogram(values, BINS)[0].max() for _, values in groups["jaccard"])

    def plot_at(axis: Axes, threshold: float) -> None:
        plot_jaccards(axis, groups["jaccard"].get_group(threshold))
        axis.set(ylim=(0, 1.05 * most), title=f"at {threshold:.2f}: {axis.get_title()}")

    means = groups[list(SHOWN)].mean().rename(columns={"jaccard": "Jaccard"})
    return Decision("means over the images", means, plot_at)


@rc_context(STYLE)
def threshold_figure(
    decision: Decision, threshold: float, of: str, title: str, note: str
) -> Figure:
    """The rates over all thresholds, and what is decided at the one given.

    of: what the probability is of. The layout is fixed and quickly drawn: nothing but marks, cells
    and bars moves with the threshold.
    """
    figure = Figure(figsize=(8.4, 4.2))
    axis, beside = axes_at(figure, 0.6, 1.1, 3.7, 2.5), axes_at(figure, 5.4, 1.1, 2.8, 2.5)
    for name, rates in decision.rates.items():
        colour, style = RATES.get(str(name), ("0.1", "-"))
        here = rates[threshold]
        label = f"{name} {'undefined' if np.isnan(here) else f'{here:.3f}'}"
        axis.plot(rates.index, rates, color=colour, ls=style, label=label)
        axis.plot(threshold, here, "o", color=colour)
    axis.axvline(threshold, color="0.3", lw=1)
    words = f"threshold on the probability of {of.replace('_', ' ')}"
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.03, 1.03), xlabel=words, title=decision.title)
    legend_below(axis, 3)
    decision.plot_at(beside, threshold)
    return finish(figure, title, note)


def threshold_scores(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The official scores of each image at each threshold, all runs below one another.

    tables: by the run's name, with columns id, threshold, tp, fp, fn, tn, one row an image and
    threshold. Gives columns run, id, threshold, jaccard, sensitivity, specificity.
    """
    parts = []
    for run, table in tables.items():
        scores = per_image(counts.counts_of(table))
        named = table[["id"]].assign(run=run, threshold=table["threshold"].round(6))
        parts.append(named.assign(**{metric: scores[metric] for metric in SHOWN}))
    return pd.concat(parts, ignore_index=True)[["run", "id", "threshold", *SHOWN]]


@rc_context(STYLE)
def threshold_curves(curves: pd.DataFrame, threshold: float, title: str, note: str) -> Figure:
    """Mean Jaccard, and mean sensitivity and specificity, over the threshold, a line a run.

    curves: columns run, threshold, jaccard, sensitivity, specificity in [0, 1], one row a run and
    threshold (means over images) or one row an image, too (whose means are drawn). threshold is the
    one in use. ValueError where a run was not scored at it.
    """
    import seaborn as sns  # slow: it imports scipy.stats

    texts = {run: _at_threshold(str(run), rows, threshold) for run, rows in curves.groupby("run")}
    curves = curves.assign(run=curves["run"].map(texts))
    count = len(texts)
    foot = 1.0 + 0.17 * count
    figure = Figure(figsize=(8.4, foot + 2.85))
    axes = [axes_at(figure, left, foot, 3.55, 2.3) for left in (0.5, 4.6)]
    colours, marks = (list(each) * (1 + count // 6) for each in (RUN_COLOURS, MARKS))
    lines: dict[str, Any] = {"x": "threshold", "hue": "run", "style": "run", "errorbar": None}
    lines |= {"palette": colours[:count], "markers": marks[:count], "dashes": False, "ms": 6}
    for axis, scores in zip(axes, (["jaccard"], list(RATES)), strict=True):
        for score in scores:
            style = RATES[score][1] if score in RATES else "-"
            sns.lineplot(curves, y=score, ls=style, ax=axis, **lines)
        for number, line in enumerate(axis.lines):
            line.set_markevery((number % 3, 3))  # marks of lines that run together stand apart
        axis.axvline(threshold, color="0.3", lw=1, ls=":")
        axis.set(xlim=(0, 1), xlabel="threshold on the probability of lesion", ylabel="")
    axes[0].set_title("mean Jaccard")
    axes[1].set_title("mean sensitivity and specificity")
    styles = [Line2D([], [], color="0.2", ls=ls, label=rate) for rate, (_, ls) in RATES.items()]
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].legend().remove()
    legend_below(axes[1], 2, handles=styles)
    place = (0.5, 0.2 / figure.get_figheight())
    figure.legend(handles, labels, loc="lower center", bbox_to_anchor=place)
    return finish(figure, title, f"{note}; dotted: threshold {threshold:.2f}")


def _at_threshold(run: str, scores: pd.DataFrame, threshold: float) -> str:
    """The run's mean Jaccard at the threshold, and the best one, in words."""
    means = scores.groupby("threshold")["jaccard"].mean()
    if threshold not in means:
        raise ValueError(
            f"{run} was not scored at the threshold {threshold:g}; "
            f"expected one of {', '.join(f'{at:g}' for at in means.index)}"
        )
    return (
        f"{run}: Jaccard {means[threshold]:.3f} at {threshold:.2f}; "
        f"its best {means.max():.3f} at {means.idxmax():.2f}"
    )
