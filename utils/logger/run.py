"""What a run leaves behind.

A run folder holds every file that another tool reads: `config.json`, `last.pt`, `history.csv`,
`best.safetensors`, `predictions-<split>.csv`, `scores-<split>.json`, `figures/` and `run.log`.
Writes are atomic.
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
from utils.system.experiment import RENAMED, Experiment
from utils.system.files import locked, write_atomic, write_json, writing
from utils.system.fonts import drawing
from utils.system.machine import machine, refuse_several_processes
from utils.system.project import git_revision
from utils.system.values import check

FIGURE_DPI = 150
# Results depend on their versions.
PACKAGES = ("torch", "torchvision", "accelerate", "albumentations", "opencv-python-headless",
            "timm", "numpy", "scikit-learn")  # fmt: skip

# What may differ between the two halves of a resumed run: none of it changes a result, but the
# device, whose rounding does; a run may move to another machine.
FREE_FIELDS = frozenset({"question", "published", "deviations", "device", "workers", "loader"})

# The types of entries in `config.json`, for code that reads them without the experiment.
_KINDS: dict[str, Any] = {
    "row": {"name": str, "profile": str, "seed": int},
    "data": {"set": str, "folder": str},
    "versions": {},
    "machine": {"memory_gb": int | float},
    "network": {"parameters": int | float, "gflops": int | float},
    "ensemble": {"name": str, "rows": list, "members": list},
    "git": str,
    "precision": str,
    "loader": str,
    "compiled": bool,
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
            settings = settings_in(self.path)
            if wrong := _wrong(settings, _KINDS):
                raise ValueError(f"it says that {wrong}")
            return settings
        except (ValueError, OSError) as error:
            raise RunError(
                f"{self / 'config.json'} is damaged ({error}). Train the run again with "
                "resume='restart' (the old folder is moved aside)."
            ) from error

    @property
    def finished(self) -> bool:
        """Whether the run was trained to its end."""
        config = self.config
        # Early versions did not store it; scores are written after the last epoch.
        scored = any(self.path.glob("scores-*.json")) and (self / "best.safetensors").exists()
        return bool(config.get("finished") or (config and scored))

    @property
    def begun(self) -> bool:
        """Whether there is training to lose."""
        # A kill in the first epoch may leave the best weights without `last.pt`.
        best = (self / "best.safetensors").exists() and (self / "history.csv").exists()
        return (self / "last.pt").exists() or best or self.finished

    def remember(self, name: str, value: Any) -> Any:
        """The entry of `config.json` called name; a missing one is stored as value."""
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
        # Beside the folder, as moving the folder aside must not move the lock; and one for all
        # links to the folder.
        path = self.path.resolve()
        return locked(path.with_name(f".{path.name}.lock"), busy)

    def say(self, text: str) -> None:
        """Print a line, and append it with the time to `run.log`."""
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
        file = io.BytesIO()  # its size is known where the disk is full
        with drawing():
            figure.savefig(file, format="png", dpi=FIGURE_DPI)
        write_atomic(path, file.getvalue())
        return path

    def show(self, name: str, figure: Figure) -> Path:
        """Write `figures/<name>.png`, and show that file in a notebook."""
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
    """Open the run folder at path for the experiment on the data (facts, with a fingerprint).

    "auto" makes the folder, or resumes the run in it; "restart" moves that one aside first. Raises
    RunError for a folder of other files, or of a run whose results would differ, naming the fields;
    BlockingIOError when another process trains in it.
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
        if not run.begun:  # the settings of a failed start are replaced
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


def initial_weights(path: str | Path, weights: Any, resume: str = "auto") -> Any:
    """The weights to build a run's network with: none where it goes on from those in its folder.

    So a run can be resumed, or looked at, where its initial weights can no longer be fetched.
    """
    return None if resume == "auto" and RunFolder(path).begun else weights


