"""What has come of the experiments: their finished runs, their scores, and who looks at them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import experiments
from study.jobs import Job, State
from study.plan import Plan
from study.tasks import EVALUATION, TRAINING
from utils import evaluation, logger
from utils.system import errors

Runs = dict[str, logger.RunFolder]  # by name


def names_of(wanted: Sequence[str], profile: str) -> list[str]:
    """The experiments that are meant; all means those that the profile has a recipe for."""
    every = [name for name in experiments.ROWS if profile in experiments.profiles(name)]
    return every if "all" in wanted else list(dict.fromkeys(wanted))


def summary(folder: Path) -> str:
    """What the score files of a run folder say, in a few lines."""
    lines = [str(folder)]
    for file in sorted(folder.glob("scores-*.json")):
        try:
            lines.append(evaluation.summary(evaluation.score_files.read(file)))
        except errors.RunError as error:
            lines.append(str(error))
    return "\n".join(lines)


@dataclass(frozen=True)
class Outcome:
    """Of these experiments on these data; planned is None where all that is finished counts."""

    names: Sequence[str]
    profile: str
    data_dir: Path
    split: str
    planned: Plan | None

    def runs(self, states: Mapping[Job, State]) -> Runs:
        """The runs to look at when the jobs stand like this, in the order of the experiments."""
        runs, _ = self._on_disk()
        if self.planned is None:
            return runs
        ended = [run for run in self.planned.runs if states.get(run.job, "done") == "done"]
        folders = [run.job.folder for run in ended]
        return {name: run for name, run in runs.items() if run.path in folders}

    def absent(self, runs: Runs) -> list[str]:
        """The experiments without a run among these, where all that is finished counts."""
        if self.planned is not None:
            return []
        there = {run.config["row"]["name"] for run in runs.values()}
        return [name for name in self.names if experiments.SAME_RUN.get(name, name) not in there]

    def damaged(self) -> list[str]:
        """What is wrong with run folders that nothing can be said of."""
        return self._on_disk()[1]

    def evaluations(self, states: Mapping[Job, State]) -> list[Job]:
        """A notebook for the classifiers and one for the segmenters, once none of them is left."""
        left = {job.notebook for job, state in states.items() if state in ("waiting", "running")}
        jobs, runs = [], self.runs(states).values()
        for task, notebook in EVALUATION.items():
            of_task = [run for run in runs if experiments.task_of(run.config["row"]) == task]
            if of_task and TRAINING[task] not in left:
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
        """All finished runs of these experiments in this profile; what is wrong with others."""
        runs: Runs = {}
        damaged = []
        models = logger.models_of(self.data_dir, self.profile)
        for name in dict.fromkeys(experiments.SAME_RUN.get(name, name) for name in self.names):
            for path in sorted(models.glob(f"{name}-s[0-9]*")):
                if not path.name.rpartition("-s")[2].isdecimal():
                    continue
                run = logger.RunFolder(path)
                try:
                    if run.finished:
                        _require_known(run)
                        runs[path.name] = run
                except errors.RunError as error:
                    damaged.append(str(error))
        return runs, damaged


def _require_known(run: logger.RunFolder) -> None:
    """RunError where the run is of no experiment that the table, or its profile, has."""
    config = run.config
    if config["row"].get("name") not in experiments.ROWS:
        raise errors.RunError(f"{run / 'config.json'} names no row of the table")
    try:
        experiment = experiments.restore(config["row"])
        experiments.get(experiment.name, experiment.profile)
    except ValueError as error:
        raise errors.RunError(f"{run / 'config.json'}: {error}") from error
