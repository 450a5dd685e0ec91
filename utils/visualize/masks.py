"""The Jaccard of every image: tables in, a matplotlib Figure out. Nothing here shows or saves."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.evaluation.masks import THRESHOLD
from utils.visualize.figures import CLASS_COLOURS, STYLE, finish, new_figure

BINS = np.arange(21) / 20
FAILED = {False: CLASS_COLOURS[1], True: CLASS_COLOURS[0]}  # colours
BOX: dict[str, Any] = {
    "widths": 0.7,
    "showfliers": False,
    "showcaps": False,
    "whiskerprops": {"lw": 0},  # the dots show the range
    "showmeans": True,
    "medianprops": {"color": "0.1", "lw": 1.6},
    "meanprops": {"marker": "D", "mfc": "w", "mec": "0.1", "ms": 6},
}


@rc_context(STYLE)
def jaccard_distributions(tables: Mapping[str, pd.DataFrame], title: str, note: str) -> Figure:
    """Every image's Jaccard, a line a run, over a box of the quartiles, with the mean as a diamond.

    tables: by the run's name, one row an image, with the column jaccard in [0, 1].
    """
    import seaborn as sns  # slow: it imports scipy.stats

    figure, ((axis,),) = new_figure(1, 1, (8.4, 1.25 + 0.62 * len(tables)))
    runs = [table["jaccard"] for table in tables.values()]
    values, places = pd.concat(runs), np.repeat(range(len(runs)), [len(run) for run in runs])
    failed = values < THRESHOLD
    spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(values))
    sns.scatterplot(
        x=values.to_numpy(),
        y=places + spread,
        hue=failed.to_numpy(),
        style=failed.to_numpy(),
        palette=FAILED,
        markers={False: "o", True: "X"},
        s=20 if len(values) <= 200 * len(runs) else 10,
        alpha=0.5,
        linewidth=0,
        legend=False,
        ax=axis,
    )
    axis.boxplot(
        [run.to_numpy() for run in runs],
        positions=range(len(runs)),
        orientation="horizontal",
        manage_ticks=False,
        **BOX,
    )
    for place, run in enumerate(runs):
        text = f"mean {run.mean():.3f}\n{_failed(run)}"
        beside = axis.get_yaxis_transform()
        axis.text(1.01, place, text, transform=beside, va="center", linespacing=1.4)
    axis.axvline(THRESHOLD, color="0.3", lw=1, ls=":")
    words = f"Jaccard of each image (dotted: {THRESHOLD}, below it an image counts as failed)"
    axis.set(xlim=(-0.02, 1.02), ylim=(len(runs) - 0.45, -0.55), xlabel=words, ylabel="")
    axis.set_yticks(range(len(runs)), list(tables))
    axis.grid(False, axis="y")
    return finish(figure, title, f"{note}; box: quartiles and median; diamond: mean")


def plot_jaccards(axis: Axes, values: pd.Series) -> None:
    """A histogram of the images' Jaccard, the failed ones in a colour of their own."""
    import seaborn as sns  # slow: it imports scipy.stats

    sns.histplot(
        x=values,
        bins=BINS,
        hue=values < THRESHOLD,
        palette=FAILED,
        multiple="stack",
        alpha=1,
        legend=False,
        ax=axis,
    )
    axis.axvline(THRESHOLD, color="0.3", lw=1, ls=":")
    axis.set(xlim=(0, 1), xlabel="Jaccard of an image", ylabel="images", title=_failed(values))
    axis.yaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _failed(values: pd.Series) -> str:
    """How many of these Jaccard values count as failed."""
    return f"{(values < THRESHOLD).sum()} of {len(values)} under {THRESHOLD}"
