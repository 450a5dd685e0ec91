"""The progress of jobs: a live table in a terminal, plain lines in a log.

Its `live` is the context to show it in.
"""

import math
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext

from rich.console import Console
from rich.live import Live
from rich.table import Table

from study.jobs import Job, State
from study.standing import Standing, seconds_left
from utils.system.console import duration, say

States = Mapping[Job, tuple[State, Standing]]

RANK: tuple[State, ...] = ("running", "failed", "waiting", "done")  # as they are shown
FRAME = 6  # lines of a table that hold no job


def board() -> "Board":
    """A live table in a terminal, plain lines elsewhere."""
    return LiveTable() if sys.stdout.isatty() else Lines()


class Lines:
    """A line when a job starts or ends, and one for each epoch."""

    def __init__(self) -> None:
        self.shown: dict[Job, tuple[State, int]] = {}
        self.live = nullcontext()

    def show(self, states: States) -> None:
        """Print what has changed since the last call."""
        for job, (state, now) in states.items():
            before = self.shown.get(job, ("waiting", now.epochs))
            self.shown[job] = (state, now.epochs)
            if state != before[0]:
                say(f"{job.name}: {state}")
            elif now.epochs > before[1]:  # fewer after a run was moved aside
                left = seconds_left(job, now)
                say(
                    f"{job.name}: epoch {now.epochs}/{job.epochs}, best {job.score} "
                    f"{now.best:.3f}, {duration(left)} left"
                )


class LiveTable:
    """A table that is redrawn in place."""

    def __init__(self, console: Console | None = None) -> None:
        self.live = Live(console=console, auto_refresh=False)

    def show(self, states: States) -> None:
        """Draw the table of all jobs."""
        shown, rest = self._fitting(states)
        caption = f"and {rest}" if rest else None
        columns = ("run", "state", "epoch", "best score", "an epoch takes", "left")
        table = Table(*columns, caption=caption, caption_justify="left")
        styles = {"running": "bold", "failed": "red", "waiting": "dim"}
        for job, (state, now) in shown.items():
            epoch = f"{now.epochs}/{job.epochs}" if job.epochs else ""
            best = f"{job.score} {now.best:.3f}" if math.isfinite(now.best) else ""
            left = seconds_left(job, now) if job.epochs and state != "done" else math.nan
            cells = (job.name, state, epoch, best, duration(now.seconds), duration(left))
            table.add_row(*cells, style=styles.get(state))
        self.live.update(table, refresh=True)

    def _fitting(self, states: States) -> tuple[States, str]:
        """The jobs that fit the terminal, running and failed ones first; a count of the others."""
        room = max(1, self.live.console.height - FRAME)
        if len(states) <= room:
            return states, ""
        by_rank = sorted(states.items(), key=lambda entry: RANK.index(entry[1][0]))
        others = Counter(state for _, (state, _) in by_rank[room:])
        return dict(by_rank[:room]), ", ".join(f"{n} {state}" for state, n in others.items())


Board = Lines | LiveTable
