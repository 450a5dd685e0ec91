"""The process that executes one job: `python -m study.work JOB.json`.

It lives as long as its standard input is open. The process that started it holds the other end, so
that this one, and its notebook's kernel, end with that process, even when that is killed.
"""

import os
import signal
import sys
import threading
from pathlib import Path

import psutil

from study.jobs import Job
from study.notebooks import BASELINES, CellError, run_baselines, run_notebook

STOPPED = 130  # the exit status after Ctrl-C


def main(arguments: list[str] | None = None) -> None:
    """Execute the job in the file that is named; the exit status is 0 where it succeeded."""
    (file,) = sys.argv[1:] if arguments is None else arguments
    # A program in the background of a shell ignores Ctrl-C, and so would its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        execute(Path(file))
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except CellError as error:
        sys.exit(str(error))


def execute(file: Path) -> None:
    """Execute the job in a file. Raises CellError where a cell fails."""
    job = Job.load(file)
    if job.notebook == BASELINES:
        run_baselines(job.parameters)
    else:
        run_notebook(job.notebook, job.folder, job.parameters)


def _end_with_parent() -> None:
    # Not by sys.stdin, whose lock Python wants when it ends.
    while os.read(sys.stdin.fileno(), 1024):
        continue  # nothing is written: the read returns when the other end is closed
    kill_tree(os.getpid())


def kill_tree(pid: int) -> None:
    """Kill a process and all that it started, the process itself last."""
    try:
        process = psutil.Process(pid)
        family = [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue


if __name__ == "__main__":
    main()
