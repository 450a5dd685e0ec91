"""The progress of a run, read from its folder, and the time that is left."""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from study.jobs import Job
from utils.logger.run import RunFolder
from utils.system.errors import RunError


class Standing(NamedTuple):
    """The progress of a training; nan and 0 before the first epoch has ended."""

    epochs: int  # done
    best: float  # highest score so far
    seconds: float  # an epoch, the median


def standing(job: Job) -> Standing:
    """The progress of a job's training."""
    history, timing = (_table(job.folder / f"{name}.csv") for name in ("history", "timing"))
    best = history[job.score].max() if job.score in history else float("nan")
    seconds = timing["seconds"].median() if "seconds" in timing else float("nan")
    return Standing(len(history), float(best), float(seconds))


def seconds_left(job: Job, now: Standing, guess: float = float("nan")) -> float:
    """Training time that is left; nan where no epoch was measured, here or in a similar run."""
    each = guess if math.isnan(now.seconds) else now.seconds
    return (job.epochs - now.epochs) * each if job.epochs > now.epochs else 0.0


# What two trainings must share for an epoch of one to take as long as one of the other.
LIKE = ("network", "image_size", "batch_size", "train_list", "train_images", "precision", "depth")


def measured(folders: Iterable[Path]) -> dict[tuple[str, ...], float]:
    """Seconds an epoch of the runs in these folders, by what `likeness` says of them."""
    seconds = {}
    for folder in folders:
        timing = _table(folder / "timing.csv")
        if "seconds" in timing and len(timing):
            with suppress(RunError):
                config = RunFolder(folder).config
                if not config.get("ensemble"):  # whose time is that of all members
                    seconds[likeness(config.get("row", {}))] = float(timing["seconds"].median())
    return seconds


def likeness(experiment: Mapping[str, Any]) -> tuple[str, ...]:
    """What the seconds an epoch depend on, of an experiment as `config.json` holds it."""
    values = (experiment.get(name) for name in LIKE)
    return tuple(str(list(value) if isinstance(value, tuple) else value) for value in values)


def _table(file: Path) -> pd.DataFrame:
    """The numbers in a file; empty where it is missing or damaged (the notebook reports it)."""
    try:
        return pd.read_csv(file).apply(pd.to_numeric, errors="coerce")
    except (OSError, ValueError):  # some of the "folders" are files
        return pd.DataFrame()


def tail(file: Path, lines: int = 12) -> str:
    """The last non-empty lines of a log; "" where it cannot be read."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
