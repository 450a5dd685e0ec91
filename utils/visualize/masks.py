"""The Jaccard of every image: tables in, a matplotlib Figure out. Nothing here shows or saves."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.evaluation.masks import THRESHOLD
from utils.visualize.figures import CLASS_COLOURS, STYLE, finish, new_figure

BINS = np.arange(21) / 20
FAILED = {False: CLASS_COLOURS[1], True: CLASS_COLOURS[0]}  # colours


@rc_context(STYLE)
def jaccard_distributions(tables: Mapping[str, pd.DataFrame], title: str, note: str) -> Figure:
    """Every image's Jaccard, a line a run, over a box of the quartiles, with the mean as a diamond.

    tables: by the run's name, one row an image, with the column jaccard in [0, 1].
    """
    figure, axes = new_figure(1, 1, (8.4, 1.25 + 0.62 * len(tables)))
    axis = axes[0, 0]
    values = pd.concat([table["jaccard"] for table in tables.values()], ignore_index=True)
    places = np.repeat(range(len(tables)), [len(table) for table in tables.values()])
    failed = values < THRESHOLD
    spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(values))
    sns.scatterplot(
        x=values,
        y=places + spread,
        hue=failed,
        style=failed,
        palette=FAILED,
        markers={False: "o", True: "X"},
        s=20 if len(values) <= 200 * len(tables) else 10,
        alpha=0.5,
        linewidth=0,
        legend=False,
        ax=axis,
    )
    axis.boxplot(
        [table["jaccard"].to_numpy() for table in tables.values()],
        positions=range(len(tables)),
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
    for place, table in enumerate(tables.values()):
        text = f"mean {table['jaccard'].mean():.3f}\n{_failed(table['jaccard'])}"
        beside = axis.get_yaxis_transform()
        axis.text(1.01, place, text, transform=beside, va="center", linespacing=1.4)
    axis.axvline(THRESHOLD, color="0.3", lw=1, ls=":")
    words = f"Jaccard of each image (dotted: {THRESHOLD}, below it an image counts as failed)"
    axis.set(xlim=(-0.02, 1.02), ylim=(len(tables) - 0.45, -0.55), xlabel=words, ylabel="")
    axis.set_yticks(range(len(tables)), list(tables))
    axis.grid(False, axis="y")
    return finish(figure, title, f"{note}; box: quartiles and median; diamond: mean")


def plot_jaccards(axis: Axes, values: pd.Series) -> None:
    """How many images have which Jaccard; the failed ones, below the limit, stand out."""
    failed = values < THRESHOLD
    bars = {"multiple": "stack", "alpha": 1, "legend": False}
    sns.histplot(x=values, bins=BINS, hue=failed, palette=FAILED, ax=axis, **bars)
    axis.axvline(THRESHOLD, color="0.3", lw=1, ls=":")
    axis.set(xlim=(0, 1), xlabel="Jaccard of an image", ylabel="images", title=_failed(values))
    axis.yaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _failed(values: pd.Series) -> str:
    """How many of these Jaccard values count as failed."""
    return f"{(values < THRESHOLD).sum()} of {len(values)} under {THRESHOLD}"
