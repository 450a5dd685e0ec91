"""What a run leaves behind.

A run folder holds every file that another tool reads: `config.json`, `last.pt`, `history.csv`,
`best.safetensors`, `predictions-<split>.csv`, `scores-<split>.json`, `figures/` and `run.log`.
All are written whole or not at all.
"""

import dataclasses
import datetime
import importlib.metadata
import io
import itertools
import json
import platform
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import Image, display
from matplotlib.figure import Figure

from utils.logger.folders import require_ours as require_ours
from utils.logger.folders import settings_in
from utils.system.console import in_kernel, say
from utils.system.errors import RunError
from utils.system.experiment import Experiment
from utils.system.files import locked, write_atomic, write_json, writing
from utils.system.fonts import drawing
from utils.system.machine import machine, refuse_several_processes
from utils.system.project import git_revision
from utils.system.values import check

FIGURE_DPI = 150

# What may differ between the two halves of a resumed run: none of it changes a result.
FREE_FIELDS = frozenset({"question", "published", "workers"})

# What `config.json` holds, where it holds it, for whoever reads it without the experiment.
_KINDS: dict[str, Any] = {
    "row": {"name": str, "profile": str, "seed": int},
    "data": {"set": str, "folder": str},
    "versions": {},
    "machine": {"memory_gb": int | float},
    "network": {"parameters": int | float, "gflops": int | float},
    "git": str,
    "precision": str,
}


