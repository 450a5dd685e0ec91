"""Figures of `evaluation.trust`: its tables in, a matplotlib Figure out.

Nothing here shows, saves or reads a file. Style and colours are those of
`visualize.figures`; no line is told from another by colour alone. A table without rows gives a
figure that says so.
"""

from collections.abc import Callable
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.evaluation.subgroups import ALL, ENOUGH, UNKNOWN
from utils.evaluation.trust import AFTER, BEFORE
from utils.visualize.figures import CLASS_COLOURS, STYLE, finish, new_figure, unit_square

LOOKS = {  # of probabilities: colour, line style, mark
    BEFORE: (CLASS_COLOURS[0], "--", "o"),
    AFTER: (CLASS_COLOURS[1], "-", "s"),
}
MARKS = ("o", "s", "D")  # of the rules that choose thresholds
RULE_COLOURS = (CLASS_COLOURS[0], CLASS_COLOURS[2], "0.3")
METRICS = {"auc": "AUC", "sensitivity": "sensitivity", "specificity": "specificity"}
_BELOW = {"loc": "upper center", "borderaxespad": 0}


@rc_context(STYLE)
def reliability_diagram(table: pd.DataFrame, title: str, note: str) -> Figure:
    """Observed share against mean probability of each bin, over how many images are in each.

    table as `trust.Assessment.reliability`. Bars are 95 % Wilson intervals; on the dotted line
    the probabilities mean what they say.
    """
    classes = _classes(table)
    if not classes:
        return _nothing(title, note)
    size = (0.6 + 4.0 * len(classes), 6.1)
    figure, axes = new_figure(2, len(classes), size, height_ratios=[3, 1], sharex=True)
    for (top, bottom), name in zip(axes.T, classes, strict=True):
        rows = table[table["class"] == name]
        plot_reliability(top, rows)
        top.set(title=name.replace("_", " "), xlabel="", aspect="auto")
        for version, (colour, style, _) in LOOKS.items():
            bins = rows[rows["probabilities"] == version]
            edges = np.append(bins["low"], bins["high"].iloc[-1])
            bottom.stairs(bins["n"], edges, color=colour, ls=style, lw=1.4)
        bottom.set(ylabel="images", xlabel="predicted probability")
        # Below both: at the top left lie the bins of few images.
        bottom.legend(*top.get_legend_handles_labels(), bbox_to_anchor=(0.5, -0.42), **_BELOW)
    return finish(figure, title, f"{note}; bars: 95 % Wilson intervals")


def plot_reliability(axis: Axes, table: pd.DataFrame) -> None:
    """Observed share against mean probability of each bin; table of one class as above."""
    axis.plot([0, 1], [0, 1], ":", color="0.4", label="perfect")
    for version, look in LOOKS.items():
        bins = table[(table["probabilities"] == version) & (table["n"] > 0)]
        _bins(axis, bins, version, look)
    unit_square(axis, "predicted probability", "observed share")


@rc_context(STYLE)
def decision_curves(table: pd.DataFrame, title: str, note: str) -> Figure:
    """Net benefit over the threshold probability, as `trust.Assessment.decision` holds it."""

    def draw(axis: Axes, rows: pd.DataFrame) -> None:
        plot_decision(axis, rows)
        axis.legend(bbox_to_anchor=(0.5, -0.16), ncols=2, **_BELOW)

    note = f"{note}; band: pointwise 95 % bootstrap interval of the scaled ones"
    return _panels(table, draw, (4.2, 4.4), title, note)


def plot_decision(axis: Axes, table: pd.DataFrame) -> None:
    """Net benefit of a network, of treating all and of treating no one; table of one class."""
    for version, (colour, style, _) in LOOKS.items():
        curve = table[table["probabilities"] == version]
        axis.plot(curve["threshold"], curve["model"], style, color=colour, label=version)
    axis.fill_between(
        curve["threshold"], curve["low"], curve["high"], color=colour, alpha=0.15, lw=0
    )
    axis.plot(curve["threshold"], curve["treat_all"], "-.", color="0.3", label="treat all")
    axis.plot(curve["threshold"], curve["treat_none"], ":", color="0.3", label="treat no one")
    top = max(table["high"].max(), table["treat_all"].max())
    axis.set(ylim=(-0.3 * top - 0.01, 1.1 * top + 0.01), ylabel="net benefit")
    axis.set(xlabel="threshold probability", xlim=(0, curve["threshold"].max()))


@rc_context(STYLE)
def operating_points(roc: pd.DataFrame, points: pd.DataFrame, title: str, note: str) -> Figure:
    """The reported ROC with what each rule's threshold does there, a panel a class.

    roc and points as `trust.Assessment.roc` and `.operating` hold them.
    """

    classes = _classes(roc)
    if not classes:
        return _nothing(title, note)
    width, height, side = 4.4 * len(classes), 5.9, 3.6  # inches; the axes are squares
    figure = Figure(figsize=(width, height))
    for number, name in enumerate(classes):
        left, bottom = (0.6 + 4.4 * number) / width, 1.75 / height
        axis = figure.add_axes((left, bottom, side / width, side / height))
        curve = roc[roc["class"] == name]
        axis.plot(curve["false_positive_rate"], curve["sensitivity"], color=CLASS_COLOURS[1])
        axis.plot([0, 1], [0, 1], ":", color="0.4")
        _mark_rules(axis, points[points["class"] == name])
        unit_square(axis, "false-positive rate (1 - specificity)", "sensitivity")
        axis.set_title(name.replace("_", " "))
    note = fill(f"{note}; bars: 95 % Wilson intervals", 60 * len(classes) + 10)
    return finish(figure, title, note)


