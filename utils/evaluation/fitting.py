"""On which images a temperature or a threshold of a run may be fitted, and what is said of them.

A network is too sure of images that it was trained on, so they must be others. The out-of-fold
predictions of its row are of all 2000 training images, each by a network that had not seen it, and
of the same recipe; a hold-out has 300, among them 56 melanomas. A run on all training images that
has no folds has nothing to be fitted on: the validation split is watched, never fitted on.
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from utils.evaluation import ensembles, masks, out_of_fold, results, trust
from utils.evaluation.counts import counts_of
from utils.evaluation.intervals import interval_text
from utils.evaluation.paired import mean_difference
from utils.evaluation.significance import Difference
from utils.logger.run import RunFolder
from utils.system.errors import RunError
from utils.system.experiment import Experiment

WORDS = {"holdout": "hold-out images of the run", "fold": "images of the run's fold"}


class Fitting(NamedTuple):
    """Predictions to fit a temperature and thresholds on."""

    table: pd.DataFrame | None  # as `results.predictions` gives them; None where nothing may be
    where: str  # "2000 out-of-fold predictions of 3-1"; without a table, why there is none
    part: str = ""  # of the run's own files, where they are used: "holdout", "fold-1-views"

    @property
    def images(self) -> str:
        """What was fitted on; "–" for nothing."""
        return "–" if self.table is None else self.where

    def for_report(self, reported: pd.DataFrame) -> Self:
        """The same where it may be applied to these predictions, else without a table."""
        why = "" if self.table is None else trust.refusal(self.table, reported)
        return self._replace(table=None, where=why) if why else self

    def said(self, temperature: float | None = None) -> str:
        """Where was fitted what a figure or a table shows."""
        if self.table is None:
            return "nothing was fitted"
        what = "fitted" if temperature is None else f"temperature {temperature:.2f}, fitted"
        return f"{what} on {self.where}"


def predictions(run: RunFolder, experiment: Experiment, views: str = "") -> Fitting:
    """What a temperature and the thresholds of a classifier are fitted on.

    The out-of-fold predictions of its row where all folds of its recipe are there
    (`out_of_fold.of_the_recipe`); else those of its own hold-out or fold, read from its folder. A
    run on all training images has no other. views is a suffix such as "-1-views", "" for the row's
    own number.
    """
    if run.config.get("file"):
        return Fitting(None, "a file of predictions is about no other images.")
    whole = experiment.select_on != "fold"
    if whole and (found := out_of_fold.predictions(run, experiment, views)):
        folds, table = found
        return Fitting(table, _of_folds(folds, experiment, f"{len(table)} out-of-fold predictions"))
    if experiment.select_on not in WORDS:
        return Fitting(
            None,
            "the run was trained on all training images, and its row has no complete folds of the "
            "same recipe and views (reproduce.py --folds 5 makes them), so the probabilities are "
            "shown as they are.",
        )
    part = f"{experiment.select_on}{views}"
    if len({_held_out(one) for one in ensembles.members(run)}) > 1:
        return Fitting(None, "its members did not hold out the same images.")
    try:
        table = results.stored_predictions(run, part)
    except RunError as error:
        return Fitting(None, str(error), part)
    return Fitting(table, f"{len(table)} {WORDS[experiment.select_on]}", part)


def _held_out(run: RunFolder) -> str:
    """Which training images a run did not learn, in a word."""
    row = run.config.get("row", {})
    return str([row.get(name) for name in ("select_on", "fold", "seed")])


class Threshold(NamedTuple):
    """The threshold of masks that out-of-fold images would choose: a proposal, used by no score."""

    best: float
    used: float  # the run's, or 0.5 where pixels were not counted at that one
    gain: Difference  # mean Jaccard at the best minus that at the used, of these images
    where: str


def mask_threshold(run: RunFolder, experiment: Experiment, used: float) -> Threshold | None:
    """The threshold with the highest mean Jaccard of the row's out-of-fold images; None without.

    Of the thresholds at which pixels were counted, the nearest to the used one among equals. Its
    gain flatters a little, as it was chosen on the images that give it.
    """
    found = out_of_fold.thresholds(run, experiment)
    if experiment.select_on == "fold" or not found:
        return None
    folds, table = found
    jaccards = _jaccards(table)
    used = used if used in jaccards else 0.5
    means = jaccards.mean()
    equals = means.index[np.isclose(means, means.max(), rtol=0, atol=1e-12)]
    best = float(min(equals, key=lambda threshold: abs(threshold - used)))
    where = _of_folds(folds, experiment, f"{len(jaccards)} out-of-fold images")
    return Threshold(best, used, _gain(jaccards, best, used), where)


def proposed(
    proposals: Mapping[str, Threshold], reported: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """For display, a line a run: its threshold, the proposed one, and what that would change.

    reported: counts of the reported images at each threshold, as `full_size.Result.thresholds`.
    """
    lines = {}
    for name, one in proposals.items():
        here = _gain(_jaccards(reported[name]), one.best, one.used)
        lines[name] = {
            "used": f"{one.used:.2f}",
            "proposed": f"{one.best:.2f}",
            "by": one.where,
            "gain there": _signed(one.gain),
            "gain here": _signed(here),
            "Jaccard here": f"{here.first:.3f}, used: {here.second:.3f}",
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def _jaccards(table: pd.DataFrame) -> pd.DataFrame:
    """Jaccard of each image, a column a threshold."""
    jaccards = table[["id"]].assign(
        threshold=table["threshold"].round(6), jaccard=masks.per_image(counts_of(table))["jaccard"]
    )
    return jaccards.pivot_table("jaccard", "id", "threshold")


def _gain(jaccards: pd.DataFrame, best: float, used: float) -> Difference:
    first, second = (jaccards[[at]].to_numpy().T for at in (best, used))
    return mean_difference(first, second)


def _signed(difference: Difference) -> str:
    return interval_text(difference.value, difference.low, difference.high, sign=True)


def _of_folds(folds: out_of_fold.Folds, experiment: Experiment, what: str) -> str:
    """What, of which row; and by series or of another seed, where it is."""
    words = f"{what} of {folds.row}"
    words += ", folds by series" * folds.by_series
    return words + (f", seed {folds.seed}" if folds.seed != experiment.seed else "")