class RunFolder:
    """The folder of one run: its settings, its files and its log."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def config(self) -> dict[str, Any]:
        """What `config.json` holds; empty before the run started. RunError when it is damaged."""
        try:
            known = settings_in(self.path)
            if wrong := _wrong(known, _KINDS):
                raise ValueError(f"it says that {wrong}")
            return known
        except (ValueError, OSError) as error:  # a folder
            raise RunError(
                f"{self / 'config.json'} is damaged ({error}). Train the run again with "
                "resume='restart' (the old folder is moved aside)."
            ) from error

    @property
    def finished(self) -> bool:
        """Whether the run was trained to its end."""
        known = self.config
        # Scores are written after the last epoch; settings of early versions do not say it.
        scored = any(self.path.glob("scores-*.json")) and (self / "best.safetensors").exists()
        return bool(known.get("finished") or (known and scored))

    @property
    def begun(self) -> bool:
        """Whether it was trained at least in part: whether there is something to lose."""
        # A kill may leave the best weights of the first epoch alone, before anything else.
        best = (self / "best.safetensors").exists() and (self / "history.csv").exists()
        return (self / "last.pt").exists() or best or self.finished

    def remember(self, name: str, value: Any) -> Any:
        """The entry of `config.json` called name; value is stored when there is none yet."""
        config = self.config
        if name not in config:
            self.save_json("config.json", config | {name: value})
            return value
        return config[name]

    def lock(self) -> AbstractContextManager[None]:
        """Hold the folder for this process. BlockingIOError when another process trains in it."""
        busy = (
            f"another process is training in {self.path}; wait for it, stop it, or give this run "
            "another run_dir."
        )
        # Beside the folder, not in it: moving the folder aside must not move the lock. Two links to
        # a folder have one lock.
        path = self.path.resolve()
        return locked(path.with_name(f".{path.name}.lock"), busy)

    def say(self, text: str) -> None:
        """Print a line, and keep it with the time in `run.log`."""
        say(text)
        stamp = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with writing(self / "run.log"):
            self.path.mkdir(parents=True, exist_ok=True)
            with (self / "run.log").open("a", encoding="utf-8") as log:
                log.write(f"{stamp} {text}\n")

    def save_json(self, name: str, content: Any) -> Path:
        """Write content as `<name>` (strict JSON); returns its path."""
        write_json(self.path / name, content)
        return self.path / name

    def save_table(self, name: str, table: pd.DataFrame) -> Path:
        """Write a table as csv with every digit it holds; returns its path."""
        write_atomic(self.path / name, table.to_csv(index=False, lineterminator="\n"))
        return self.path / name

    def save_figure(self, name: str, figure: Figure) -> Path:
        """Write `figures/<name>.png`; returns its path."""
        path = self.path / "figures" / f"{name}.png"
        file = io.BytesIO()  # whose size is known where the disk is full
        with drawing():
            figure.savefig(file, format="png", dpi=FIGURE_DPI)
        write_atomic(path, file.getvalue())
        return path

    def show(self, name: str, figure: Figure) -> Path:
        """Write `figures/<name>.png`, and show that very file where a notebook runs."""
        path = self.save_figure(name, figure)
        if in_kernel():
            width = round(figure.get_figwidth() * 100)
            display(Image(filename=path, width=width, alt=figure.get_suptitle() or name))
        else:
            say(f"figure: {path}")
        return path


def start_run(
    path: str | Path, experiment: Experiment, data: dict[str, Any], resume: str = "auto"
) -> RunFolder:
    """Open the run folder at path for the experiment on the data (facts, a fingerprint).

    "auto" makes the folder, or goes on with what is there; "restart" moves what is there aside.
    Raises RunError when the folder holds a run whose results would differ, naming the fields, or
    things that are no run's; BlockingIOError when another process trains in it.
    """
    refuse_several_processes()
    check(resume=resume)
    run = RunFolder(path)
    settings = json.loads(json.dumps(dataclasses.asdict(experiment)))
    require_ours(run.path)  # before anything is written, be it a lock
    with run.lock():
        if resume == "restart" and run.path.exists():
            aside = _free_name(run.path)
            run.path.rename(aside)
            say(f"the run that was in {run.path} is now in {aside}")
        if not run.begun:  # nothing is lost: what failed at its start leaves no settings behind
            facts = {"row": settings, "data": data, "versions": versions(), "git": git_revision()}
            run.save_json("config.json", facts | {"machine": machine()})
        elif different := differences(run, experiment, data["fingerprint"]):
            raise RunError(
                f"{run.path} holds a run with other settings: {'; '.join(different)}. Its results "
                "would not be those of either. Use resume='restart' (the old folder is moved "
                "aside), or give this run another run_dir."
            )
        else:
            _require_weights(run)
            _note_changed_code(run)
    return run


def require_settings(run: RunFolder, experiment: Experiment) -> None:
    """RunError where the folder was opened for other settings: cells were run out of order."""
    if not run.config:
        raise RunError(f"{run.path} holds no settings; run the cell with start_run again.")
    if different := differences(run, experiment):
        raise RunError(
            f"{run.path} was opened for other settings: {'; '.join(different)}. Run the cell with "
            "start_run again, and all cells after it."
        )


def _require_weights(run: RunFolder) -> None:
    """RunError where a run was begun whose training can neither go on nor be reported."""
    if (run / "last.pt").exists() or (run.finished and (run / "best.safetensors").exists()):
        return
    lost = "best.safetensors, though the run is" if run.finished else "last.pt, and the run is not"
    raise RunError(
        f"{run.path} has no {lost} finished; put the file back, or use resume='restart' (the old "
        "folder, with all that was computed, is moved aside)."
    )


def differences(
    run: RunFolder, experiment: Experiment, fingerprint: str | None = None
) -> list[str]:
    """What the run was made with, where experiment and data fingerprint say otherwise.

    A field that the stored one does not know yet had its default. None skips the fingerprint.
    """
    known, data = run.config.get("row", {}), run.config.get("data", {})
    wanted = json.loads(json.dumps(dataclasses.asdict(experiment)))
    defaults = {entry.name: entry.default for entry in dataclasses.fields(experiment)}
    pairs = {name: (known.get(name, defaults.get(name)), value) for name, value in wanted.items()}
    pairs |= {
        name: (value, "no longer known") for name, value in known.items() if name not in wanted
    }
    if fingerprint is not None:
        pairs["data fingerprint"] = (data.get("fingerprint"), fingerprint)
    return [
        f"{name} is {old!r} there and {new!r} here"
        for name, (old, new) in pairs.items()
        if old != new and name not in FREE_FIELDS
    ]


def _note_changed_code(run: RunFolder) -> None:
    """Say it, and keep it in run.log, when the code or a library is another one by now."""
    known = run.config
    now = {"git": git_revision(), **versions()}
    before = {"git": known.get("git"), **known.get("versions", {})}
    changed = [
        f"{n} {before.get(n)} → {value}" for n, value in now.items() if before.get(n) != value
    ]
    if changed:
        run.say(f"since this run began, this has changed: {'; '.join(changed)}")


def _wrong(known: dict[str, Any], kinds: dict[str, Any], where: str = "") -> str:
    """The first entry that is of another kind, as "data.set is 3"; "" where there is none."""
    for name in (name for name in kinds if name in known):
        value, kind = known[name], kinds[name]
        if not isinstance(value, dict if isinstance(kind, dict) else kind | None):
            return f"{where}{name} is {value!r:.60}"
        if isinstance(kind, dict) and (inside := _wrong(value, kind, f"{where}{name}.")):
            return inside
    return ""


def _free_name(path: Path) -> Path:
    """`<name>.1`, or the first number that is free."""
    numbers = (path.with_name(f"{path.name}.{number}") for number in itertools.count(1))
    return next(name for name in numbers if not name.exists())


def versions() -> dict[str, str]:
    """Versions of python and of the packages that results depend on, and the machine."""
    packages = (
        "torch",
        "torchvision",
        "accelerate",
        "albumentations",
        "opencv-python-headless",
        "timm",
        "numpy",
        "scikit-learn",
    )
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed as a package"
    return found