@rc_context(STYLE)
def subgroup_forest(table: pd.DataFrame, title: str, note: str) -> Figure:
    """AUC, sensitivity and specificity of each group, a line a group under its class.

    table as `subgroups.subgroups` gives it. Hollow: a small group, whose AUC has no interval. The
    dashed line is the value of all images.
    """
    if table.empty:
        return _nothing(title, note)
    lines = [line for name in _classes(table) for line in (name, *_rows(table, name))]
    size = (3.0 + 2.7 * len(METRICS), 1.4 + 0.27 * len(lines))
    figure, axes = new_figure(1, len(METRICS), size)
    for axis, (metric, name) in zip(axes[0], METRICS.items(), strict=True):
        for place, line in enumerate(lines):
            if not isinstance(line, str):
                _point(axis, line, metric, place)
                if line["group"] == ALL:
                    ends = [place, place + len(_rows(table, line["class"])) - 1]
                    axis.plot([line[metric]] * 2, ends, "--", color="0.4", lw=0.8)
        axis.set(title=name, xlim=(-0.03, 1.03), ylim=(len(lines) - 0.4, -0.6))
        axis.set_yticks(range(len(lines)), [_name(line) for line in lines])
        axis.tick_params(axis="y", labelleft=axis is axes[0, 0], length=0)
    for label, line in zip(axes[0, 0].get_yticklabels(), lines, strict=True):
        label.set_weight("bold" if isinstance(line, str) else "normal")
    note = f"{note}; ( ): positives of images; bars: 95 % intervals (AUC: bootstrap, else Wilson)"
    if table["small"].any():
        note += f"; hollow: fewer than {ENOUGH} positives or negatives"
    return finish(figure, title, fill(note, 150))


def _bins(axis: Axes, bins: pd.DataFrame, version: str, look: tuple[str, str, str]) -> None:
    """The bins that hold images: mean probability, observed share, and its interval."""
    colour, style, mark = look
    x, y = bins["mean_probability"], bins["observed"]
    error = (bins["n"] * (x - y).abs()).sum() / bins["n"].sum()
    arms = np.clip([y - bins["observed_low"], bins["observed_high"] - y], 0, None)
    label = f"{version}: calibration error {error:.3f}"
    fmt = {"color": colour, "ls": style, "marker": mark, "elinewidth": 0.8}
    axis.errorbar(x, y, yerr=arms, label=label, **fmt)


def _mark_rules(axis: Axes, points: pd.DataFrame) -> None:
    """Where each rule's threshold leads, with the intervals of both rates."""
    for row, mark, colour in zip(points.to_dict("records"), MARKS, RULE_COLOURS, strict=True):
        label = (
            f"{row['rule']}: above {row['threshold']:.3g},\n"
            f"sensitivity {row['sensitivity']:.3f}, specificity {row['specificity']:.3f}"
        )
        across, up = _arms(row, "specificity")[::-1], _arms(row, "sensitivity")
        look = {"color": colour, "marker": mark, "ms": 6, "lw": 1.2, "ls": "none", "zorder": 3}
        place = (1 - row["specificity"], row["sensitivity"])
        axis.errorbar(*place, xerr=across, yerr=up, label=label, **look)
    axis.legend(bbox_to_anchor=(0.5, -0.13), **_BELOW)


def _panels(
    table: pd.DataFrame,
    draw: Callable[[Axes, pd.DataFrame], None],
    size: tuple[float, float],
    title: str,
    note: str,
) -> Figure:
    """A panel a class, each of that size in inches."""
    classes = _classes(table)
    if not classes:
        return _nothing(title, note)
    figure, axes = new_figure(1, len(classes), (size[0] * len(classes) + 0.4, size[1]))
    for axis, name in zip(axes[0], classes, strict=True):
        draw(axis, table[table["class"] == name])
        axis.set_title(name.replace("_", " "))
    return finish(figure, title, fill(note, 60 * len(classes) + 10))


def _nothing(title: str, note: str) -> Figure:
    figure, axes = new_figure(1, 1, (6.0, 1.8))
    axes[0, 0].text(0.5, 0.5, "nothing to show: a class or the metadata is missing", ha="center")
    axes[0, 0].set_axis_off()
    return finish(figure, title, note)


def _classes(table: pd.DataFrame) -> list[str]:
    return list(table["class"].unique())


def _rows(table: pd.DataFrame, name: str) -> list[dict]:
    return table[table["class"] == name].to_dict("records")


def _name(line: str | dict) -> str:
    """What stands left of a line: a class, or a group with its positives and images."""
    if isinstance(line, str):
        return line.replace("_", " ")
    by = f"{line['by']} " if line["group"] == UNKNOWN else ""
    return f"{by}{line['group']} ({line['positives']} of {line['n']})"


def _point(axis: Axes, line: dict, metric: str, place: int) -> None:
    value, low, high = (line[f"{metric}{end}"] for end in ("", "_low", "_high"))
    text, colour = "undefined", CLASS_COLOURS[1]
    if not np.isnan(value):
        text = f"{value:.3f}" if metric != "auc" or not line["small"] else f"{value:.3f}, too few"
        axis.plot(value, place, "o", color=colour, mfc="w" if line["small"] else colour, zorder=3)
    if not np.isnan(low):
        text += f" [{low:.3f}, {high:.3f}]"
        axis.plot([low, high], [place, place], color=colour, lw=1.6)
    beside = axis.get_yaxis_transform()
    axis.text(1.03, place, text, transform=beside, va="center", fontsize=7)


def _arms(row: dict, rate: str) -> np.ndarray:
    """How far the interval reaches below and above the value: (2, 1)."""
    value = row[rate]
    return np.clip([[value - row[f"{rate}_low"]], [row[f"{rate}_high"] - value]], 0, None)
