"""What has come of the rows: their finished runs, and the notebooks that look at them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import experiments
from study.jobs import Job
from study.plan import TRAINING, Plan
from utils import logger
from utils.logger import outputs
from utils.system import errors
from utils.system.project import NOTEBOOKS

EVALUATION = {
    experiments.ClassificationRow: NOTEBOOKS / "Evaluation-Cls.ipynb",
    experiments.SegmentationRow: NOTEBOOKS / "Evaluation-Seg.ipynb",
}

Runs = dict[str, logger.RunFolder]  # by name


def rows_of(names: Sequence[str], profile: str) -> list[str]:
    """The rows that are meant; all means those that the profile has a recipe for."""
    every = [name for name in experiments.ROWS if profile in experiments.profiles(name)]
    return every if "all" in names else list(dict.fromkeys(names))


@dataclass(frozen=True)
class Outcome:
    """Of these rows on these data. planned is None where all that was ever finished counts."""

    rows: Sequence[str]
    profile: str
    data_dir: Path
    split: str
    planned: Plan | None

    def runs(self, states: Mapping[Job, str]) -> Runs:
        """The runs to look at, now that the jobs stand like this; in the order of the rows."""
        found, _ = self._on_disk()
        if self.planned is None:
            return found
        ended = [run for run in self.planned.runs if states.get(run.job, "done") == "done"]
        done = [run.job.folder for run in ended]
        return {name: run for name, run in found.items() if run.path in done}

    def absent(self, done: Runs) -> list[str]:
        """The rows that none of these runs is of, nor stands for, where all that exist count."""
        if self.planned is not None:
            return []
        there = {run.config["row"]["name"] for run in done.values()}
        return [row for row in self.rows if experiments.SAME_RUN.get(row, row) not in there]

    def damaged(self) -> list[str]:
        """What is wrong with run folders that nothing can be said of."""
        return self._on_disk()[1]

    def evaluations(self, states: Mapping[Job, str]) -> list[Job]:
        """A notebook for the classifiers and one for the segmenters, once none of them is left."""
        left = {job.notebook for job, state in states.items() if state in ("waiting", "running")}
        jobs, done = [], self.runs(states)
        for kind, notebook in EVALUATION.items():
            folders = [run for run in done.values() if _kind(run) is kind]
            if folders and TRAINING[kind] not in left:
                name = f"{notebook.stem.lower()}-{self.split}"
                output = outputs.folder_of(folders, name)
                parameters = {"data_dir": str(self.data_dir), "split": self.split}
                parameters["runs"] = [str(run.path) for run in folders]
                jobs.append(Job(name, notebook, output, parameters))
        return jobs

    def _on_disk(self) -> tuple[Runs, list[str]]:
        """All finished runs of these rows in this profile, of any seed; what cannot be read."""
        found, damaged = {}, []
        folder = logger.models_of(self.data_dir, self.profile)
        for row in dict.fromkeys(experiments.SAME_RUN.get(row, row) for row in self.rows):
            for path in sorted(folder.glob(f"{row}-s[0-9]*")):
                run = logger.RunFolder(path)
                try:
                    if not path.name.rpartition("-s")[2].isdecimal() or not run.finished:
                        continue
                    if run.config["row"].get("name") in experiments.ROWS:
                        made = experiments.restore(run.config["row"])
                        experiments.get(made.name, made.profile)  # the recipe, for the page
                        found[path.name] = run
                    else:
                        damaged.append(f"{path / 'config.json'} names no row of the table")
                except errors.RunError as error:
                    damaged.append(str(error))
                except ValueError as error:
                    damaged.append(f"{path / 'config.json'}: {error}")
        return found, damaged


def _kind(run: logger.RunFolder) -> type[experiments.Row]:
    return type(experiments.ROWS[run.config["row"]["name"]])
