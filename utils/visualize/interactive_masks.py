"""What moves in the evaluation of segmenters: a slider for the threshold, orders for the cases.

As in `visualize.interactive`, whose case browser takes ORDERS from here.
"""

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from utils.evaluation import ranking
from utils.evaluation.counts import counts_of
from utils.evaluation.masks import THRESHOLD, per_image
from utils.logger.run import RunFolder
from utils.visualize import masks
from utils.visualize.interactive import Orders, can_move, show_panel

SHOWN = ("jaccard", "sensitivity", "specificity")
ORDERS: Orders = {
    "worst first": lambda table: table.sort_values(["jaccard", "id"]),
    "best first": lambda table: table.sort_values(["jaccard", "id"], ascending=[False, True]),
    f"under {THRESHOLD}": ranking.failures,
    "all, by id": lambda table: table.sort_values("id"),
}


def threshold_scores(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The official scores of each image at each threshold, all runs below one another.

    tables: by the run's name, with columns id, threshold, tp, fp, fn, tn, one row an image and
    threshold. Gives columns run, id, threshold, jaccard, sensitivity, specificity.
    """
    parts = []
    for run, table in tables.items():
        scores = per_image(counts_of(table))
        named = table[["id", "threshold"]].assign(run=run)
        parts.append(named.assign(**{metric: scores[metric] for metric in SHOWN}))
    return pd.concat(parts, ignore_index=True)[["run", "id", "threshold", *SHOWN]]


def threshold_slider(
    output: RunFolder, tables: Mapping[str, pd.DataFrame], note: str, threshold: float = 0.5
) -> None:
    """The mean scores, and the Jaccard of every image, at a threshold that moves.

    tables as in `threshold_scores`. The first state, the first run at `threshold`, is written as
    figure "threshold". ValueError where not every run was scored at that threshold.
    """
    steps, threshold = _steps(tables, threshold)
    scores = dict(iter(threshold_scores(tables).groupby("run")))

    def draw(run: str, threshold: float) -> Figure:
        title = f"{run}: one threshold, and all"
        return masks.threshold_figure(scores[run], threshold, title, note)

    figure = draw(next(iter(tables)), threshold)
    if not can_move(output, "threshold", figure):
        return
    import ipywidgets as widgets  # needs a kernel whose front end knows widgets

    run = widgets.Dropdown(options=list(tables), description="run")
    slider = widgets.SelectionSlider(
        options=[(f"{step:.2f}", step) for step in steps], value=threshold, description="threshold"
    )
    show_panel(
        (run,),
        slider,
        figure,
        lambda: draw(run.value, slider.value),
        lambda: _numbers(scores[run.value], slider.value),
    )


def _steps(tables: Mapping[str, pd.DataFrame], threshold: float) -> tuple[list[float], float]:
    """The thresholds that every run was scored at, and the one among them that is meant."""
    steps = sorted(set.intersection(*(set(table["threshold"]) for table in tables.values())))
    meant = [step for step in steps if math.isclose(step, threshold, abs_tol=1e-6)]
    if not meant:
        raise ValueError(
            f"threshold is {threshold:g}; expected one that every run was scored at: "
            f"{', '.join(f'{step:g}' for step in steps)}"
        )
    return steps, meant[0]


def _numbers(scores: pd.DataFrame, threshold: float) -> str:
    """The mean scores at a threshold, and how many images fail, in one line of HTML."""
    here = scores[scores["threshold"] == threshold]
    names = ("Jaccard", *SHOWN[1:])
    means = here[list(SHOWN)].mean()
    words = [f"{name} <b>{mean:.3f}</b>" for name, mean in zip(names, means, strict=True)]
    failed = int((here["jaccard"] < THRESHOLD).sum())
    words.append(f"under {THRESHOLD}: <b>{failed}</b> of {len(here)} images")
    return " &nbsp; ".join(words)
