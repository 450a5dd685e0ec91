"""Which finished runs there are, and how a missing one is made.

A run is named by its folder, or by what the folder is called under `model/<set>-<profile>/`: "3-1"
(every profile and seed of the experiment), "3-1-s0", "isic2017-best/3-1-s0".
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.data.labels import classes
from utils.data.splits import note, set_name
from utils.logger.about import history_of, option_of
from utils.logger.folders import command, usual_profile
from utils.logger.run import RunFolder
from utils.system import project, values
from utils.system.console import say
from utils.system.errors import RunError, listed
from utils.system.experiment import Experiment, row_label

MODELS = project.PROJECT / "model"
# What readers of a run's settings rely on.
NEEDED = ("profile", "seed", "network", "weights", "attention", "image_size", "views", "select_on",
          "select_score")  # fmt: skip


def find(
    wanted: str | Sequence[str] | None,
    data_dir: Path,
    experiments: Mapping[str, Experiment],
    aliases: Mapping[str, str] | None = None,
    models: Path = MODELS,
    notebook: str = "ARL-CNN.ipynb",
    elsewhere: Mapping[str, Iterable[str]] | None = None,
    unasked: Iterable[str] = (),
) -> dict[str, RunFolder]:
    """The requested finished runs by their shortest unambiguous names; by default all on this data.

    wanted is one name or several (a sequence, or separated by commas), or None for all finished
    runs of these experiments (by name) on the data set of data_dir, in their order, then by profile
    and seed. aliases maps experiments to the one they are trained as; notebook trains them;
    elsewhere lists, by notebook, those that other notebooks evaluate; unasked are experiments that
    None leaves out, as baselines. Folders that a restart moved aside are skipped, and so are
    damaged runs unless they are named.
    Raises RunError for a run that is missing, unfinished, damaged, of another kind or trained on
    other data; the message gives the command that makes it, or its notebook.
    """
    others = {name: other for other, theirs in (elsewhere or {}).items() for name in theirs}
    search = _Search(data_dir, experiments, aliases or {}, models, notebook, others)
    if wanted is None:
        return _short(search.all_finished(set(unasked)))
    wanted = str(wanted) if type(wanted) is int else wanted  # papermill turns "31" into a number
    names = wanted.split(",") if isinstance(wanted, str) else wanted
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise RunError(
            f"runs is {wanted!r}; expected None, a name such as '1-3', names separated by commas, "
            "or a list of names."
        )
    names = [name.strip() for name in names if name.strip()]
    if not names:
        raise RunError("runs names no run; expected at least one name, or None for all runs.")
    matches: dict[str, RunFolder] = {}
    for name in names:
        for key, run in search.matching(name).items():
            same_name = key in matches and matches[key].path != run.path
            matches[str(run.path) if same_name else key] = run
    return _short(matches)


@dataclass
class _Search:
    """The run folders that exist for one data set and some experiments."""

    data_dir: Path
    experiments: Mapping[str, Experiment]
    aliases: Mapping[str, str]
    models: Path
    notebook: str
    others: Mapping[str, str]  # the notebook that evaluates an experiment which is not one of these

    def __post_init__(self) -> None:
        self.classes = classes(self.data_dir)
        self.kind, self.first = set_name(self.data_dir), next(iter(self.experiments))
        folders = [
            path
            for path in self.models.glob(f"{self.kind}-*/*")
            if not re.search(r"\.\d+$", path.name)  # moved aside by a restart
        ]
        names = {path: _experiment_in(path) for path in folders}
        self.foreign = {path.name: name for path, name in names.items() if name in self.others}
        order = {name: place for place, name in enumerate(self.experiments)}
        ours = sorted(
            (order[name], path.parent.name, _row_and_seed(path.name)[1], path.name, path)
            for path, name in names.items()
            if name in order
        )
        self.runs = {f"{profile}/{name}": RunFolder(path) for _, profile, _, name, path in ours}
        # A row's name stands for its whole runs; those of folds are named by their folders.
        self.names = {key: "" if _fold(run) else title(run) for key, run in self.runs.items()}

    def all_finished(self, unasked: Collection[str] = ()) -> dict[str, RunFolder]:
        """Every finished run but those of unasked; what cannot be read is skipped, and named."""
        finished: dict[str, RunFolder] = {}
        asked = {key: run for key, run in self.runs.items() if self.names[key] not in unasked}
        for name, run in asked.items():
            try:
                if run.finished and self.names[name]:
                    finished[name] = self.checked(run)
            except RunError as error:
                say(f"skipped: {error}")
        begun = [self.command_of(run) for run in asked.values() if _readable(run)]
        if not finished and not begun:
            finished = self.in_the_box()
        if not finished:
            state = "none is finished; resume with" if begun else "Train one first:"
            raise RunError(
                f"no finished run under {self.models / self.kind}-*. {state}\n    "
                + "\n    ".join(begun or [command(self.data_dir, self.first)])
            )
        return finished

    def in_the_box(self) -> dict[str, RunFolder]:
        """The released runs of these experiments, whatever data are here: those with a card."""
        cards = sorted((self.models / "released").glob("*/README.md"))
        runs = {f"released/{card.parent.name}": RunFolder(card.parent) for card in cards}
        found = {k: self.checked(r) for k, r in runs.items() if title(r) in self.experiments}
        if found:
            say(f"no finished run under {self.models / self.kind}-*, so those in the box are shown")
        return found

    def matching(self, name: str) -> dict[str, RunFolder]:
        """The finished runs that one name stands for."""
        for place in (Path(name), self.models.parent / name, self.models / name):
            folder = values.path("runs", place)
            if (folder / "config.json").is_file():
                folder = folder.resolve()
                return {f"{folder.parent.name}/{folder.name}": self.checked(RunFolder(folder))}
        row, seed = _row_and_seed(Path(name).name)
        matches = self.named(name)
        if not matches:
            self.check_notebook(name, self.foreign.get(Path(name).name, row))
        if not matches and row in self.aliases:
            name = name.replace(row, self.aliases[row])
            row, matches = self.aliases[row], self.named(name)
        if matches:  # where none is finished, the check says what is missing
            finished = {key: run for key, run in matches.items() if run.finished}
            return {key: self.checked(run) for key, run in (finished or matches).items()}
        if row not in self.experiments:
            file = " (predictions of others are for Evaluation-Cls.ipynb)" * (".csv" in name)
            run, usual = f"{self.first}-s0", f"{self.kind}-{usual_profile(self.data_dir)}"
            raise RunError(
                f"runs: {name!r}{file} is neither a run folder nor a row; expected a folder, or "
                f"a row such as {self.first!r}, {run!r} or '{usual}/{run}'. "
                f"The rows are {', '.join(self.experiments)}; "
                f"the runs here {listed(self.runs) or 'none yet'}."
            )
        profile = Path(name).parent.name.partition("-")[2]
        make = command(self.data_dir, row, profile, max(seed, 0))
        raise RunError(f"no run {name!r}; make it with\n    {make}")

    def named(self, name: str) -> dict[str, RunFolder]:
        """The runs under the models folder that a name stands for."""
        return {
            key: run
            for key, run in self.runs.items()
            if name in (key, run.path.name, self.names[key])
        }

    def check_notebook(self, name: str, row: str) -> None:
        """RunError for a run that another notebook evaluates."""
        if row in self.others:
            raise RunError(
                f"{name} is a run of row {row}, which {self.others[row]} evaluates: name it there; "
                f"the rows here are {', '.join(self.experiments)}."
            )

    def checked(self, run: RunFolder) -> RunFolder:
        """The run, if it is a finished and undamaged one of these experiments on this data."""
        config, folder = run.config, run.path
        if not config:
            raise RunError(f"{folder} holds no config.json; train it again (resume='restart').")
        row = config["row"].get("name")
        self.check_notebook(str(folder), row)
        if row not in self.experiments:
            raise RunError(
                f"{folder} holds row {row}; expected one of {', '.join(self.experiments)}."
            )
        trained_on, boxed = config.get("data", {}).get("set"), self.models / "released"
        here = trained_on == note(self.data_dir)
        if not here and folder.parent.resolve() != boxed.resolve():
            raise RunError(
                f"{folder} was trained on {trained_on}, and this is "
                f"{note(self.data_dir)} ({self.data_dir}); name its data with data_dir, or another "
                "run."
            )
        asked = tuple(config["row"].get("classes", self.classes))
        if here and self.classes not in ((), asked):
            raise RunError(
                f"{folder} was trained on the classes {listed(asked)}, and {self.data_dir} has "
                f"{listed(self.classes)}; take the data as they were, or train it again."
            )
        if not run.finished:
            raise RunError(f"{folder} is not finished; resume it with\n    {self.command_of(run)}")
        try:
            self.experiments[row].restore(config["row"])
            if lacking := [name for name in NEEDED if name not in config["row"]]:
                raise ValueError(f"it does not say {', '.join(lacking)}; train it again.")
        except ValueError as error:
            raise RunError(f"{run / 'config.json'}: {error}") from error
        if (precision := config.get("precision")) not in ("fp32", "bf16"):
            raise RunError(
                f"{run / 'config.json'} says that the run was trained in {precision!r}; expected "
                "fp32 or bf16: train it again (resume='restart')."
            )
        history_of(run)
        return run

    def command_of(self, run: RunFolder) -> str:
        """The command that resumes a run."""
        row = {"profile": "", "seed": 0} | run.config["row"]
        if made := run.config.get("ensemble"):
            make = command(self.data_dir, " ".join(made["rows"]), row["profile"])
            return f"{make} {option_of(run.config)}"
        if run.path.parent.parent == self.models:
            whole = run.path.name == f"{title(run)}-s{row['seed']}"
            if whole or row.get("fold"):
                make = command(self.data_dir, row["name"], row["profile"], row["seed"])
                other = f" -p network {row['network']}" if title(run) != row["name"] else ""
                return make + other + (f' -p fold "{row["fold"]}"' if row.get("fold") else "")
            return f"the command that began it; its settings are in {run / 'config.json'}"
        return (
            f"papermill {self.notebook} out.ipynb -p experiment {row['name']} -p profile "
            f'{row["profile"]} -p seed {row["seed"]} -p data_dir "{self.data_dir}" '
            f'-p run_dir "{run.path}"'
        )


def title(run: RunFolder) -> str:
    """The name of its row, with that of a library's network; or the name of an ensemble."""
    config = run.config if _readable(run) else {}
    return title_in(config) if config else _row_and_seed(run.path.name)[0]


