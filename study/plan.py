"""What is to be run: from rows, seeds and overrides to jobs, without those that are done."""

import ast
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import experiments
from study.jobs import Job
from study.notebooks import check_parameters
from study.standing import likeness, measured, standing
from utils import data, logger
from utils.model import encoder
from utils.system import errors, project, values
from utils.system.project import NOTEBOOKS

TRAINING = {
    experiments.ClassificationRow: NOTEBOOKS / "ARL-CNN.ipynb",
    experiments.SegmentationRow: NOTEBOOKS / "Segmentation.ipynb",
}
OWN = ("experiment", "profile", "data_dir", "run_dir", "seed", "resume")  # not for overrides

Override = tuple[str, str]  # "image_size", or for some rows only "seg-*:image_size"; and its value


@dataclass(frozen=True)
class Planned:
    """A row with its seed: how it will be run, and what stands there already."""

    row: experiments.Row
    job: Job
    finished: bool
    begun: bool
    guess: float  # seconds an epoch of a run like it; nan where none was measured


@dataclass
class Plan:
    """What is to be done, what need not be, and what cannot."""

    runs: list[Planned] = field(default_factory=list)
    same: dict[str, str] = field(default_factory=dict)  # runs that another one stands for
    refused: dict[str, str] = field(default_factory=dict)  # runs that cannot be, and why

    @property
    def jobs(self) -> list[Job]:
        """Those that are left to run."""
        return [planned.job for planned in self.runs if not planned.finished]


def plan(
    names: Sequence[str],
    seeds: Sequence[int],
    profile: str,
    data_dir: Path,
    overrides: Sequence[Override] = (),
    resume: str = "auto",
) -> Plan:
    """The runs of these rows with these seeds, each once, in their order.

    Rows that differ in nothing but their name are one run, under the first name. Raises ValueError
    for an override that a notebook does not have as parameter, or that fits no row.
    """
    lacking = cache(_lacking)
    known = measured(project.PROJECT.glob(f"model/{data.set_name(data_dir)}-*/*"))
    made, first = Plan(), {}
    _check_fit(names, overrides)
    for seed, asked in itertools.product(seeds, names):
        name = experiments.SAME_RUN.get(asked, asked)
        chosen, run = _overrides(name, overrides, {asked, name}), f"{asked}-s{seed}"
        try:
            values.check(**_of_notebook(name, chosen))
            row = experiments.get(name, profile, **_of_row(name, chosen), seed=seed)
        except ValueError as error:
            made.refused[run] = str(error)
            continue
        if problem := lacking(data_dir, row.train_list, row.allow_missing):
            made.refused[run] = problem
            continue
        # What is trained; the rest says why.
        trained = replace(row, name="", question="", published=())
        if trained not in first and row.folder() in first.values():
            made.refused[run] = (
                f"it is run as {row.folder()}, which is to run with other parameters; give -p to "
                f"{name} and {asked} alike."
            )
            continue
        if trained not in first:
            first[trained] = row.folder()
            _add(made, row, data_dir, chosen, resume, known)
        if first[trained] != run:
            made.same[run] = first[trained]
    return replace(made, runs=[_after(planned, made.runs) for planned in made.runs])


def _lacking(data_dir: Path, train_list: str, allow_missing: bool) -> str:
    """Why a training list cannot be used here, in one line; "" where it can."""
    try:
        data.read(data_dir, train_list, allow_missing)
    except errors.DataError as error:
        return " ".join(str(error).split())
    return ""


