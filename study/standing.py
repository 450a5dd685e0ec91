"""How far a run is, read from its folder, and how long the rest will take."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from study.jobs import Job
from utils.logger.run import RunFolder
from utils.system.errors import RunError


class Standing(NamedTuple):
    """What a run folder says of its training; nan and 0 before the first epoch has ended."""

    epochs: int  # that are done
    best: float  # highest score so far
    seconds: float  # an epoch, the median


def standing(job: Job) -> Standing:
    """How far the training of a job is."""
    history, timing = (_table(job.folder / f"{name}.csv") for name in ("history", "timing"))
    best = history[job.score].max() if job.score in history else float("nan")
    seconds = timing["seconds"].median() if "seconds" in timing else float("nan")
    return Standing(len(history), float(best), float(seconds))


def seconds_left(job: Job, now: Standing, guess: float = float("nan")) -> float:
    """Training time that is left; nan where no epoch was measured, here or in a run like it."""
    each = now.seconds if now.seconds == now.seconds else guess
    return max(0, job.epochs - now.epochs) * each if job.epochs > now.epochs else 0.0


# What two trainings must share for an epoch of one to take as long as one of the other.
LIKE = ("network", "image_size", "batch_size", "train_list", "train_images", "precision", "depth")


def measured(folders: Iterable[Path]) -> dict[tuple[str, ...], float]:
    """Seconds an epoch of the runs in these folders, by what `likeness` says of them."""
    seconds = {}
    for folder in folders:
        timing = _table(folder / "timing.csv")
        if "seconds" in timing and len(timing):
            with suppress(RunError):
                experiment = RunFolder(folder).config.get("row", {})
                seconds[likeness(experiment)] = float(timing["seconds"].median())
    return seconds


def likeness(experiment: Mapping[str, Any]) -> tuple[str, ...]:
    """What the seconds an epoch depend on, of an experiment as `config.json` holds it."""
    values = (experiment.get(name) for name in LIKE)
    return tuple(str(list(value) if isinstance(value, tuple) else value) for value in values)


def _table(file: Path) -> pd.DataFrame:
    """The numbers in a file, nan for what is none; an empty table where there is none yet.

    A damaged one counts as none: it is the run's notebook that complains of it.
    """
    try:
        return pd.read_csv(file).apply(pd.to_numeric, errors="coerce")
    except (OSError, ValueError):  # beside the runs lie files, too
        return pd.DataFrame()


def tail(file: Path, lines: int = 12) -> str:
    """The last lines of a log that are not empty; "" where there is none."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
