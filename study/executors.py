"""Where jobs run: as processes of this machine, or on a Slurm cluster (by submitit)."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import submitit

from study.jobs import Job
from study.work import execute, kill_tree
from utils.system.project import PROJECT

PATIENCE = 5.0  # seconds that a job has to end by itself after Ctrl-C


class LocalExecutor:
    """Runs each job as a process of this machine, which ends when this one ends.

    logs is the folder for their output, threads the number each may compute with.
    """

    def __init__(self, logs: Path, threads: int) -> None:
        self.logs, self.threads = logs, threads

    def submit(self, job: Job) -> "LocalHandle":
        """Start a process for the job, with its output in `<logs>/<job>.log`."""
        file = job.save(self.logs / f"{job.name}.json")
        threads = {"OMP_NUM_THREADS": str(self.threads)}
        with (self.logs / f"{job.name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "study.work", str(file)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT,
                # A user's own setting of the threads wins. The notebooks print α.
                env=threads | os.environ | {"PYTHONIOENCODING": "utf-8"},
                start_new_session=True,  # Ctrl-C is for this process, which then ends its jobs
            )
        return LocalHandle(process, Path(log.name))


class LocalHandle:
    """A process that works on a job."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.process, self.log = process, log

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