def require_settings(run: RunFolder, experiment: Experiment) -> None:
    """RunError where the folder was opened for other settings: cells were run out of order."""
    if not run.config:
        raise RunError(f"{run.path} holds no settings; run the cell with start_run again.")
    if different := differences(run, experiment):
        raise RunError(
            f"{run.path} was opened for other settings: {'; '.join(different)}. Run the cell with "
            "start_run again, and all cells after it."
        )


def require_loader(run: RunFolder, loader: str) -> None:
    """RunError where the run was begun with another loader ("workers", "resident"): other pixels.

    A run of version 0.2 or earlier had patches that were resampled three times; it is told.
    """
    if run.finished:
        return
    begun = (run / "last.pt").exists()
    if begun and "loader" not in run.config:
        run.say(
            f"{run.path} was begun by a version that cut patches in three steps; from here on they "
            "are resampled once. For one kind throughout use resume='restart'."
        )
    stored = run.remember("loader", loader)
    if begun and stored != loader:
        raise RunError(
            f"{run.path} was begun with loader={stored!r}, and {loader!r} rounds patches "
            f"differently; resume it with loader={stored!r}, which runs on any device, or use "
            "resume='restart'."
        )


def _require_weights(run: RunFolder) -> None:
    """RunError where the weights of a run that was begun are gone."""
    if (run / "last.pt").exists() or (run.finished and (run / "best.safetensors").exists()):
        return
    lost = "best.safetensors, though the run is" if run.finished else "last.pt, and the run is not"
    raise RunError(
        f"{run.path} has no {lost} finished; put the file back, or use resume='restart' (the old "
        "folder, with all its results, is moved aside)."
    )


def stored_settings(run: RunFolder, experiment: Experiment) -> dict[str, Any]:
    """What `config.json` holds of a run's row; a field that is not stored had its default."""
    stored = run.config.get("row", {})
    renamed = {key: RENAMED[key].get(stored[key], stored[key]) for key in RENAMED if key in stored}
    defaults = {entry.name: entry.default for entry in dataclasses.fields(experiment)}
    settings = defaults | stored | renamed
    return {key: [*v] if isinstance(v, tuple) else v for key, v in settings.items()}


def differences(
    run: RunFolder, experiment: Experiment, fingerprint: str | None = None
) -> list[str]:
    """Where the run's settings and data fingerprint (None: skipped) differ from these."""
    stored = stored_settings(run, experiment)
    here = json.loads(json.dumps(dataclasses.asdict(experiment)))
    pairs = {name: (old, here.get(name, "no longer known")) for name, old in stored.items()}
    if fingerprint is not None:
        pairs["data fingerprint"] = (run.config.get("data", {}).get("fingerprint"), fingerprint)
    return [
        f"{name} is {old!r} there and {new!r} here"
        for name, (old, new) in pairs.items()
        if old != new and name not in FREE_FIELDS
    ]


def _note_changed_code(run: RunFolder) -> None:
    """Say, and keep in run.log, which code or library has changed since the run began."""
    now = {"git": git_revision(), **versions()}
    before = {"git": run.config.get("git"), **run.config.get("versions", {})}
    changed = [f"{n} {before.get(n)} → {now[n]}" for n in now if before.get(n) != now[n]]
    if changed:
        run.say(f"changed since this run began: {'; '.join(changed)}")


def _wrong(settings: dict[str, Any], kinds: dict[str, Any], where: str = "") -> str:
    """The first entry of another kind, as "data.set is 3"; "" where there is none."""
    for name in (name for name in kinds if name in settings):
        value, kind = settings[name], kinds[name]
        if not isinstance(value, dict if isinstance(kind, dict) else kind | None):
            return f"{where}{name} is {value!r:.60}"
        if isinstance(kind, dict) and (inside := _wrong(value, kind, f"{where}{name}.")):
            return inside
    return ""


def _free_name(path: Path) -> Path:
    """`<name>.1`, or the first number that is free."""
    names = (path.with_name(f"{path.name}.{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, and the platform."""
    result = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            result[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            result[package] = "not installed as a package"
    return result
