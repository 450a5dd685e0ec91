"""From experiments, seeds and overrides to jobs, without those that are done."""

import ast
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import experiments
from study.jobs import Job
from study.notebooks import BASELINES, TRAINING, check_parameters
from study.standing import likeness, measured, standing
from utils import data, logger, model
from utils.system import errors, project, values
from utils.system.experiment import Experiment, row_label
from utils.system.fold import Folds

OWN = ("experiment", "profile", "data_dir", "run_dir", "seed", "resume")  # not for overrides

Override = tuple[str, str]  # "image_size", or of some experiments only "seg-*:image_size"; a value


@dataclass(frozen=True)
class Planned:
    """An experiment with its seed, the job that runs it, and its progress so far."""

    experiment: experiments.Row
    job: Job
    finished: bool
    begun: bool
    guess: float  # seconds an epoch of a similar run; nan where none was measured


@dataclass
class Plan:
    """The runs, those that are the same as another, and those that cannot be run."""

    runs: list[Planned] = field(default_factory=list)
    same: dict[str, str] = field(default_factory=dict)  # runs that another one stands for
    refused: dict[str, str] = field(default_factory=dict)  # runs that cannot be, and why

    @property
    def jobs(self) -> list[Job]:
        """Those of the runs that are not finished."""
        return [planned.job for planned in self.runs if not planned.finished]


def plan(
    names: Sequence[str],
    seeds: Sequence[int],
    profile: str,
    data_dir: Path,
    overrides: Sequence[Override] = (),
    resume: str = "auto",
    folds: Sequence[str] = (),
) -> Plan:
    """The runs of these experiments with these seeds, each once, in their order.

    folds: hold out each of these, a run each, instead of training on all images.

    Experiments that differ in nothing but their name are one run, under the first name. ValueError
    for an override that is no parameter of the notebook, or that fits none of the experiments.
    """
    for key, _ in overrides:
        if not any(_fits(key, name) for name in names):
            raise ValueError(f"-p {key} fits none of the rows {', '.join(names)}.")
    planner = _Planner(profile, data_dir, resume)
    changes = {name: _changes(name, overrides) for name in names}
    held: list[dict[str, Any]] = [{"fold": fold} for fold in folds] or [{}]
    for seed, name, fold in itertools.product(seeds, names, held):
        planner.add(name, seed, changes[name] | fold)
    runs = [_after(planned, planner.plan.runs) for planned in planner.plan.runs]
    lacking = {run.job.name: why for run in runs if (why := _without_boxes(run, data_dir))}
    runs = [run for run in runs if run.job.name not in lacking]
    return replace(planner.plan, runs=runs, refused=planner.plan.refused | lacking)


class _Planner:
    def __init__(self, profile: str, data_dir: Path, resume: str) -> None:
        self.profile, self.data_dir, self.resume = profile, data_dir, resume
        self.lacking, self.facts = cache(_lacking), data.facts(data_dir)
        self.seconds = measured(project.PROJECT.glob(f"model/{data.set_name(data_dir)}-*/*"))
        self.plan = Plan()
        self.first: dict[tuple, str] = {}  # the run that trains an experiment, by what it trains

    def add(self, asked: str, seed: int, changes: Mapping[str, Any]) -> None:
        """Plan the run of an experiment, or note why it is refused."""
        name = experiments.SAME_RUN.get(asked, asked)
        run = f"{asked}-s{seed}"
        own = {entry.name for entry in fields(experiments.ROWS[name])}  # else the notebook's alone
        try:
            values.check(**{key: value for key, value in changes.items() if key not in own})
            changed = {key: value for key, value in changes.items() if key in own}
            experiment = experiments.get(name, self.profile, **self.facts, **changed, seed=seed)
            run = asked + experiment.folder().removeprefix(name)
        except ValueError as error:
            self.plan.refused[run] = str(error)
            return
        folder, trained = experiment.folder(), _trained(experiment)
        problem = self.lacking(self.data_dir, experiment.train_list, experiment.allow_missing)
        if not problem and trained not in self.first and folder in self.first.values():
            problem = (
                f"it is run as {folder}, which is to run with other parameters; give -p to {name} "
                f"and {asked} alike."
            )
        if problem:
            self.plan.refused[run] = problem
            return
        if trained not in self.first:
            self.first[trained] = folder
            try:
                self.plan.runs.append(self.planned(experiment, changes))
            except errors.RunError as error:
                self.plan.refused[folder] = str(error)
        if self.first[trained] != run:
            self.plan.same[run] = self.first[trained]

    def planned(self, experiment: experiments.Row, changes: Mapping[str, Any]) -> Planned:
        """The run with its progress; RunError where its folder holds a run with other settings."""
        folder = logger.models_of(self.data_dir, self.profile) / experiment.folder()
        run = logger.RunFolder(folder)
        begun = self.resume == "auto" and run.begun
        if begun and (
            different := logger.run.differences(run, _as_stored(experiment, self.data_dir))
        ):
            raise errors.RunError(
                f"{folder} holds a run with other settings: {'; '.join(different)}. Use --resume "
                "restart (the old folder is moved aside), or -p to ask for these settings."
            )
        finished = begun and _has_results(run, experiment) and _on_these_data(run, self.data_dir)
        job = self.job(experiment, folder, changes)
        guess = self.seconds.get(likeness(asdict(experiment)), math.nan)
        return Planned(experiment, job, finished, begun and standing(job).epochs > 0, guess)

    def job(self, experiment: experiments.Row, folder: Path, changes: Mapping[str, Any]) -> Job:
        parameters = {
            "experiment": experiment.name,
            "profile": experiment.profile,
            "data_dir": str(self.data_dir),
            "run_dir": str(folder),
            "seed": experiment.seed,
            "resume": self.resume,
        }
        return Job(
            experiment.folder(),
            BASELINES if experiment.name in experiments.BASELINES else TRAINING[experiment.task],
            folder,
            parameters | dict(changes),
            experiment.epochs,
            experiment.select_score,
        )