def _add(
    made: Plan,
    row: experiments.Row,
    data_dir: Path,
    chosen: dict[str, Any],
    resume: str,
    known: dict[tuple[str, ...], float],
) -> None:
    """Put a run into the plan; among the refused where its folder holds another one."""
    folder = logger.models_of(data_dir, row.profile) / row.folder()
    run = logger.RunFolder(folder)
    parameters = {
        "experiment": row.name,
        "profile": row.profile,
        "data_dir": str(data_dir),
        "run_dir": str(folder),
        "seed": row.seed,
        "resume": resume,
    }
    job = Job(
        row.folder(),
        TRAINING[type(row)],
        folder,
        parameters | chosen,
        row.epochs,
        row.select_score,
    )
    try:
        begun = resume == "auto" and run.begun
        if begun and (different := logger.run.differences(run, _as_stored(row, data_dir))):
            raise errors.RunError(
                f"{folder} holds a run with other settings: {'; '.join(different)}. Use --resume "
                "restart (the old folder is moved aside), or -p to ask for these settings."
            )
        finished = begun and _has_results(run, row) and _on_these_data(run, data_dir)
    except errors.RunError as error:
        made.refused[row.folder()] = str(error)
        return
    guess = known.get(likeness(asdict(row)), float("nan"))
    made.runs.append(Planned(row, job, finished, begun and standing(job).epochs > 0, guess))


def _as_stored(row: experiments.Row, data_dir: Path) -> experiments.Row:
    """The row as its run's settings hold it: with the full name of the run its encoder is from."""
    if getattr(row, "encoder_from", None) is None:
        return row
    return encoder.start_of(row, data_dir, experiments.classification.ROWS).row


def _on_these_data(run: logger.RunFolder, data_dir: Path) -> bool:
    """Whether the data it was trained on bear this name; else its notebook compares fingerprints.

    The name of a run folder cannot tell: it is the same for every folder of ISIC 2017.
    """
    return run.config.get("data", {}).get("folder", data_dir.name) == data_dir.name


def _has_results(run: logger.RunFolder, row: experiments.Row) -> bool:
    """Whether it was trained to its end, and all that its notebook writes then is there."""
    if not run.finished:
        return False
    if isinstance(row, experiments.ClassificationRow):
        return any(run.path.glob("scores-*.json")) and _chose(run, row).exists()
    return any(run.path.glob("scores-*.json"))


def _chose(run: logger.RunFolder, row: experiments.Row) -> Path:
    """The predictions on the images that chose the epoch."""
    return run / f"predictions-{row.select_on}.csv"


def _after(planned: Planned, runs: Sequence[Planned]) -> Planned:
    """The same, waiting for the run its encoder comes from where that is planned, too."""
    wanted = getattr(planned.row, "encoder_from", None)
    if wanted is None:
        return planned
    wanted = wanted.rpartition("/")[2]
    before = [
        other.job.name
        for other in runs
        if wanted in (other.row.name, other.job.name) and not other.finished
    ]
    return replace(planned, job=replace(planned.job, after=tuple(before)))


def _overrides(name: str, overrides: Sequence[Override], called: Iterable[str]) -> dict[str, Any]:
    """What is changed in row `name`, whatever it is called.

    ValueError for what its notebook does not know.
    """
    chosen = {}
    for key, value in overrides:
        pattern, _, parameter = key.rpartition(":")
        if any(fnmatchcase(one, pattern or "*") for one in called):
            chosen[parameter] = _literal(value)
    if own := [parameter for parameter in chosen if parameter in OWN]:
        raise ValueError(
            f"-p cannot change {', '.join(own)}; use the rows' names, --profile, --data-dir, "
            "--seeds and --resume."
        )
    check_parameters(TRAINING[type(experiments.ROWS[name])], chosen)
    return chosen


def _check_fit(names: Sequence[str], overrides: Sequence[Override]) -> None:
    called = {*names, *(experiments.SAME_RUN.get(name, name) for name in names)}
    for key, _ in overrides:
        pattern = key.rpartition(":")[0]
        if pattern and not any(fnmatchcase(name, pattern) for name in called):
            raise ValueError(f"-p {key} fits none of the rows {', '.join(names)}.")


def _of_row(name: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """Those overrides that are fields of the row."""
    own = {entry.name for entry in fields(experiments.ROWS[name])}
    return {key: value for key, value in chosen.items() if key in own}


def _of_notebook(name: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """Those overrides that are for the notebook alone."""
    return {key: value for key, value in chosen.items() if key not in _of_row(name, chosen)}


def _literal(text: str) -> Any:
    """The value that a text stands for; the text itself where it is none: 20, [1, 2], none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # the latter: brackets on end
        return text
