"""The outcome of experiments: their finished runs, their scores, and their evaluations."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import experiments
from study.jobs import Job, State
from study.notebooks import BASELINES, EVALUATION, TRAINING
from study.plan import Plan
from utils import evaluation, logger
from utils.system import errors

Runs = dict[str, logger.RunFolder]  # by name
# What follows the row in the folder of a run on the whole training list: a library's network, and
# the seed.
_WHOLE = re.compile(r"(-(timm|smp)-.+(?<!-f\d)(?<!-f\d\d))?-s\d+")


def names_of(wanted: Sequence[str], profile: str, finished: bool = False) -> list[str]:
    """The experiments asked for; "all" stands for those that the profile has a recipe for.

    But for those that need the folds of another, unless only finished runs are asked for.
    """
    every = [name for name in experiments.ROWS if profile in experiments.profiles(name)]
    alone = [name for name in every if getattr(experiments.ROWS[name], "crop_from", None) is None]
    known = (every if finished else alone) if "all" in wanted else []
    return list(dict.fromkeys([*known, *(name for name in wanted if name != "all")]))


def summary(folder: Path) -> str:
    """The scores of a run folder in a few lines."""
    lines = [str(folder)]
    for file in sorted(folder.glob("scores-*.json")):
        try:
            lines.append(evaluation.summary(evaluation.score_files.read(file)))
        except errors.RunError as error:
            lines.append(str(error))
    return "\n".join(lines)


@dataclass(frozen=True)
class Outcome:
    """Of these experiments on these data; planned is None where every finished run counts."""

    names: Sequence[str]
    profile: str
    data_dir: Path
    split: str
    planned: Plan | None

    def runs(self, states: Mapping[Job, State]) -> Runs:
        """The finished runs, given the state of each job, in the order of the experiments."""
        runs, _ = self._on_disk()
        if self.planned is None:
            return runs
        ended = [run for run in self.planned.runs if states.get(run.job, "done") == "done"]
        folders = [run.job.folder for run in ended]
        return {name: run for name, run in runs.items() if run.path in folders}

    def absent(self, runs: Runs) -> list[str]:
        """The experiments without a run among these, where every finished run counts."""
        if self.planned is not None:
            return []
        there = {logger.runs.title(run) for run in runs.values()}
        return [name for name in self.names if experiments.SAME_RUN.get(name, name) not in there]

    def damaged(self) -> list[str]:
        """What is wrong with run folders that cannot be read."""
        return self._on_disk()[1]

    def evaluations(self, states: Mapping[Job, State], teams: Runs | None = None) -> list[Job]:
        """The evaluation of each task, once none of its trainings and no baseline is left.

        A baseline is evaluated as a run only where no network was; else it is what these beat.
        With ensembles: the evaluation of their task, them among the runs.
        """
        left = {job.notebook for job, state in states.items() if state in ("waiting", "running")}
        jobs, runs = [], [*self.runs(states).values(), *(teams or {}).values()]
        for task, notebook in EVALUATION.items():
            of_task = [run for run in runs if experiments.task_of(run.config["row"]) == task]
            trained = [r for r in of_task if r.config["row"]["name"] not in experiments.BASELINES]
            of_task = trained or of_task
            if teams and not any(run in of_task for run in teams.values()):
                continue
            if of_task and not left.intersection((TRAINING[task], BASELINES)):
                name = f"{notebook.stem.lower()}-{self.split}"
                parameters = {
                    "data_dir": str(self.data_dir),
                    "split": self.split,
                    "runs": [str(run.path) for run in of_task],
                }
                folder = logger.outputs.folder_of(of_task, name)
                jobs.append(Job(name, notebook, folder, parameters))
        return jobs

    def _on_disk(self) -> tuple[Runs, list[str]]:
        """The finished runs of these experiments in this profile, and what is wrong with others."""
        runs: Runs = {}
        damaged = []
        models = logger.models_of(self.data_dir, self.profile)
        for name in dict.fromkeys(experiments.SAME_RUN.get(name, name) for name in self.names):
            for path in sorted(models.glob(f"{name}-*s[0-9]*")):
                if not _WHOLE.fullmatch(path.name.removeprefix(name)):
                    continue
                run = logger.RunFolder(path)
                try:
                    if run.finished:
                        _check_experiment(run)
                        runs[path.name] = run
                except errors.RunError as error:
                    damaged.append(str(error))
        return runs, damaged


def _check_experiment(run: logger.RunFolder) -> None:
    """RunError where neither the table nor the run's profile has its experiment."""
    config = run.config
    if config["row"].get("name") not in experiments.ROWS:
        raise errors.RunError(f"{run / 'config.json'} names no row of the table")
    try:
        experiment = experiments.restore(config["row"])
        experiments.get(experiment.name, experiment.profile)
    except ValueError as error:
        raise errors.RunError(f"{run / 'config.json'}: {error}") from error
