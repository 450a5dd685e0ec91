"""Which finished runs there are, and how a missing one is made.

A run is named by its folder, or by what the folder is called under `model/<set>-<profile>/`: "3-1"
(every profile and seed of the row), "3-1-s0", "isic2017-best/3-1-s0".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from utils.data.splits import is_demo, note, set_name
from utils.logger.run import RunFolder
from utils.system import project, values
from utils.system.console import say
from utils.system.errors import RunError, listed
from utils.system.experiment import Experiment

MODELS = project.PROJECT / "model"
NEEDED = ("profile", "seed", "network", "weights", "attention", "image_size", "views", "select_on",
          "select_score")  # settings of a row, for whoever reads them here  # fmt: skip
_FOLDER = re.compile(r"(?P<row>.+)-s(?P<seed>\d+)")


def find(
    wanted: str | Sequence[str] | None,
    data_dir: Path,
    experiments: Mapping[str, Experiment],
    aliases: Mapping[str, str] | None = None,
    models: Path = MODELS,
    notebook: str = "ARL-CNN.ipynb",
    elsewhere: Mapping[str, Iterable[str]] | None = None,
) -> dict[str, RunFolder]:
    """The finished runs asked for, by a short name each; by default all on this data.

    wanted is one name or several (a sequence, or separated by commas), or None for all finished
    runs of these experiments (by name) on the data set of data_dir, in their order, then by profile
    and seed. aliases name those that are run under another one's name; notebook is what trains
    these; elsewhere holds those that other notebooks look at, by the notebook. Folders that a
    restart moved aside are passed over, and, unless they are asked for, runs that are damaged.
    Raises RunError when a run is missing, unfinished, damaged, of another kind or trained on other
    data; the message holds the command that makes it, or its notebook.
    """
    others = {row: other for other, theirs in (elsewhere or {}).items() for row in theirs}
    search = _Search(data_dir, experiments, dict(aliases or {}), models, notebook, others)
    if wanted is None:
        return _short(search.all_finished())
    wanted = str(wanted) if type(wanted) is int else wanted  # papermill's, of a name of digits
    names = wanted.split(",") if isinstance(wanted, str) else wanted
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise RunError(
            f"runs is {wanted!r}; expected None, a name such as '1-3', names separated by commas, "
            "or a list of names."
        )
    names = [name.strip() for name in names if name.strip()]
    if not names:
        raise RunError("runs names no run; expected at least one name, or None for all runs.")
    chosen: dict[str, RunFolder] = {}
    for name in names:
        for key, run in search.matching(name).items():
            if key in chosen and chosen[key].path != run.path:
                key = str(run.path)
            chosen[key] = run
    return _short(chosen)


class _Search:
    """The run folders that exist for one data set and some rows."""

    def __init__(
        self,
        data_dir: Path,
        experiments: Mapping[str, Experiment],
        aliases: dict[str, str],
        models: Path,
        notebook: str,
        others: dict[str, str],
    ) -> None:
        self.data_dir, self.aliases, self.models = data_dir, aliases, models
        self.experiments, self.notebook, self.others = experiments, notebook, others
        self.kind, self.first = set_name(data_dir), next(iter(experiments))
        holds = {path: _held(path) for path in models.glob(f"{self.kind}-*/*")}
        places = {row: place for place, row in enumerate(experiments)}
        self.held = {path: row for path, row in holds.items() if row and row in experiments}
        self.foreign = {path.name: row for path, row in holds.items() if row in others}
        self.present = {
            f"{path.parent.name}/{path.name}": RunFolder(path)
            for path in sorted(self.held, key=lambda path: _order(path, places[self.held[path]]))
        }

    def all_finished(self) -> dict[str, RunFolder]:
        """Every finished run; what cannot be read is passed over, and named."""
        finished = {}
        for name, run in self.present.items():
            try:
                if run.finished:
                    finished[name] = self.checked(run)
            except RunError as error:
                say(f"passed over: {error}")
        if not finished:
            begun = [self.command_of(run) for run in self.present.values() if _readable(run)]
            state = "none is finished; go on with" if begun else "Train one first:"
            raise RunError(
                f"no finished run under {self.models / self.kind}-*. {state}\n    "
                + "\n    ".join(begun or [self.command(self.first)])
            )
        return finished

    def matching(self, name: str) -> dict[str, RunFolder]:
        """The finished runs that one name stands for."""
        for place in (Path(name), self.models.parent / name, self.models / name):
            folder = values.path("runs", place)
            if (folder / "config.json").is_file():
                folder = folder.resolve()
                return {f"{folder.parent.name}/{folder.name}": self.checked(RunFolder(folder))}
        row = _row(Path(name))
        fits = self.named(name)
        if not fits:
            self.check_notebook(name, self.foreign.get(Path(name).name, row))
        if not fits and row in self.aliases:
            name = name.replace(row, self.aliases[row])
            row, fits = self.aliases[row], self.named(name)
        if finished := {key: run for key, run in fits.items() if run.finished}:
            return {key: self.checked(run) for key, run in finished.items()}
        if fits:
            return {key: self.checked(run) for key, run in fits.items()}  # says what is missing
        if row not in self.experiments:
            raise RunError(
                f"runs: {name!r} is no run folder and no row; expected a folder, or a row such as "
                f"{self.first!r}, '{self.first}-s0' or '{self.kind}-best/{self.first}-s0'. "
                f"The rows are {', '.join(self.experiments)}; the runs here "
                f"{listed(self.present) or 'none yet'}."
            )
        seed, profile = _FOLDER.fullmatch(Path(name).name), Path(name).parent.name.partition("-")[2]
        command = self.command(row, profile, seed["seed"] if seed else "0")
        raise RunError(f"no run {name!r}; make it with\n    {command}")

    def named(self, name: str) -> dict[str, RunFolder]:
        """The runs under the models folder that a name stands for."""
        return {
            key: run
            for key, run in self.present.items()
            if name in (key, key.split("/")[1], self.held[run.path])
        }

    def check_notebook(self, name: str, row: str) -> None:
        """RunError for the run of a row that another notebook looks at."""
        if row in self.others:
            raise RunError(
                f"{name} is a run of row {row}, which {self.others[row]} evaluates: name it there; "
                f"the rows here are {', '.join(self.experiments)}."
            )

    def checked(self, run: RunFolder) -> RunFolder:
        """The run, if it is a finished one of these rows on this data."""
        config, folder = run.config, run.path
        if not config:
            raise RunError(f"{folder} holds no config.json; train it again (resume='restart').")
        self.check_notebook(str(folder), config["row"].get("name"))
        if (row := config["row"].get("name")) not in self.experiments:
            raise RunError(
                f"{folder} holds row {row}; expected one of {', '.join(self.experiments)}."
            )
        if (trained_on := config.get("data", {}).get("set")) != note(self.data_dir):
            raise RunError(
                f"{folder} was trained on {trained_on}, and this is "
                f"{note(self.data_dir)} ({self.data_dir}); name its data with data_dir, or another "
                "run."
            )
        if not run.finished:
            raise RunError(f"{folder} is not finished; go on with\n    {self.command_of(run)}")
        return self.sound(run)

    def sound(self, run: RunFolder) -> RunFolder:
        """The finished run, if its settings and its history are such as a training leaves."""
        config = run.config
        try:
            self.experiments[config["row"]["name"]].restore(config["row"])
            if lacking := [name for name in NEEDED if name not in config["row"]]:
                raise ValueError(f"it does not say {', '.join(lacking)}; train it again.")
        except ValueError as error:
            raise RunError(f"{run / 'config.json'}: {error}") from error
        if (precision := config.get("precision")) not in ("fp32", "bf16"):
            raise RunError(
                f"{run / 'config.json'} says that the run was trained in {precision!r}; expected "
                "fp32 or bf16: train it again (resume='restart')."
            )
        _history(run)
        return run

    def command_of(self, run: RunFolder) -> str:
        """The command that goes on with a run."""
        row = {"profile": "", "seed": 0} | run.config["row"]
        if run.path.parent.parent == self.models:
            if run.path.name == f"{row['name']}-s{row['seed']}":
                return self.command(row["name"], row["profile"], str(row["seed"]))
            return f"the command that began it; its settings are in {run / 'config.json'}"
        return (
            f"papermill {self.notebook} out.ipynb -p experiment {row['name']} -p profile "
            f'{row["profile"]} -p seed {row["seed"]} -p data_dir "{self.data_dir}" '
            f'-p run_dir "{run.path}"'
        )

    def command(self, row: str, profile: str = "", seed: str = "0") -> str:
        """The command that makes a run."""
        demo = is_demo(self.data_dir)
        where = (
            "demo" if self.data_dir == project.PROJECT / "Data" / "demo" else f'"{self.data_dir}"'
        )
        parts = ["python reproduce.py", row, "--profile", profile or ("demo" if demo else "best")]
        return " ".join([*parts, "--data-dir", where] + (["--seeds", seed] if seed != "0" else []))


def overview(runs: Mapping[str, RunFolder]) -> pd.DataFrame:
    """What each run is: a row a run, from its settings and its history."""
    lines = {}
    for name, run in runs.items():
        config = run.config
        row, score = config["row"], config["row"]["select_score"]
        history, kept = _history(run)
        lines[name] = {
            "network": row["network"],
            "weights": row["weights"] or "random",
            "profile": row["profile"],
            "seed": row["seed"],
            "data": config["data"].get("folder", ""),
            "image size": _size(row["image_size"]),
            "views": row["views"],
            "epochs (kept)": f"{len(history)} ({kept})",
            "chosen on": f"{row['select_on']}: {score} {history[score][kept - 1]:.3f}",
            "revision": (config.get("git") or "")[:7],
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def _history(run: RunFolder) -> tuple[pd.DataFrame, int]:
    """The epochs of a run, and which of them was kept."""
    file, score = run / "history.csv", run.config["row"]["select_score"]
    try:
        history = pd.read_csv(file).astype({score: float})
        return history, best_epoch([{score: value} for value in history[score]], score)
    except (OSError, ValueError, LookupError) as error:  # not there, a folder; no table; no score
        raise RunError(
            f"{file} tells nothing of {score} ({error}); train the run again (resume='restart')."
        ) from error


def _size(side: int | Sequence[int]) -> str:
    """The side of a square, or width x height, in px."""
    return f"{side}" if isinstance(side, int) else "x".join(map(str, side))


def _readable(run: RunFolder) -> bool:
    try:
        return bool(run.config)
    except RunError:
        return False


def _row(path: Path) -> str:
    """The row of a folder's name; the name itself where it has no seed."""
    match = _FOLDER.fullmatch(path.name)
    return match["row"] if match else path.name


def _held(path: Path) -> str | None:
    """The row whose run a folder holds, whatever its name; None for one that was moved aside."""
    if re.search(r"\.\d+$", path.name):
        return None
    run = RunFolder(path)
    return run.config["row"].get("name") if _readable(run) else _row(path)


def _order(path: Path, place: int) -> tuple[int, str, int, str]:
    seed = _FOLDER.fullmatch(path.name)
    return place, path.parent.name, int(seed["seed"]) if seed else -1, path.name


def _short(runs: dict[str, RunFolder]) -> dict[str, RunFolder]:
    """The same runs, named without the set and profile where that is enough to tell them apart."""
    short = [name.split("/")[-1] for name in runs]
    return dict(zip(short, runs.values(), strict=True)) if len(set(short)) == len(short) else runs


def best_epoch(history: list[dict[str, float]], name: str) -> int:
    """Number (from 1) of the epoch with the highest score; the earliest of equals."""
    return int(np.argmax([row[name] for row in history])) + 1
