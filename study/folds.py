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
from utils.evaluation import out_of_fold
from utils.evaluation.counts import Counts
from utils.evaluation.intervals import LEVEL
from utils.evaluation.out_of_fold import Folds
from utils.logger.run import RunFolder
from utils.system.files import read_table
from utils.system.fold import LARGEST, Fold

FILES = {"labels": "predictions-fold", "masks": "per-image-fold"}
LEAST = 3  # folds with an interval: that of two says nothing


def names(folds: int | None, by: str = "chance") -> list[str]:
    """The names of all folds of so many; none for None. ValueError for an impossible number, or
    folds by series without one."""
    if folds is None and by == "chance":
        return []
    if folds is None:
        raise ValueError("--fold-by series says how folds are made; give their number: --folds 5.")
    if not 2 <= folds <= LARGEST:
        raise ValueError(f"--folds is {folds} with --fold-by {by}; expected 2 to {LARGEST}.")
    return [str(Fold(k, folds, by == "series")) for k in range(1, folds + 1)]


def tables(runs: Sequence[RunFolder]) -> list[pd.DataFrame]:
    """The tables of classifiers and of segmenters, where there are some."""
    by_task = {task: [run for run in runs if out_of_fold.task_of(run) == task] for task in FILES}
    return [table(some) for some in by_task.values() if some]


def table(runs: Iterable[RunFolder]) -> pd.DataFrame:
    """A line for each row, kind of folds and seed: mean of the folds, deviation and interval."""
    lines = []
    for folds in out_of_fold.grouped(runs):
        line: dict[Hashable, object] = {
            "row": folds.row,
            "folds": f"{'series ' * folds.by_series}{len(folds.runs)} of {folds.folds}",
            "seed": folds.seed,
        }
        own = scores(folds)
        lines.append(line | {name: mean_of(own[name]) for name in own})
    return pd.DataFrame(lines)


def scores(folds: Folds) -> pd.DataFrame:
    """The scores that an epoch would be chosen by, a line a fold ("1/5")."""
    index = [str(out_of_fold.fold_of(run)) for run in folds.runs]
    return pd.DataFrame([_scores(run) for run in folds.runs], index)


def mean_of(values: pd.Series) -> str:
    """The mean of the folds, their deviation, and the interval of the mean: "0.9 ± 0.1 [0.8, 1]".

    The interval is Student's over the folds, of `LEAST` or more; they share training images, so it
    is too narrow: by about 1.5 with five (Nadeau and Bengio, Machine Learning 52, 2003). A single
    fold has no deviation either.
    """
    count, mean, deviation = len(values), values.mean(), values.std()
    if count < LEAST:
        return f"{mean:.3f}" if count < 2 else f"{mean:.3f} ± {deviation:.3f}"
    half = t.isf((1 - LEVEL) / 2, count - 1) * deviation / np.sqrt(count)
    low, high = max(mean - half, 0.0), min(mean + half, 1.0)
    return f"{mean:.3f} ± {deviation:.3f} [{low:.3f}, {high:.3f}]"


def together(folds: Folds) -> pd.DataFrame:
    """What the runs say of the images that each held out, one below the other, by id."""
    return folds.table(FILES[out_of_fold.task_of(folds.runs[0])])


def write(runs: Iterable[RunFolder]) -> list[Path]:
    """Write `<row>-folds-s<seed>.csv` beside the runs of each row that has all its folds."""
    files = []
    for folds in out_of_fold.grouped(runs):
        if folds.complete:
            name = f"{folds.row}-{'series-' * folds.by_series}folds-s{folds.seed}.csv"
            place = RunFolder(folds.runs[0].path.parent)
            files.append(place.save_table(name, together(folds)).resolve())
    return files


def _scores(run: RunFolder) -> dict[str, float]:
    """The scores of a fold that an epoch would be chosen by."""
    task = out_of_fold.task_of(run)
    held = read_table(run / f"{FILES[task]}.csv")
    if task == "masks":
        counts = Counts(*(held[name] for name in Counts._fields))
        scores = evaluation.masks.official(counts)
        return {
            name: float(scores[name]) for name in ("jaccard", "dice", "sensitivity", "specificity")
        }
    given = held[evaluation.classes_in(held)].to_numpy()
    classes = evaluation.results.classes_of(run)
    scores = evaluation.labels.epoch_scores(held["label"], given, None, classes)
    return {name: float(value) for name, value in scores.items()}