def title_in(config: Mapping[str, Any]) -> str:
    """`title` of the run with that `config.json`."""
    row = config["row"]
    own = row_label(row.get("name", ""), row.get("network", ""))
    return config.get("ensemble", {}).get("name") or own


def _readable(run: RunFolder) -> bool:
    try:
        return bool(run.config)
    except RunError:
        return False


def _fold(run: RunFolder) -> str | None:
    """The fold that a run holds out; None for a whole one."""
    return run.config["row"].get("fold") if _readable(run) else None


def _row_and_seed(name: str) -> tuple[str, int]:
    """Experiment and seed of a folder's name; the name itself and -1 where it has no seed."""
    match = re.fullmatch(r"(.+)-s(\d+)", name)
    return (match[1], int(match[2])) if match else (name, -1)


def _experiment_in(path: Path) -> str:
    """The experiment whose run a folder holds, whatever the folder is called."""
    run = RunFolder(path)
    return run.config["row"].get("name") if _readable(run) else _row_and_seed(path.name)[0]


def _short(runs: dict[str, RunFolder]) -> dict[str, RunFolder]:
    """The same runs, named without set and profile where that is enough to tell them apart."""
    short = [name.split("/")[-1] for name in runs]
    return dict(zip(short, runs.values(), strict=True)) if len(set(short)) == len(short) else runs
