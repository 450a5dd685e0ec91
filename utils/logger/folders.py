"""Which folders are ours, and what in them may be removed.

Users name the folder of a run, and may name their home by mistake. So a folder is ours only where
its `config.json` says so, or where it holds nothing to lose; and files are removed by names that
only we give, never by a pattern that other people's files could match.
"""

import json
import platform
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from utils.data.splits import is_demo, set_name
from utils.system import machine, project, values
from utils.system.errors import RunError, listed
from utils.system.experiment import Experiment

_PART = r"(train|validation|test|holdout|fold)(-\d+-views|-threshold-[\d.e-]+|-(un)?clean)*"
# What is computed from a run's weights.
_RESULT = re.compile(rf"(predictions|submission|per-image|thresholds)-{_PART}\.csv"
                     rf"|scores-{_PART}\.json|features\.npz|model\.(onnx|pt2)")  # fmt: skip
_MASKS = re.compile(rf"masks-{_PART}")
_MASK = re.compile(r".+_segmentation\.png")
_PAGE = re.compile(rf"evaluation-(cls|seg)-{_PART}\.html")
_RUN = ("config.json", "last.pt", "best.safetensors", "history.csv", "timing.csv", "run.log",
        "run.ipynb", "run.html", "figures")  # fmt: skip
_EVALUATION = ("scores.csv", "differences.csv", "baselines.csv", "calibration.csv",
               "operating-points.csv", "read-off.csv", "decision-curves.csv",
               "subgroups.csv")  # fmt: skip
# `write_atomic` writes to `.<name>.<eight characters>.tmp`, and renames it at the end.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.tmp")
_FIGURE = re.compile(
    "(side-by-side|alpha|distribution|threshold-curves"
    "|(confusion|roc|precision-recall|reliability|operating-points|decision|subgroups|maps"
    r"|attention|most-confident-mistakes|least-certain-cases|gallery|errors)-.+)\.png"
)
_OF_THE_SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints")


def models_of(data_dir: Path, profile: str) -> Path:
    """The folder of a profile's runs on this data: `model/<set>-<profile>`."""
    return project.PROJECT / "model" / f"{set_name(data_dir)}-{profile}"


def usual_profile(data_dir: Path, device: str | None = None) -> str:
    """The recipe where none is named: "demo" for the synthetic set, else "best" where a GPU
    computes, and "light" on a CPU. device is that of the experiment, None for "auto"."""
    if is_demo(data_dir):
        return "demo"
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    gpu = device in ("cuda", "mps") or (device != "cpu" and (apple or bool(machine.cards())))
    return "best" if gpu else "light"


def command(data_dir: Path, row: str, profile: str = "", seed: int = 0) -> str:
    """The command that makes a row's run on this data; without a profile, in the usual one."""
    ours = data_dir == project.PROJECT / "Data" / "demo"
    where = "demo" if ours else f'"{data_dir}"'
    profile = profile or usual_profile(data_dir)
    line = f"python reproduce.py {row} --profile {profile} --data-dir {where}"
    return line + (f" --seeds {seed}" if seed else "")


def run_folder(data_dir: Path, experiment: Experiment, run_dir: Any = None) -> Path:
    """The folder of an experiment's run on this data: run_dir, else `<models_of>/<row>-s<seed>`.

    Raises ValueRefusedError for what cannot be a folder, and RunError as `require_ours`.
    """
    usual = models_of(data_dir, experiment.profile) / experiment.folder()
    folder = values.folder("run_dir", run_dir, usual)
    require_ours(folder)
    return folder


def settings_in(folder: Path) -> dict[str, Any]:
    """The folder's `config.json`; empty where there is none. ValueError where it is no run's."""
    file = folder / "config.json"
    if file.exists() and not file.is_file():  # reading a pipe would wait forever
        raise ValueError("it is not a regular file")
    try:
        settings = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except RecursionError as error:
        raise ValueError("its brackets are nested too deeply") from error
    if not isinstance(settings, dict) or (settings and not isinstance(settings.get("row"), dict)):
        raise ValueError("it does not hold the settings of a run")
    return settings


