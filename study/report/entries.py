"""Reads run folders for the report: each file once, with a note for each that is missing."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import pandas as pd

import experiments
from utils.data.demo import ABOUT
from utils.data.names import CLASSES, ISIC_2017
from utils.evaluation import ensembles, fitting
from utils.evaluation.fitting import Fitting
from utils.evaluation.labels import checked, classes_in
from utils.evaluation.out_of_fold import Folds
from utils.logger.about import average_in, option_of
from utils.logger.run import RunFolder
from utils.logger.runs import title_in
from utils.system.errors import RunError
from utils.system.experiment import Task
from utils.system.files import read_table
from utils.task import TASKS

NOTHING = pd.DataFrame()
UNFITTED = Fitting(None, "the settings of the run are missing")
SEED, PROFILE = 0, "best"  # the defaults of `reproduce.py`


class Lack(NamedTuple):
    """A file that could not be read, why, and the command that makes it."""

    run: str
    file: str
    why: str  # "missing", "damaged", "outdated: …"
    command: str


@dataclass(frozen=True)
class Entry:
    """One run as read from its folder; what is missing is empty."""

    name: str
    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    timing: pd.DataFrame = field(default_factory=pd.DataFrame)
    results: pd.DataFrame = field(default_factory=pd.DataFrame)  # predictions, or scores of masks
    fitting: Fitting = UNFITTED
    scores: dict[str, Any] = field(default_factory=dict)
    lacks: tuple[Lack, ...] = ()

    @property
    def experiment(self) -> dict[str, Any]:
        """The experiment with its overrides, as stored in `config.json`."""
        return self.config.get("row", {})

    @property
    def row(self) -> str:
        """The experiment's name, with a library's network, or that of an ensemble; without
        `config.json`, as the run folder has it."""
        if "name" not in self.experiment:
            return self.name.rpartition("-s")[0] or self.name
        return title_in(self.config)

    @property
    def averaged(self) -> Sequence[str]:
        """The rows that an ensemble is the mean of; of another run none."""
        return self.config.get("ensemble", {}).get("rows", ())

    @property
    def network(self) -> str:
        """Its name, or what an ensemble is the mean of."""
        if rows := self.averaged:
            return f"mean of {'the logits of ' * (self.average == 'logits')}{', '.join(rows)}"
        return self.experiment.get("network", "?")

    @property
    def average(self) -> str:
        """What an ensemble averages: "probabilities" or "logits"; of another run ""."""
        return average_in(self.config)

    @property
    def seed(self) -> int:
        return int(self.experiment.get("seed", SEED))

    @property
    def task(self) -> Task:
        """Whether it is a classifier ("labels") or a segmenter ("masks")."""
        return experiments.task_of({"name": self.row} | self.experiment)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the data that it was trained on."""
        named = classes_in(self.results)  # of one logit the first alone
        return tuple(named if len(named) > 1 else self.experiment.get("classes", CLASSES))

    @property
    def recipe(self) -> experiments.Row | None:
        """The experiment of that profile without overrides; None for an unknown one, and for an
        ensemble, which has none of its own."""
        if self.averaged:
            return None
        name, network = (self.experiment.get(key, self.row) for key in ("name", "network"))
        given = {"network": network} if self.row != name else {}
        given["profile"] = self.experiment.get("profile", PROFILE)
        stored = self.experiment.get("stored_size")  # which tells small photographs
        side = max(stored) if isinstance(stored, list) else stored
        try:
            return experiments.get(name, classes=self.classes, side=side, **given)
        except ValueError:
            return None


@dataclass(frozen=True)
class Study:
    """The runs and the images that are reported."""

    entries: Sequence[Entry]
    split: str
    data: str  # "ISIC 2017", "synthetic demo data", or the name of own data
    images: pd.DataFrame | None = None  # as `data.read` gives them
    problem: str = ""  # why there are none
    same: Mapping[str, str] = field(default_factory=dict)  # what stands for the same run
    baselines: Sequence[Entry] = ()  # what is to be beaten
    others: Sequence[Entry] = ()  # predictions of other groups, from files
    folds: Sequence[Folds] = ()  # the finished runs of folds beside the runs

    @property
    def synthetic(self) -> bool:
        return self.data == ABOUT

    @property
    def own(self) -> bool:
        """Whether the data are a user's own, about which nothing was published."""
        return self.data not in (ABOUT, ISIC_2017)

    @property
    def where(self) -> str:
        """The images that are reported, in words."""
        return f"{self.split} split of {self.data}"

    @property
    def with_baselines(self) -> list[Entry]:
        """The runs, predictions of others, then the baselines that are none of them."""
        names = {entry.name for entry in self.entries}
        return [
            *self.entries,
            *self.others,
            *(one for one in self.baselines if one.name not in names),
        ]

    @property
    def rows(self) -> dict[str, list[Entry]]:
        """The runs of each experiment, one a seed."""
        names = dict.fromkeys(entry.row for entry in self.entries)
        return {name: [entry for entry in self.entries if entry.row == name] for name in names}

    def of_task(self, task: Task) -> dict[str, list[Entry]]:
        """The runs of each experiment of this task."""
        return {row: runs for row, runs in self.rows.items() if runs[0].task == task}


