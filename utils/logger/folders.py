"""Whose a folder is, and what in it may be removed.

A run's folder is named by the user, who may name his home by mistake. So a folder is ours only
where its `config.json` says so, or where there is nothing in it to lose; and what is removed is
removed by names that only we give, never by a pattern that fits the files of others.
"""

import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from utils.data.splits import set_name
from utils.system import project, values
from utils.system.errors import RunError, listed
from utils.system.experiment import Experiment

_PART = r"(train|validation|test|holdout)(-\d+-views|-threshold-[\d.e-]+|-(un)?clean)*"
# What a run's weights made, and nothing else.
_RESULT = re.compile(rf"(predictions|submission|per-image|thresholds)-{_PART}\.csv"
                     rf"|scores-{_PART}\.json")  # fmt: skip
_MASKS = re.compile(rf"masks-{_PART}")
_MASK = re.compile(r".+_segmentation\.png")
_PAGE = re.compile(rf"evaluation-(cls|seg)-{_PART}\.html")
_RUN = ("config.json", "last.pt", "best.safetensors", "history.csv", "timing.csv", "run.log",
        "run.ipynb", "run.html", "figures")  # fmt: skip
_EVALUATION = ("scores.csv", "differences.csv", "calibration.csv", "operating-points.csv",
               "read-off.csv", "decision-curves.csv", "subgroups.csv")  # fmt: skip
# `write_atomic` calls what it has not finished `.<name>.<eight characters>.tmp`.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.tmp")
_FIGURE = re.compile(
    "(side-by-side|alpha|distribution|threshold-curves"
    "|(confusion|roc|precision-recall|reliability|operating-points|decision|subgroups|maps"
    r"|attention|most-confident-mistakes|least-certain-cases|gallery|errors)-.+)\.png"
)
_OF_THE_SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints")


def models_of(data_dir: Path, profile: str) -> Path:
    """Where runs on this data lie that are trained by this profile: `model/<set>-<profile>`."""
    return project.PROJECT / "model" / f"{set_name(data_dir)}-{profile}"


def run_folder(data_dir: Path, experiment: Experiment, run_dir: Any = None) -> Path:
    """The folder of an experiment's run on this data: run_dir, else `<models_of>/<row>-s<seed>`.

    Raises ValueRefusedError for what can be no folder, and RunError as `require_ours`.
    """
    usual = models_of(data_dir, experiment.profile) / experiment.folder()
    folder = values.folder("run_dir", run_dir, usual)
    require_ours(folder)
    return folder


def settings_in(folder: Path) -> dict[str, Any]:
    """What the folder's `config.json` holds; empty where there is none. ValueError for no run's."""
    file = folder / "config.json"
    if file.exists() and not file.is_file():  # reading a pipe would wait forever
        raise ValueError("it is no regular file")
    try:
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except RecursionError as error:
        raise ValueError("its brackets have no end") from error
    if not isinstance(known, dict) or (known and not isinstance(known.get("row"), dict)):
        raise ValueError("it holds no settings of a run")
    return known


def strangers(folder: Path) -> list[str]:
    """What lies in the folder that proves it no run's; empty where a run may be made or moved."""
    names = sorted(path.name for path in folder.iterdir() if path.name not in _OF_THE_SYSTEM)
    known = {name for name in names if _is_of_run(name)}
    try:
        if known_settings := settings_in(folder):
            _require_proof(known_settings)
            return []
    except ValueError:
        # Damaged settings beside weights are a run's; alone they may be anybody's.
        return [] if {"last.pt", "best.safetensors"} & known and known == set(names) else names
    except OSError:
        return names
    begun = {"figures"} if not any((folder / "figures").glob("*")) else set()
    return [name for name in names if name not in begun and not _of_start(name)]


def _require_proof(settings: dict[str, Any]) -> None:
    """ValueError for settings that another tool may have written: "row" is not our word alone."""
    data = settings.get("data")
    if "network" not in settings["row"] or not isinstance(data, dict) or "fingerprint" not in data:
        raise ValueError("it holds no settings of a run")


def _is_of_run(name: str) -> bool:
    unfinished = _TEMPORARY.fullmatch(name)
    name = unfinished["name"] if unfinished else name
    return name in _RUN or bool(_RESULT.fullmatch(name) or _MASKS.fullmatch(name))


def _is_of_evaluation(name: str) -> bool:
    return name in (*_EVALUATION, "run.ipynb", "run.html")


def _is_picture(name: str) -> bool:
    return name.endswith(".png")


def _of_start(name: str) -> bool:
    """Whether it is all that a run leaves which was killed while it wrote its settings."""
    unfinished = _TEMPORARY.fullmatch(name)
    return bool(unfinished and unfinished["name"] == "config.json")


def require_ours(folder: Path) -> None:
    """RunError where a run would be made, or moved, among the things of others."""
    try:
        names = strangers(folder) if folder.is_dir() else []
    except OSError as error:
        raise RunError(
            f"{folder} cannot be looked into ({error.strerror}); give access to it, or give this "
            "run another run_dir."
        ) from error
    if folder.is_symlink() and not folder.exists():
        found = "is a link that leads nowhere"
    elif folder.exists() and not folder.is_dir():
        found = "is a file"
    elif names:
        found = f"is not empty and no run folder: it holds {listed(names)}"
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
            with suppress(OSError):  # what somebody else put there stays
                path.rmdir()


def clear_unfinished(run: Path) -> None:
    """Remove what a killed process did not finish writing, in a run's folder and those in it."""
    _clear(run, _is_of_run)
    for folder in (run / "figures", *run.glob("masks-*")):
        if folder.name == "figures" or _MASKS.fullmatch(folder.name):
            _clear(folder, _is_picture)


def _clear(folder: Path, ours: Callable[[str], bool]) -> None:
    """Remove temporary files of ours: those of files whose names are ours."""
    for path in list(folder.glob(".*.tmp")):
        unfinished = _TEMPORARY.fullmatch(path.name)
        if unfinished and ours(unfinished["name"]):
            path.unlink(missing_ok=True)


def forget_evaluation(folder: Path) -> None:
    """Remove what an evaluation left in its folder, figures and tables: it may be of other runs."""
    _remove(folder / name for name in _EVALUATION)
    figures = (folder / "figures").glob("*.png")
    _remove(figure for figure in figures if _FIGURE.fullmatch(figure.name))
    _clear(folder, _is_of_evaluation)
    _clear(folder / "figures", _is_picture)


def forget_pages(report: Path) -> None:
    """Remove the executed evaluations that lay beside an earlier report."""
    _remove(path for path in list(report.iterdir()) if _PAGE.fullmatch(path.name))


def _remove(files: Iterable[Path]) -> None:
    for file in list(files):
        if file.is_file():
            file.unlink()
