"""Figures of `evaluation.trust`: its tables in, a matplotlib Figure out.

Nothing here shows, saves or reads a file. Style and colours are those of `visualize.figures`. A
table without rows gives a figure that says so.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.evaluation.intervals import interval_text
from utils.evaluation.subgroups import ALL, ENOUGH, UNKNOWN
from utils.evaluation.trust import AFTER, BEFORE
from utils.visualize.figures import (
    CLASS_COLOURS,
    STYLE,
    finish,
    legend_below,
    name_lines,
    new_figure,
    plot_interval,
    unit_square,
)

LOOKS: dict[str, dict[str, Any]] = {  # of probabilities
    BEFORE: {"color": CLASS_COLOURS[0], "ls": "--"},
    AFTER: {"color": CLASS_COLOURS[1], "ls": "-"},
}
MARKS = {BEFORE: "o", AFTER: "s"}
RULE_LOOKS: tuple[dict[str, Any], ...] = (  # of the rules that choose thresholds
    {"color": CLASS_COLOURS[0], "marker": "o"},
    {"color": CLASS_COLOURS[2], "marker": "s"},
    {"color": "0.3", "marker": "D"},
)
WILSON = "bars: 95 % Wilson intervals"
METRICS = {"auc": "AUC", "sensitivity": "sensitivity", "specificity": "specificity"}


@rc_context(STYLE)
def reliability_diagram(table: pd.DataFrame, title: str, note: str) -> Figure:
    """Observed share against mean probability of each bin, over how many images are in each.

    table as `trust.Assessment.reliability`. Bars are 95 % Wilson intervals; on the dotted line
    the probabilities mean what they say.
    """

    def draw(axes: np.ndarray, rows: pd.DataFrame) -> None:
        top, bottom = axes
        top.plot([0, 1], [0, 1], ":", color="0.4", label="perfect")
        for version, look in _versions(rows).items():
            bins = rows[rows["probabilities"] == version]
            bottom.stairs(bins["n"], np.append(bins["low"], bins["high"].iloc[-1]), lw=1.4, **look)
            bins = bins[bins["n"] > 0]
            x, y = bins["mean_probability"], bins["observed"]
            error = (bins["n"] * (x - y).abs()).sum() / bins["n"].sum()
            arms = np.clip([y - bins["observed_low"], bins["observed_high"] - y], 0, None)
            label = f"{version}: calibration error {error:.3f}"
            top.errorbar(x, y, arms, marker=MARKS[version], elinewidth=0.8, label=label, **look)
        unit_square(top, "", "observed share")
        top.set_aspect("auto")
        bottom.set(ylabel="images", xlabel="predicted probability")
        # Below both: at the top left lie the bins of few images.
        legend_below(bottom, lines_of=top)

    grid = {"height_ratios": [3, 1], "sharex": True}
    return _panels(table, draw, (4.0, 6.1), title, note, WILSON, **grid)


@rc_context(STYLE)
def decision_curves(table: pd.DataFrame, title: str, note: str) -> Figure:
    """Net benefit of a network, of treating all and of treating no one, a panel a class.

    table as `trust.Assessment.decision`.
    """

    def draw(axes: np.ndarray, rows: pd.DataFrame) -> None:
        axis = axes[0]
        for version, look in _versions(rows).items():
            curve = rows[rows["probabilities"] == version]
            axis.plot(curve["threshold"], curve["model"], label=version, **look)
        x, colour = curve["threshold"], look["color"]
        axis.fill_between(x, curve["low"], curve["high"], color=colour, alpha=0.15, lw=0)
        axis.plot(x, curve["treat_all"], "-.", color="0.3", label="treat all")
        axis.plot(x, curve["treat_none"], ":", color="0.3", label="treat no one")
        top = max(rows["high"].max(), rows["treat_all"].max())
        axis.set(ylim=(-0.3 * top - 0.01, 1.1 * top + 0.01), ylabel="net benefit")
        axis.set(xlabel="threshold probability", xlim=(0, x.max()))
        legend_below(axis, 2)

    band = "band: pointwise 95 % bootstrap interval"
    band += " of the scaled ones" * (AFTER in set(table["probabilities"]))
    return _panels(table, draw, (4.2, 4.4), title, note, band)


@rc_context(STYLE)
def operating_points(roc: pd.DataFrame, points: pd.DataFrame, title: str, note: str) -> Figure:
    """The reported ROC with what each rule's threshold does there, a panel a class.

    roc and points as `trust.Assessment.roc` and `.operating` hold them.
    """

    def draw(axes: np.ndarray, curve: pd.DataFrame) -> None:
        axis, name = axes[0], curve["class"].iloc[0]
        axis.plot(curve["false_positive_rate"], curve["sensitivity"], color=CLASS_COLOURS[1])
        axis.plot([0, 1], [0, 1], ":", color="0.4")
        _mark_rules(axis, points[points["class"] == name])
        unit_square(axis, "false-positive rate (1 - specificity)", "sensitivity")
        legend_below(axis)

    return _panels(roc, draw, (4.0, 5.9), title, note, WILSON)


def _mark_rules(axis: Axes, points: pd.DataFrame) -> None:
    """Where each rule's threshold leads, with the intervals of both rates."""
    for row, look in zip(points.to_dict("records"), RULE_LOOKS, strict=True):
        label = (
            f"{row['rule']}: above {row['threshold']:.3g},\n"
            f"sensitivity {row['sensitivity']:.3f}, specificity {row['specificity']:.3f}"
        )
        across, up = _arms(row, "specificity")[::-1], _arms(row, "sensitivity")
        x, y = 1 - row["specificity"], row["sensitivity"]
        axis.errorbar(x, y, up, across, ms=6, lw=1.2, ls="none", zorder=3, label=label, **look)


