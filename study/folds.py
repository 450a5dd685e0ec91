"""Cross-validation: the runs of all folds of a row together.

Each image is scored by the one network that did not see it in training, so all of them together are
an honest table of the whole training set, from which thresholds and temperatures can be taken.
"""

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from utils import evaluation
from utils.data.splits import CLASSES
from utils.evaluation.counts import Counts
from utils.evaluation.intervals import LEVEL
from utils.logger.run import RunFolder
from utils.logger.runs import title
from utils.system.fold import LARGEST, Fold

FILES = {"labels": "predictions-fold.csv", "masks": "per-image-fold.csv"}


def names(folds: int | None, by: str = "chance") -> list[str]:
    """The names of all folds of so many; none for None. ValueError for an impossible number, or
    folds by series without one."""
    if folds is None and by == "chance":
        return []
    if folds is None or not 2 <= folds <= LARGEST:
        raise ValueError(f"--folds is {folds} with --fold-by {by}; expected 2 to {LARGEST}.")
    return [str(Fold(k, folds, by == "series")) for k in range(1, folds + 1)]


def tables(runs: Sequence[RunFolder]) -> list[pd.DataFrame]:
    """The tables of classifiers and of segmenters, where there are some."""
    by_task = {task: [run for run in runs if _task(run) == task] for task in FILES}
    return [table(some) for some in by_task.values() if some]


def table(runs: Iterable[RunFolder]) -> pd.DataFrame:
    """A line for each row, kind of folds and seed: mean of the folds, deviation and interval.

    The interval is Student's over the folds; they share training images, so it is a little narrow.
    """
    lines = []
    for (row, kind, seed), group in _groups(runs).items():
        scores = pd.DataFrame([_scores(run) for run in group])
        count = len(scores)
        line: dict[Hashable, object] = {
            "row": row,
            "folds": f"{kind}{count} of {_fold(group[0]).folds}",
            "seed": seed,
        }
        for name in scores:
            mean, deviation = scores[name].mean(), scores[name].std()
            half = (
                t.isf((1 - LEVEL) / 2, count - 1) * deviation / np.sqrt(count)
                if count > 1
                else np.nan
            )
            low, high = max(mean - half, 0.0), min(mean + half, 1.0)
            line[name] = f"{mean:.3f} ± {deviation:.3f} [{low:.3f}, {high:.3f}]"
        lines.append(line)
    return pd.DataFrame(lines)


def together(runs: Iterable[RunFolder]) -> pd.DataFrame:
    """What the runs say of the images that each held out, one below the other, by id."""
    tables = []
    for run in runs:
        held = pd.read_csv(run / FILES[_task(run)], converters={"id": str})
        held.insert(1, "fold", str(_fold(run)))
        tables.append(held)
    return pd.concat(tables).sort_values("id", ignore_index=True)


def write(runs: Iterable[RunFolder]) -> list[Path]:
    """Write `<row>-folds-s<seed>.csv` beside the runs of each row that has all its folds."""
    files = []
    for (row, kind, seed), group in _groups(runs).items():
        if len(group) == _fold(group[0]).folds:
            name = f"{row}-{'series-' * bool(kind)}folds-s{seed}.csv"
            files.append(
                RunFolder(group[0].path.parent).save_table(name, together(group)).resolve()
            )
    return files


def _groups(runs: Iterable[RunFolder]) -> dict[tuple[str, str, int], list[RunFolder]]:
    groups: dict[tuple[str, str, int], list[RunFolder]] = {}
    for run in runs:
        row = run.config["row"]
        kind = "series " * _fold(run).by_series
        groups.setdefault((title(run), kind, row["seed"]), []).append(run)
    return groups


def _fold(run: RunFolder) -> Fold:
    return Fold.parse(run.config["row"]["fold"])


def _task(run: RunFolder) -> str:
    return "masks" if run.config["row"].get("task") == "masks" else "labels"


def _scores(run: RunFolder) -> dict[str, float]:
    """The scores of a fold that an epoch would be chosen by."""
    held = pd.read_csv(run / FILES[_task(run)], converters={"id": str})
    if _task(run) == "masks":
        counts = Counts(*(held[name] for name in Counts._fields))
        scores = evaluation.masks.official(counts)
        return {
            name: float(scores[name]) for name in ("jaccard", "dice", "sensitivity", "specificity")
        }
    columns = [name for name in CLASSES if name in held]
    scores = evaluation.labels.epoch_scores(held["label"], held[columns].to_numpy())
    return {name: float(value) for name, value in scores.items()}
