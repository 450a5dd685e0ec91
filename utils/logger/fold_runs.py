"""All fold runs of a segmenter, which together know each training image without having seen it."""

import re
from pathlib import Path

from utils.data.splits import note
from utils.logger.folders import command, models_of
from utils.logger.run import FREE_FIELDS, RunFolder
from utils.system import values
from utils.system.errors import RunError, listed
from utils.system.experiment import Classification
from utils.system.fold import Fold, Folds


def find(experiment: Classification, data_dir: Path) -> list[RunFolder]:
    """The finished runs of all folds, in their order, that experiment.crop_from names.

    RunError where one is missing or unfinished, with the command that makes it, and where they are
    not of one cross-validation of the official training list of this data.
    """
    name = str(experiment.crop_from)
    folds = Folds.parse(name)
    if experiment.fold and Fold.parse(experiment.fold).by_series and not folds.by_series:
        raise RunError(
            f"crop_from is {name!r}, whose folds by chance were trained on images of the very "
            f"series that fold {experiment.fold!r} holds out; take -p crop_from {name}-series."
        )
    models = folder_of(experiment, data_dir)
    kind = "series-f" if folds.by_series else "f"
    pattern = re.compile(rf"{re.escape(folds.row)}-{kind}\d+-s0")
    paths = [path for path in models.glob(f"{folds.row}-*") if pattern.fullmatch(path.name)]
    runs = {fold: run for run in map(RunFolder, paths) if (fold := _fold(run))}
    numbers = {fold.folds for fold in runs} or {5}
    by = " --fold-by series" if folds.by_series else ""
    where = folds.place if Path(folds.place).name == folds.place else ""
    make = command(data_dir, folds.row, where or experiment.profile, 0)
    if len(numbers) > 1:
        named: dict[int, list[str]] = {number: [] for number in sorted(numbers)}
        for fold, run in runs.items():
            named[fold.folds].append(run.path.name)
        kinds = " and ".join(f"{number} ({listed(sorted(of))})" for number, of in named.items())
        raise RunError(
            f"crop_from is {name!r}, and the runs in {models} are of {kinds} folds; expected one "
            f"number: move those of the other aside, or make all again with\n    {make} --folds "
            f"{max(numbers)}{by} --resume restart"
        )
    (count,) = numbers
    wanted = [Fold(number, count, folds.by_series) for number in range(1, count + 1)]
    if lacking := [fold for fold in wanted if fold not in runs or not runs[fold].finished]:
        raise RunError(
            f"crop_from is {name!r}, and {models} has no finished run of "
            f"{listed(f'{folds.row}-{fold.label}-s0' for fold in lacking)}; make what is missing "
            f"with\n    {make} --folds {count}{by}"
        )
    found = [runs[fold] for fold in wanted]
    _require_alike(found, data_dir)
    return found


def folder_of(experiment: Classification, data_dir: Path) -> Path:
    """The folder in which the fold runs of experiment.crop_from lie."""
    place = Folds.parse(str(experiment.crop_from)).place
    if Path(place).name != place:
        return values.path("crop_from", place, "folder")
    return models_of(data_dir, place or experiment.profile)


def _fold(run: RunFolder) -> Fold | None:
    """The fold that a run holds out; None where it is no such run."""
    fold = run.config.get("row", {}).get("fold")
    return Fold.parse(fold) if fold else None


def _require_alike(runs: list[RunFolder], data_dir: Path) -> None:
    """RunError for runs on another set or list, or with different recipes."""
    first = runs[0].config["row"]
    for run in runs:
        row, trained_on = run.config["row"], run.config["data"].get("set")
        free = {"fold", *FREE_FIELDS}
        different = [key for key in row if key not in free and row[key] != first.get(key)]
        found, expected = "", ""
        if trained_on != note(data_dir):
            found, expected = f"was trained on {trained_on}", note(data_dir)
        elif row.get("train_list") != "official":
            found, expected = f"has train_list {row.get('train_list')!r}", "'official'"
        elif different:
            found = f"has another {listed(different)} than {runs[0].path.name}"
            expected = "the same"
        if found:
            raise RunError(
                f"{run.path} {found}; expected {expected}, for boxes from runs of one "
                "cross-validation: name others with crop_from, or make them again."
            )