def _trained(experiment: experiments.Row) -> tuple:
    """The fields that determine the training."""
    words = {"name", "question", "published", "deviations"}
    names = [entry.name for entry in fields(experiment) if entry.name not in words]
    return tuple((name, getattr(experiment, name)) for name in names)


def _lacking(data_dir: Path, train_list: str, allow_missing: bool) -> str:
    """Why a training list cannot be used here, in one line; "" where it can."""
    try:
        data.read(data_dir, train_list, allow_missing)
    except errors.DataError as error:
        return " ".join(str(error).split())
    return ""


def _as_stored(experiment: experiments.Row, data_dir: Path) -> Experiment:
    """The experiment as its run stores it: with the full name of the run its encoder is from."""
    if experiment.task == "labels" or experiment.encoder_from is None:
        return experiment
    classifiers = experiments.classification.ROWS
    return model.encoder.start_of(experiment, data_dir, classifiers).experiment


def _on_these_data(run: logger.RunFolder, data_dir: Path) -> bool:
    """Whether it was trained on a folder of this name; else its notebook compares fingerprints.

    The name of the run folder cannot tell: it is the same for every folder of ISIC 2017.
    """
    return run.config.get("data", {}).get("folder", data_dir.name) == data_dir.name


def _has_results(run: logger.RunFolder, experiment: experiments.Row) -> bool:
    """Whether it was trained to its end and its notebook wrote all results."""
    selection = run / f"predictions-{experiment.select_on}.csv"  # of a classifier
    complete = experiment.task == "masks" or selection.exists()
    scored = run.finished and complete and any(run.path.glob("scores-*.json"))
    return scored and not _cut_short(run, experiment)


def _cut_short(run: logger.RunFolder, experiment: experiments.Row) -> bool:
    """Whether a study began its notebook and was killed before the end, among its last figures."""
    begun = (run.path.parent / "logs" / f"{run.path.name}.json").exists()
    has_page = experiment.name not in experiments.BASELINES
    return begun and has_page and not (run / "run.html").exists()


def _after(planned: Planned, runs: Sequence[Planned]) -> Planned:
    """The same, waiting for the runs that its encoder or its boxes come from if planned, too."""
    needed = _needed(planned.experiment)
    before = [
        other.job.name
        for other in runs
        if any(fnmatchcase(name, needed) for name in _names(other)) and not other.finished
    ]
    return replace(planned, job=replace(planned.job, after=tuple(before)))


def _names(planned: Planned) -> tuple[str, str]:
    """What a planned run is called: by its row, and by its folder."""
    experiment = planned.experiment
    return row_label(experiment.name, experiment.network), planned.job.name


def _needed(experiment: experiments.Row) -> str:
    """A pattern of the names of the row or the runs that must be finished before; "" for none."""
    if experiment.task == "masks":
        return (experiment.encoder_from or "").rpartition("/")[2]
    if experiment.crop_from is None:
        return ""
    folds = Folds.parse(experiment.crop_from)
    here = folds.place in ("", experiment.profile)
    return f"{folds.label}-f[0-9]*-s0" if here else ""


def _without_boxes(planned: Planned, data_dir: Path) -> str:
    """Why the lesions' boxes cannot be had, in one line; "" where they can, or are not needed."""
    experiment = planned.experiment
    if experiment.task == "masks" or experiment.crop_from is None:
        return ""
    if planned.finished or planned.job.after:
        return ""
    try:
        logger.fold_runs.find(experiment, data_dir)
    except (errors.RunError, ValueError) as error:
        return " ".join(str(error).split())
    return ""


def _changes(name: str, overrides: Sequence[Override]) -> dict[str, Any]:
    """The parameters that overrides change in an experiment; ValueError for unknown ones."""
    changes = {
        key.rpartition(":")[2]: _literal(value) for key, value in overrides if _fits(key, name)
    }
    if own := [parameter for parameter in changes if parameter in OWN]:
        raise ValueError(
            f"-p cannot change {', '.join(own)}; use the rows' names, --profile, --data-dir, "
            "--seeds and --resume."
        )
    check_parameters(TRAINING[experiments.ROWS[name].task], changes)
    if name in experiments.BASELINES:  # the others are about training
        taken = (*experiments.BASELINES_TAKE, "train_images")
        return {key: changes[key] for key in taken if key in changes}
    return changes


def _fits(key: str, name: str) -> bool:
    """Whether an override is for the experiment, by its name or the one under which it is run."""
    pattern = key.rpartition(":")[0] or "*"
    return any(fnmatchcase(own, pattern) for own in (name, experiments.SAME_RUN.get(name, name)))


def _literal(text: str) -> Any:
    """The Python literal in a text: 20, [1, 2], True; else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # the last two: deep nesting
        return text