def strangers(folder: Path) -> list[str]:
    """Names that show the folder is not a run's; empty where a run may be made or moved."""
    names = sorted(path.name for path in folder.iterdir() if path.name not in _OF_THE_SYSTEM)
    try:
        if settings := settings_in(folder):
            # Another tool may write "row", too.
            data = settings.get("data")
            ours = "network" in settings["row"] and isinstance(data, dict) and "fingerprint" in data
            return [] if ours else _unless_run(names)
    except ValueError:
        return _unless_run(names)
    except OSError:
        return names
    harmless = {"figures"} if not any((folder / "figures").glob("*")) else set()
    # A run that was killed while it wrote its settings leaves the temporary file.
    return [name for name in names if name not in harmless and _unfinished(name) != "config.json"]


def _unless_run(names: list[str]) -> list[str]:
    """The names, unless they are a run's: damaged settings alone may be anybody's."""
    weights = {"last.pt", "best.safetensors"} & set(names)
    return [] if weights and all(_is_of_run(_unfinished(name) or name) for name in names) else names


def _unfinished(name: str) -> str | None:
    """The final name of a temporary file; None for other files."""
    temporary = _TEMPORARY.fullmatch(name)
    return temporary["name"] if temporary else None


def _is_of_run(name: str) -> bool:
    return name in _RUN or bool(_RESULT.fullmatch(name) or _MASKS.fullmatch(name))


def _is_picture(name: str) -> bool:
    return name.endswith(".png")


def require_ours(folder: Path) -> None:
    """RunError where a run would be made, or moved, among other people's files."""
    try:
        names = strangers(folder) if folder.is_dir() else []
    except OSError as error:
        raise RunError(
            f"{folder} cannot be read ({error.strerror}); give access to it, or give this run "
            "another run_dir."
        ) from error
    if folder.is_symlink() and not folder.exists():
        found = "is a broken link"
    elif folder.exists() and not folder.is_dir():
        found = "is a file"
    elif names:
        found = f"is neither empty nor a run folder: it holds {listed(names)}"
    else:
        return
    raise RunError(
        f"{folder} {found}; expected a new or an empty folder, or one that holds a run. Nothing in "
        "it was changed; give this run another run_dir."
    )


def forget_results(run: Path) -> None:
    """Remove predictions, scores and masks from a run's folder: their weights are gone."""
    for path in list(run.iterdir()):
        if _RESULT.fullmatch(path.name) and path.is_file():
            path.unlink()
        elif _MASKS.fullmatch(path.name) and path.is_dir():
            _remove(mask for mask in path.iterdir() if _MASK.fullmatch(mask.name))
            _clear(path, _is_picture)
            with suppress(OSError):  # other files stay
                path.rmdir()


def clear_unfinished(run: Path) -> None:
    """Remove the temporary files of a killed process, in a run's folder and those in it."""
    _clear(run, _is_of_run)
    for folder in (run / "figures", *run.glob("masks-*")):
        if folder.name == "figures" or _MASKS.fullmatch(folder.name):
            _clear(folder, _is_picture)


def _clear(folder: Path, ours: Callable[[str], bool]) -> None:
    """Remove the temporary files of files whose names are ours."""
    for path in list(folder.glob(".*.tmp")):
        if (name := _unfinished(path.name)) and ours(name):
            path.unlink(missing_ok=True)


def forget_evaluation(folder: Path) -> None:
    """Remove the figures and tables of an earlier evaluation, perhaps of other runs."""
    _remove(folder / name for name in _EVALUATION)
    figures = (folder / "figures").glob("*.png")
    _remove(figure for figure in figures if _FIGURE.fullmatch(figure.name))
    _clear(folder, (*_EVALUATION, "run.ipynb", "run.html").__contains__)
    _clear(folder / "figures", _is_picture)


def forget_pages(report: Path) -> None:
    """Remove the executed evaluations beside an earlier report."""
    _remove(path for path in list(report.iterdir()) if _PAGE.fullmatch(path.name))


def _remove(files: Iterable[Path]) -> None:
    for file in list(files):
        if file.is_file():
            file.unlink()
