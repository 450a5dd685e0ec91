"""Out-of-fold results: of each training image by the one run of its row that did not see it.

The runs of all folds of a row together (`3-1-f1-s0` to `3-1-f5-s0`) score the whole training set,
each image by a network that had not seen it.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from utils.evaluation import ensembles
from utils.evaluation.counts import Counts
from utils.evaluation.labels import checked, classes_in
from utils.logger.about import average_in
from utils.logger.run import FREE_FIELDS, RunFolder, differences, stored_settings
from utils.logger.runs import title
from utils.system import project
from utils.system.errors import RunError
from utils.system.experiment import Experiment
from utils.system.files import read_table
from utils.system.fold import Fold

ARCHIVE = project.PROJECT / "docs" / "runs"
RELEASED = project.PROJECT / "model" / "released"
# What a run of a fold may have other than the run on the whole training list it stands beside.
OF_FOLDS = ("fold", "select_on", "keep", "seed")


class Folds(NamedTuple):
    """The finished runs of folds of a row, of one kind and seed, by their number."""

    row: str  # or the name of an ensemble
    by_series: bool
    seed: int
    folds: int  # of which these may be some
    runs: list[RunFolder]

    @property
    def complete(self) -> bool:
        return len(self.runs) == self.folds

    @property
    def kind(self) -> str:
        return "by series" if self.by_series else "by chance"

    def table(self, name: str) -> pd.DataFrame:
        """What these runs say in `<name>.csv` of the images they held out, by id; and the fold.

        RunError where one of them has no such file, or two are about the same image.
        """
        tables = []
        for run in self.runs:
            try:
                held = read_table(run / f"{name}.csv")
                held.insert(held.columns.tolist().index("id") + 1, "fold", str(fold_of(run)))
            except (OSError, ValueError, LookupError) as error:
                raise RunError(f"{run / f'{name}.csv'} cannot be read ({error}).") from error
            tables.append(held)
        together = pd.concat(tables).sort_values("id", kind="stable", ignore_index=True)
        if (together.groupby("id")["fold"].nunique() > 1).any():
            raise RunError(f"folds of {self.row} share images; train them on the same data.")
        return together


def fold_of(run: RunFolder) -> Fold:
    """The fold that a run holds out. ValueError for a run on the whole training list."""
    return Fold.parse(run.config["row"].get("fold"))


def task_of(run: RunFolder) -> str:
    """ "masks" for a segmenter, else "labels"."""
    return "masks" if run.config["row"].get("task") == "masks" else "labels"


def grouped(runs: Iterable[RunFolder]) -> list[Folds]:
    """These runs of folds by row, kind, seed, number of folds, and the networks whose boxes they
    saw; in their order."""
    groups: dict[tuple[str, bool, int, int, str], list[RunFolder]] = {}
    for run in runs:
        fold, row = fold_of(run), run.config["row"]
        key = title(run), fold.by_series, row["seed"], fold.folds, _boxes_of(run)
        groups.setdefault(key, []).append(run)
    return [
        Folds(*key[:4], runs=sorted(some, key=lambda run: fold_of(run).number))
        for key, some in groups.items()
    ]


def beside(run: RunFolder) -> list[RunFolder]:
    """The finished runs of folds in the folder of a run, that is of its set and profile.

    Those of a released run are kept in the archive.
    """
    found, folder = [], run.path.resolve().parent
    places = ARCHIVE.glob("*") if folder == RELEASED.resolve() else [folder]
    files = [file for place in places for file in place.glob("*-f[0-9]*-s[0-9]*/config.json")]
    for file in sorted(files):
        other = RunFolder(file.parent)
        try:
            if other.finished and other.config["row"].get("fold"):
                fold_of(other)
                if not ensembles.outdated(other):
                    found.append(other)
        except (RunError, ValueError):
            continue  # damaged, or of members that are: whoever names it is told
    return found


def of_the_recipe(run: RunFolder, experiment: Experiment) -> list[Folds]:
    """The complete folds of a run on the whole training list; the most like it first.

    They are of its row (or ensemble), set and profile, and have its recipe, all fields but
    `OF_FOLDS`. First those by chance: 130 of the 150 official validation images have an id of the
    same hundred as a training image, so new images are like those. Then those of the run's seed.
    """
    same = [
        other
        for other in beside(run)
        if title(other) == title(run) and _same_recipe(run, experiment, other)
    ]
    complete = [folds for folds in grouped(same) if folds.complete]
    return sorted(
        complete, key=lambda folds: (folds.by_series, folds.seed != experiment.seed, folds.seed)
    )


def predictions(
    run: RunFolder, experiment: Experiment, views: str = ""
) -> tuple[Folds, pd.DataFrame] | None:
    """The out-of-fold predictions of a classifier's row (id, label, a column a class), if any.

    views is "" for those of the row, or a suffix such as "-1-views".
    """
    for folds in of_the_recipe(run, experiment):
        with suppress(RunError, ValueError, LookupError):  # damaged: others, or none
            table = folds.table(f"predictions-fold{views}").drop(columns="fold")
            checked(table["label"], table[classes_in(table)])
            if table["id"].is_unique:
                return folds, table
    return None


def thresholds(run: RunFolder, experiment: Experiment) -> tuple[Folds, pd.DataFrame] | None:
    """The same for a segmenter: counts of pixels of each image at each threshold."""
    for folds in of_the_recipe(run, experiment):
        with suppress(RunError, ValueError, LookupError):
            table = folds.table("thresholds-fold")[["id", "threshold", *Counts._fields]]
            if not table.isna().any(axis=None):
                return folds, table
    return None


def _same_recipe(run: RunFolder, experiment: Experiment, other: RunFolder) -> bool:
    """Whether a run of a fold has the recipe of the run on the whole training list."""
    if other.config.get("data", {}).get("set") != run.config.get("data", {}).get("set"):
        return False
    if _boxes_of(other) != _boxes_of(run):
        return False
    try:
        if _members(run, experiment) != _members(other, experiment):
            return False
    except RunError:  # a member of one is gone
        return False
    if average_in(run.config) != average_in(other.config):
        return False
    row = other.config["row"]
    theirs = {name: row[name] for name in OF_FOLDS if name in row}
    try:
        expected = replace(experiment, **theirs)
    except ValueError:  # a fold without its keep, of a file that was changed
        return False
    return not differences(other, expected)


def _boxes_of(run: RunFolder) -> str:
    """Which networks found the lesions' boxes that a run saw; "" for whole images."""
    return str(run.config.get("data", {}).get("segmenter", ""))


def _members(run: RunFolder, experiment: Experiment) -> list[str]:
    """The recipes and seeds of an ensemble's members; none of another run. RunError without one."""
    members = ensembles.members(run)
    if gone := [one.path for one in members if not one.config]:
        raise RunError(f"{run.path} is an ensemble, and its member {gone[0]} is not there.")
    settings = [stored_settings(one, experiment) for one in members]
    free = {*OF_FOLDS, *FREE_FIELDS} - {"seed"}
    return sorted(
        json.dumps({name: value for name, value in row.items() if name not in free}, sort_keys=True)
        for row in settings
    )
