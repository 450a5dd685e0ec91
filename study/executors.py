"""Where jobs run: as processes of this machine, or on a Slurm cluster (by submitit)."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import submitit

from study.jobs import Job
from study.work import execute, kill_tree
from utils.system.machine import SHARE
from utils.system.project import PROJECT

PATIENCE = 5.0  # seconds that a job has to end by itself after Ctrl-C


ROW = 16.0  # GiB of a GPU's memory that a row at 224 px takes, with a margin


def at_once(cores: int, cards: Mapping[str, float]) -> int:
    """How many rows train at a time by default, on so many cores and cards (their GiB).

    On each card as many as its memory takes, else one for each core, as each takes memory, too;
    four at most.
    """
    rows = [max(1, min(4, int(memory / ROW))) for memory in cards.values()]
    return max(1, min(cores, sum(rows) if rows else 4))


class LocalExecutor:
    """Runs each job as a process of this machine, which ends when this one ends.

    logs is the folder for their output, threads the number each may compute with. Each job sees one
    of the cards alone, that on which the fewest run.
    """

    def __init__(self, logs: Path, threads: int, cards: Sequence[str] = ()) -> None:
        self.logs, self.threads, self.cards = logs, threads, cards
        self.handles: list[LocalHandle] = []

    def submit(self, job: Job) -> "LocalHandle":
        """Start a process for the job, with its output in `<logs>/<job>.log`."""
        file = job.save(self.logs / f"{job.name}.json")
        self.handles = [handle for handle in self.handles if handle.failed() is None]
        busy = [handle.card for handle in self.handles]
        card = min(self.cards, key=busy.count, default="")
        # A user's own setting of the threads wins. The notebooks print α.
        environment = {"OMP_NUM_THREADS": str(self.threads)} | os.environ
        environment |= {"PYTHONIOENCODING": "utf-8", SHARE: str(self.threads)}
        if card:
            environment["CUDA_VISIBLE_DEVICES"] = card
        with (self.logs / f"{job.name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "study.work", str(file)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for this process, which then ends its jobs
            )
        self.handles.append(LocalHandle(process, Path(log.name), card))
        return self.handles[-1]


class LocalHandle:
    """A process that works on a job."""

    def __init__(self, process: subprocess.Popen, log: Path, card: str = "") -> None:
        self.process, self.log, self.card = process, log, card

    def failed(self) -> bool | None:
        """None while it runs, then whether it failed."""
        status = self.process.poll()
        if status is not None and self.process.stdin:
            self.process.stdin.close()
        return None if status is None else status != 0

    def interrupt(self) -> None:
        """Ask it to end, where the system has a signal for that."""
        if os.name == "posix" and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Wait some seconds for it to end, then kill it with all that it started."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        kill_tree(self.process.pid)
        self.process.wait()
        self.failed()


class SubmititExecutor:
    """Runs each job on the cluster ("slurm"); "local" is submitit's stand-in for tests.

    options are submitit's: slurm_partition="gpu", timeout_min=600, … ValueError where there is no
    such cluster or option.
    """

    def __init__(self, logs: Path, cluster: str, options: Mapping[str, Any]) -> None:
        self.logs = logs
        try:
            self.executor = submitit.AutoExecutor(folder=logs / "submitit", cluster=cluster)
            self.executor.update_parameters(
                **{"timeout_min": 24 * 60, "name": "lesions", **options}
            )
        except (RuntimeError, NameError) as error:  # submitit's own: no Slurm here; no such option
            raise ValueError(f"--executor {cluster}: {error}") from error

    def submit(self, job: Job) -> "SubmititHandle":
        return SubmititHandle(
            self.executor.submit(execute, job.save(self.logs / f"{job.name}.json"))
        )


class SubmititHandle:
    """A job of the cluster."""

    def __init__(self, job: submitit.Job) -> None:
        self.job = job

    @property
    def log(self) -> Path:
        """Its output, or, once it failed, its errors."""
        return self.job.paths.stderr if self.failed() else self.job.paths.stdout

    def failed(self) -> bool | None:
        """None while it waits or runs, then whether it failed."""
        return self.job.exception() is not None if self.job.done() else None

    def interrupt(self) -> None:
        """Cancel it."""
        self.job.cancel()

    def end(self) -> None:
        """Nothing to do: the cluster ends what was cancelled."""


Handle = LocalHandle | SubmititHandle
Executor = LocalExecutor | SubmititExecutor
