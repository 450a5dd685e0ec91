"""The plan as a table: what would run, what is finished, and how long the rest takes."""

import math
import sys
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.table import Table

import experiments
from study.board import duration
from study.plan import Plan
from study.standing import seconds_left, standing
from utils import data
from utils.system import errors
from utils.system.console import say

_read = cache(data.read)


def show_plan(planned: Plan, data_dir: Path) -> bool:
    """Print the plan; whether all of it can run."""
    names = ("run", "network", "images", "px", "epochs", "state", "an epoch takes", "left")
    table, left, unknown = Table(*names), 0.0, 0
    lacking: dict[str, list[str]] = {}
    for run in planned.runs:
        now, experiment = standing(run.job), run.experiment
        each = now.seconds if math.isfinite(now.seconds) else run.guess
        done = now if run.begun else now._replace(epochs=0)  # a restart repeats them
        rest = 0.0 if run.finished else seconds_left(run.job, done, run.guess)
        left, unknown = left + (rest if math.isfinite(rest) else 0), unknown + math.isnan(rest)
        images, why = images_of(experiment, data_dir)
        if why and not run.finished:
            lacking.setdefault(why, []).append(run.job.name)
        begun = f"resumes at epoch {now.epochs + 1}" if run.begun else "new"
        table.add_row(
            run.job.name,
            experiment.network,
            images,
            str(experiment.image_size),
            str(experiment.epochs),
            "finished" if run.finished else begun,
            duration(each),
            duration(rest) or "not measured",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for name, other in planned.same.items():
        say(f"{name} is the same run as {other}")
    for why, some in lacking.items():
        say(f"{errors.listed(some)} cannot run: {why}")
    for name, why in planned.refused.items():
        say(f"{name} cannot run: {why}")
    more = f", and {unknown} more, of which no epoch was measured yet" * bool(unknown)
    say(f"training that is left, one row after the other: {duration(left)}{more}")
    return not lacking and not planned.refused


def images_of(experiment: experiments.Row, data_dir: Path) -> tuple[str, str]:
    """How many images it is trained on, and why it cannot be, where it cannot."""
    try:
        images = _read(data_dir, experiment.train_list, experiment.allow_missing)
        train, _ = data.training_images(
            images, experiment.select_on, experiment.seed, experiment.fold
        )
        if experiment.task == "masks":
            data.require_masks(train)
        return str(len(data.drawn(train, experiment.train_images, experiment.seed))), ""
    except errors.DataError as error:
        return "–", str(error)