def _arms(row: dict, rate: str) -> np.ndarray:
    """How far the interval reaches below and above the value: (2, 1)."""
    value = row[rate]
    return np.clip([[value - row[f"{rate}_low"]], [row[f"{rate}_high"] - value]], 0, None)


def _panels(
    table: pd.DataFrame,
    draw: Callable[[np.ndarray, pd.DataFrame], None],
    size: tuple[float, float],
    title: str,
    note: str,
    bars: str,
    **grid: Any,
) -> Figure:
    """A column of axes a class, each of that size in inches.

    bars: what is said of them behind the note; grid: as `new_figure` takes it.
    """
    if table.empty:
        return _nothing(title, note)
    classes = _classes(table)
    rows = len(grid.get("height_ratios", [1]))
    figure, axes = new_figure(rows, len(classes), (size[0] * len(classes) + 0.4, size[1]), **grid)
    for column, name in zip(axes.T, classes, strict=True):
        draw(column, table[table["class"] == name])
        column[0].set_title(name.replace("_", " "))
    return finish(figure, title, f"{note}; {bars}")


def _nothing(title: str, note: str) -> Figure:
    figure, axes = new_figure(1, 1, (6.0, 1.8))
    axes[0, 0].text(0.5, 0.5, "nothing to show: a class or the metadata is missing", ha="center")
    axes[0, 0].set_axis_off()
    return finish(figure, title, note)


@rc_context(STYLE)
def subgroup_forest(table: pd.DataFrame, title: str, note: str) -> Figure:
    """AUC, sensitivity and specificity of each group, a line a group under its class.

    table as `subgroups.subgroups` gives it. Hollow: a small group, whose AUC has no interval. The
    dashed line is the value of all images.
    """
    if table.empty:
        return _nothing(title, note)
    lines: list[dict | str] = []  # groups under the names of their classes
    for name in _classes(table):
        lines += [name.replace("_", " "), *table[table["class"] == name].to_dict("records")]
    size = (3.0 + 2.7 * len(METRICS), 1.4 + 0.27 * len(lines))
    figure, axes = new_figure(1, len(METRICS), size)
    for axis, (metric, title_of) in zip(axes[0], METRICS.items(), strict=True):
        for place, line in enumerate(lines):
            if isinstance(line, dict):
                _group(axis, place, line, metric)
                if line["group"] == ALL:
                    ends = [place, place + (table["class"] == line["class"]).sum() - 1]
                    axis.plot([line[metric]] * 2, ends, "--", color="0.4", lw=0.8)
        axis.set(title=title_of, xlim=(-0.03, 1.03))
    name_lines(axes[0], [_name(line) for line in lines])
    for label, line in zip(axes[0, 0].get_yticklabels(), lines, strict=True):
        label.set_weight("bold" if isinstance(line, str) else "normal")
    note = f"{note}; ( ): positives of images; bars: 95 % intervals (AUC: bootstrap, else Wilson)"
    if table["small"].any():
        note += f"; hollow: fewer than {ENOUGH} positives or negatives"
    return finish(figure, title, note)


def _versions(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The looks of the probabilities that the table has: without a temperature none are scaled."""
    return {name: look for name, look in LOOKS.items() if name in set(table["probabilities"])}


def _classes(table: pd.DataFrame) -> list[str]:
    return list(table["class"].unique())


def _name(line: str | dict) -> str:
    """What stands left of a line: a class, or a group with its positives and images."""
    if isinstance(line, str):
        return line
    by = f"{line['by']} " if line["group"] == UNKNOWN else ""
    return f"{by}{line['group']} ({line['positives']} of {line['n']})"


def _group(axis: Axes, place: int, line: dict, metric: str) -> None:
    """One metric of a group, hollow where the group is small."""
    value, low, high = (line[f"{metric}{end}"] for end in ("", "_low", "_high"))
    text = interval_text(value, low, high)
    if metric == "auc" and line["small"] and not np.isnan(value):
        text = f"{value:.3f}, too few"
    face = "w" if line["small"] else CLASS_COLOURS[1]
    plot_interval(axis, place, value, low, high, text, ls="none", mfc=face)
