"""Keep jobs going, so many at a time, until all are done."""

import time
from collections.abc import Callable, Mapping, Sequence

from study.board import Board
from study.executors import Executor, Handle
from study.jobs import Job
from study.standing import Standing, standing, tail

POLL = 1.0  # seconds between two looks
WORDLESS = "it was ended without a word: too little memory, or by someone"


def no_jobs(_: Mapping[Job, str]) -> list[Job]:
    """Nothing follows."""
    return []


def run_all(
    jobs: Sequence[Job],
    executor: Executor,
    at_once: int,
    board: Board,
    then: Callable[[Mapping[Job, str]], Sequence[Job]] = no_jobs,
) -> dict[Job, str]:
    """Run the jobs, at most so many at once; returns the last lines of those that failed.

    A job that waits for a failed one fails with it; all others go on. Whenever one ends, and at the
    beginning, `then` is given the state of each job ("waiting", "running", "done", "failed") and
    answers with the jobs that can follow; those it has named before count once. Whatever ends this,
    Ctrl-C above all, ends the jobs, too.
    """
    states = dict.fromkeys(jobs, "waiting")
    handles: dict[Job, Handle] = {}
    failed: dict[Job, str] = {}
    shown: dict[Job, tuple[str, Standing]] = {}
    ended = True  # or the beginning
    with board:
        try:
            while True:
                for job, handle in list(handles.items()):
                    if (broken := handle.failed()) is not None:
                        del handles[job]
                        ended = True
                        states[job] = "failed" if broken else "done"
                        if broken:
                            failed[job] = tail(handle.log) or WORDLESS
                while ended:
                    _give_up(states, failed)
                    states |= {job: "waiting" for job in then(states) if job not in states}
                    _give_up(states, failed)
                    ended = _start(states, handles, failed, executor, at_once)
                shown |= {
                    job: (state, standing(job))  # read anew where it may have changed
                    for job, state in states.items()
                    if state == "running" or state != shown.get(job, ("", None))[0]
                }
                board.show(shown)
                if not handles:
                    return failed
                time.sleep(POLL)
        finally:
            for handle in handles.values():
                handle.interrupt()
            for handle in handles.values():
                handle.end()


def _give_up(states: dict[Job, str], failed: dict[Job, str]) -> None:
    """Let the waiting jobs fail whose forerunners failed, and those that wait for them in turn."""
    while lost := [
        job
        for job, state in states.items()
        if state == "waiting" and _before(job, states, "failed")
    ]:
        for job in lost:
            failed[job] = f"it needs {', '.join(_before(job, states, 'failed'))}, which failed"
        states |= dict.fromkeys(lost, "failed")


def _start(
    states: dict[Job, str],
    handles: dict[Job, Handle],
    failed: dict[Job, str],
    executor: Executor,
    at_once: int,
) -> bool:
    """Start waiting jobs while there is room, those that wait for no other, evaluations first.

    Returns whether one was refused, as a cluster does with a partition that it does not have.
    """
    refused = False
    for job in sorted(states, key=lambda job: job.epochs > 0):
        held = _before(job, states, "waiting", "running", "failed")
        if states[job] == "waiting" and not held and len(handles) < at_once:
            try:
                handles[job] = executor.submit(job)
                states[job] = "running"
            except (OSError, RuntimeError) as error:
                failed[job] = f"it could not be started: {error}"
                states[job] = "failed"
                refused = True
    return refused


def _before(job: Job, states: Mapping[Job, str], *wanted: str) -> list[str]:
    """The forerunners of a job that are in one of these states."""
    by_name = {other.name: state for other, state in states.items()}
    return [name for name in job.after if by_name.get(name) in wanted]