class OfTask(Protocol):
    """What is about one of the two tasks."""

    @property
    def task(self) -> Task: ...


T = TypeVar("T", bound=OfTask)


def by_task(things: Iterable[T]) -> dict[Task, list[T]]:
    """Those about classifiers, and those about segmenters; a task without any is left out."""
    found: dict[Task, list[T]] = {task: [] for task in TASKS}
    for thing in things:
        found[thing.task].append(thing)
    return {task: of_task for task, of_task in found.items() if of_task}


def read(name: str, run: RunFolder, split: str, data_dir: str) -> Entry:
    """The run's files for this split. data_dir is how the commands on the page name the data."""
    files = _Files(run)
    entry = Entry(name, run.path, files.read("config.json", lambda _: _config(run)) or {})
    history = files.table("history.csv", {"epoch", "loss"})
    timing = files.table("timing.csv", {"epoch", "seconds", "images", "peak_memory_mb"})
    fitted = UNFITTED
    if entry.task == "masks":
        results = files.table(f"per-image-{split}.csv", {"id", "jaccard"})
    else:
        columns = {"id", "label", entry.classes[0]}
        results, fitted = files.table(f"predictions-{split}.csv", columns), _fitting(run, entry)
        if fitted.part and files.table(f"predictions-{fitted.part}.csv", columns).empty:
            fitted = fitted._replace(table=None, where="predictions are missing, see the summary")
    scores = files.read(f"scores-{split}.json", _scores) or {}
    if entry.averaged and _outdated(run):
        results, scores = NOTHING, {}
        files.lacks[f"predictions-{split}.csv"] = "outdated: a member was trained again"
    lacks = tuple(
        Lack(name, file, why, _command(entry, file, split, data_dir))
        for file, why in files.lacks.items()
    )
    return Entry(name, run.path, entry.config, history, timing, results, fitted, scores, lacks)


def _fitting(run: RunFolder, entry: Entry) -> Fitting:
    """What the run's temperature and thresholds are fitted on."""
    try:
        return fitting.predictions(run, experiments.restore(entry.experiment))
    except (ValueError, TypeError):  # no settings, or those of another version
        return UNFITTED


def _outdated(run: RunFolder) -> bool:
    """Whether an ensemble is not what its members would make now."""
    try:
        return bool(ensembles.outdated(run))
    except RunError:  # a member is damaged, or of other images
        return True


def _config(run: RunFolder) -> dict[str, Any]:
    """The settings of the run; ValueError for those that name no experiment."""
    if "name" not in run.config.get("row", {}):
        raise ValueError("no experiment is named")
    return run.config


class _Files:
    """Reads the files of one run and notes which could not be read, and why."""

    def __init__(self, run: RunFolder) -> None:
        self.run, self.lacks = run, dict[str, str]()

    def table(self, file: str, columns: set[str]) -> pd.DataFrame:
        """A csv file with at least these columns and a row; an empty table for any other."""
        table = self.read(file, lambda path: _table(path, columns))
        return NOTHING if table is None else table

    def read(self, file: str, parse: Callable[[Path], Any]) -> Any:
        """What parse makes of the file; None where it is missing or damaged."""
        if not (self.run / file).is_file():
            self.lacks[file] = "missing"
            return None
        try:
            return parse(self.run / file)
        # Not UTF-8, no JSON, no table, a RunError; no permission; brackets without end.
        except (ValueError, OSError, RecursionError):
            self.lacks[file] = "damaged"
            return None


def _table(path: Path, columns: set[str]) -> pd.DataFrame:
    table = read_table(path)
    if not columns <= set(table.columns) or table.empty:
        raise ValueError("columns or rows are missing")
    if "id" in columns and table.isna().any(axis=None):
        raise ValueError("a cell is empty")
    table.drop(columns="id", errors="ignore").apply(pd.to_numeric)  # or ValueError
    if "label" in columns:
        checked(table["label"], table[classes_in(table)])
    return table


def _scores(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    kinds = ({"official", "coursework", "n"}, {"one_vs_rest", "n"})
    if not isinstance(content, dict) or not any(kind <= set(content) for kind in kinds):
        raise ValueError("entries are missing")
    return content


def _command(entry: Entry, file: str, split: str, data_dir: str) -> str:
    seed = entry.experiment.get("seed", entry.name.rpartition("-s")[2]) or SEED
    profile = entry.experiment.get("profile", PROFILE)
    how = f"--profile {profile} --data-dir {data_dir}"
    if rows := entry.averaged:
        made = option_of(entry.config)
        return f"python reproduce.py {' '.join(rows)} {how} --split {split} {made}"
    row, network = (entry.experiment.get(key, entry.row) for key in ("name", "network"))
    command = f"python reproduce.py {row} {how}"
    command += f" -p network {network}" * (row != entry.row)
    if file in ("config.json", "history.csv", "timing.csv"):  # written by training alone
        return f"{command} --seeds {seed} --resume restart"
    return f"{command} --seeds {seed} --split {split}"
